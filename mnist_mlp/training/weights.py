"""Weights of a run as safetensors files: saved while it trains, and loaded into a model."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import WEIGHTS, Metrics, validation_rank, weights_name, write_atomically
from mnist_mlp.base.schema import BEST, LAST

RUN = "config_hash"  # metadata of a file: the run that it belongs to

log = logging.getLogger(__name__)


class WeightSaver:
    """Observer of a run that saves weights after an epoch (see `mnist_mlp.base.record.Observer`).

    With `last`, these are the weights after the last epoch; with `best`, those after the epoch with the highest
    validation accuracy (of equal ones, with the lowest validation loss; of these, the first); with `epochs`, those
    after each epoch, including epoch 0. If a file cannot be written, the run goes on without its weights.

    Args:
        directory: Run directory.
        save: last, best or epochs.
        epochs: Number of epochs of the run.
        model: Model in training.
        config_hash: Hash of the run's configuration, which the files contain.
    """

    def __init__(self, directory: Path, save: str, epochs: int, model: nn.Module, config_hash: str) -> None:
        self._folder, self._save, self._epochs, self._model = directory / WEIGHTS, save, epochs, model
        self._hash = config_hash
        self._files: list[str] = []
        self._lost: str | None = None
        self._validation: tuple[float, float] = (0.0, 0.0)
        self._best: tuple[float, float] | None = None

    def add(self, record: Metrics) -> Metrics:
        """Save the weights if the record is the last one of an epoch whose weights are wanted."""
        if record.split == "val":
            self._validation = validation_rank(record)
        if record.split != "test" or self._lost is not None or not self._wants(record.epoch):
            return record
        try:
            self._folder.mkdir(exist_ok=True)
            name, before = weights_name(record.epoch), self._files if self._save == BEST else []
            write_atomically(self._folder / name, _serialized(self._model, record.epoch, self._hash))
            for old in before:
                (self._folder / old).unlink(missing_ok=True)
            self._files = [*([] if self._save == BEST else self._files), name]
        except OSError as error:
            self._lost = str(error)
            log.warning("the weights are lost: %s", error)
        return record

    def _wants(self, epoch: int) -> bool:
        if self._save == BEST:
            if is_better := self._best is None or self._validation > self._best:
                self._best = self._validation
            return is_better
        return self._save != LAST or epoch == self._epochs

    def facts(self) -> Mapping[str, Any]:
        """Return the entry of `run.json`: what was asked for, the files, and why weights were lost, if they were."""
        return {"weights": {"save": self._save, "files": self._files, "lost": self._lost}}


def _serialized(model: nn.Module, epoch: int, config_hash: str) -> bytes:
    # Copies, since the parameters of a stack share memory, which the format rejects.
    state = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}
    return safetensors.torch.save(state, {RUN: config_hash, "epoch": str(epoch)})


def load_weights(path: Path, model: nn.Module, config_hash: str) -> None:
    """Load weights into the model that has been built from a run's configuration.

    Args:
        path: File of weights.
        model: Model, changed in place.
        config_hash: Hash of the run's configuration.

    Raises:
        UserError: The file is missing or damaged, or belongs to another run.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: expected a file of weights. {error}") from error
    if metadata.get(RUN) != config_hash:
        raise UserError(f"{path}: expected weights of this run. The file belongs to another one.")
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path}: expected weights of this network. {error}") from error
