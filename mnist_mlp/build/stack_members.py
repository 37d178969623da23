"""Runs of a stack from the objects that their configurations name."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mnist_mlp.base.record import Record
from mnist_mlp.build.from_config import Parts
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.steps import kind_of
from mnist_mlp.training.stack.toolchain import Toolchain


def run_of(parts: Parts) -> Run:
    """These parts, built on the CPU, as a run of a stack."""
    assert isinstance(parts.model, nn.Sequential)  # as `loop.supports` has found
    return Run(parts.model, parts.optimizer, parts.seeds, parts.schedule)


def facts(run: Run, size: int) -> dict[str, Any]:
    """What `run.json` tells of a run's being one of so many in a stack."""
    return {"step": f"stacked, updated {kind_of(run).how}", "stack_size": size}


def train_alone(parts: Parts, config: Mapping[str, Any], device: torch.device) -> Iterator[Record]:
    """Train a stack of one, which draws and computes what a run of any stack does.

    Args:
        parts: built from the configuration, on the CPU; `loop.supports` accepts its model and optimizer.
        config: plain.
        device: where to train.

    Raises:
        Diverged, or what the optimizer raises: as `mnist_mlp.training.loop.train` does.
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
    """What `mnist_mlp.training.stack.loop.train` yields for these runs; their memory is free again afterwards.

    Args:
        runs: of one stack.
        parts: of one of them.
        config: of one of them, plain.
        device: where to train.
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
        gc.collect()  # a stack and its steps refer to each other
        torch.cuda.empty_cache()
