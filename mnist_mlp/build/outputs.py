"""Further outputs of a run, by its output keys: which observers write them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mnist_mlp.base.record import Recorder, RunWriter
from mnist_mlp.base.schema import NO_WEIGHTS
from mnist_mlp.training.weights import WeightSaver


def observe(recorder: Recorder, config: Mapping[str, Any], model: nn.Module) -> None:
    """Add the observers that a configuration asks for to the recorder of a run.

    Args:
        recorder: Recorder of the run. Weights are saved only by a `RunWriter`, which has a directory.
        config: Plain configuration.
        model: Model in training.
    """
    if config["save"] != NO_WEIGHTS and isinstance(recorder, RunWriter):
        hash_ = recorder.facts["config_hash"]
        recorder.observers.append(WeightSaver(recorder.directory, config["save"], config["epochs"], model, hash_))
