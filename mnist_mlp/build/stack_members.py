"""Runs of a stack, made from the parts of configurations, and their training."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mnist_mlp.base.record import Record
from mnist_mlp.build.from_config import Parts
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.steps import step_method
from mnist_mlp.training.stack.toolchain import Toolchain


def run_of(parts: Parts) -> Run:
    """Return the run of a stack with these parts, which must be on the CPU."""
    assert isinstance(parts.model, nn.Sequential)  # checked by `loop.supports`
    return Run(parts.model, parts.optimizer, parts.seeds, parts.schedule)


def facts(run: Run, size: int) -> dict[str, Any]:
    """Return the entries of `run.json` that describe the stack of a run.

    Args:
        run: Run.
        size: Number of runs of its stack.
    """
    return {"step": f"stacked, updated {step_method(run).how}", "stack_size": size}


def train_alone(parts: Parts, config: Mapping[str, Any], device: torch.device) -> Iterator[Record]:
    """Train a stack of one run, with the random numbers and computations that the run has in a larger stack.

    Args:
        parts: Parts built from the configuration, on the CPU; `loop.supports` accepts the model and optimizer.
        config: Plain configuration.
        device: Device to train on.

    Raises:
        Diverged: A loss is not finite.
        BaseException: The optimizer has raised it.
    """
    for _, record in records([run_of(parts)], parts, config, device):
        if isinstance(record, BaseException):
            raise record
        yield record


def records(
    runs: Sequence[Run],
    parts: Parts,
    config: Mapping[str, Any],
    device: torch.device,
    toolchain: Toolchain | None = None,
) -> Iterator[tuple[int, Record | BaseException]]:
    """Yield the records of `mnist_mlp.training.stack.loop.train`, and free the stack's memory afterwards.

    Args:
        runs: Runs of one stack.
        parts: Parts of one of the runs.
        config: Plain configuration of one of the runs.
        device: Device to train on.
        toolchain: Compiler and CUDA-graph capture that several stacks share; None creates them for this stack.
    """
    try:
        yield from loop.train(
            runs,
            parts.data,
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            log_interval=config["log_interval"],
            device=device,
            threads=config["threads"],
            tf32=config["tf32"],
            toolchain=toolchain,
        )
    finally:
        gc.collect()  # a stack and its steps form a reference cycle
        torch.cuda.empty_cache()
