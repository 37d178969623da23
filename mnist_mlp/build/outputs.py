"""Further outputs of a run, by its output keys: which observers write them."""

from collections.abc import Mapping
from typing import Any

import torch

from mnist_mlp.base import metrics
from mnist_mlp.base.provenance import code_digests
from mnist_mlp.base.record import Recorder, RunWriter
from mnist_mlp.base.schema import NO_WEIGHTS
from mnist_mlp.build.from_config import Parts
from mnist_mlp.build.instantiate import find_target
from mnist_mlp.training.metrics import Function, MetricEvaluator
from mnist_mlp.training.weights import WeightSaver


def observe(recorder: Recorder, config: Mapping[str, Any], parts: Parts) -> None:
    """Add the observers that a configuration asks for to the recorder of a run.

    Args:
        recorder: Recorder of the run. Weights are saved only by a `RunWriter`, which has a directory.
        config: Plain configuration.
        parts: Parts of the run.

    Raises:
        mnist_mlp.base.errors.ConfigError: A metric is invalid.
    """
    if nodes := config["metrics"]:
        functions = metric_functions(config)
        meaning = {name: metrics.metric_of(name, node) for name, node in nodes.items()}
        code = {name: code_digests(node) for name, node in nodes.items()}
        recorder.observers.append(
            MetricEvaluator(functions, meaning, code, parts.model, parts.data, config["threads"], config["tf32"])
        )
    if config["save"] != NO_WEIGHTS and isinstance(recorder, RunWriter):
        hash_ = recorder.facts["config_hash"]
        recorder.observers.append(WeightSaver(recorder.directory, config["save"], config["epochs"], parts.model, hash_))


def metric_functions(config: Mapping[str, Any]) -> dict[str, Function]:
    """Return the function of each additional metric of a configuration.

    Args:
        config: Plain configuration.

    Raises:
        mnist_mlp.base.errors.ConfigError: A metric is invalid, or its function does not exist or accepts other
            arguments.
    """
    logits, labels = torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64)
    found: dict[str, Function] = {}
    for name, node in config["metrics"].items():
        metrics.metric_of(name, node)
        found[name] = find_target(f"metrics.{name}", metrics.arguments(node), logits, labels)
    return found
