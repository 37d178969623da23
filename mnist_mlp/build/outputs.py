"""Further outputs of a run, by its output keys: which observers write them, and whether a result has them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from mnist_mlp.base.record import RunWriter
from mnist_mlp.base.schema import NO_WEIGHTS
from mnist_mlp.training.weights import WeightSaver


def observe(writer: RunWriter, config: Mapping[str, Any], model: nn.Module) -> None:
    """Add the observers that a configuration asks for to the writer of a run.

    Args:
        writer: Writer of the run, which knows the hash of the configuration.
        config: Plain configuration.
        model: Model in training.
    """
    if config["save"] != NO_WEIGHTS:
        hash_ = writer.facts["config_hash"]
        writer.observers.append(WeightSaver(writer.directory, config["save"], config["epochs"], model, hash_))
