"""Assignment of runs to stacks, and the number of runs that fit into memory."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
import torch

from mnist_mlp.base.configuration import identity, kind, seeds
from mnist_mlp.base.errors import UserError
from mnist_mlp.build.from_config import Parts, build, find_device
from mnist_mlp.build.kind_check import parts_like
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.parameters import groups_of

OF_STACK = ("seeds", "init", "optim", "schedule")  # groups that may differ between the runs of a stack
SHARE_OF_GPU, SHARE_OF_RAM = 0.8, 0.5  # default memory limits of a stack, as fractions of the free memory
CPU = torch.device("cpu")

# Reasons for training a job alone.
UNKNOWN = "the network, optimizer or device does not support stacks"
NO_LIKE = "no other job has the same network, data and batch size"
NO_MEMORY = "two runs would exceed the memory limit"


@dataclass(frozen=True)
class Packing:
    """Assignment of jobs to stacks. A job is identified by its index.

    Attributes:
        stacks: Jobs of each stack.
        alone: Jobs that are trained alone, each with the reason.
    """

    stacks: Sequence[Sequence[int]]
    alone: Mapping[int, str]

    def __str__(self) -> str:
        sizes = ", ".join(str(len(stack)) for stack in self.stacks)
        lines = [f"stacks of {sizes} jobs" if self.stacks else "no stacks"]
        lines += [f"{count} alone: {reason}" for reason, count in Counter(self.alone.values()).items()]
        return "; ".join(lines)


def stack_key(config: Mapping[str, Any], parts: Parts) -> str | None:
    """Return a text that is equal for jobs that can be trained together; None if a job can only be trained alone.

    Args:
        config: Plain configuration of the job.
        parts: Parts of the job, on the CPU.
    """
    on = find_device(config["device"]).type
    if on not in ("cpu", "cuda") or not loop.supports(parts.model, parts.optimizer):
        return None
    groups = groups_of(parts.model, parts.optimizer)
    common = {key: value for key, value in identity(config).items() if key not in OF_STACK}
    return json.dumps(
        [common, config["device"], config["log_interval"], loop.architecture(parts.model), groups], sort_keys=True
    )


def pack(configs: Sequence[Mapping[str, Any]], memory: float | None) -> Packing:
    """Assign jobs to stacks of nearly equal sizes that fit into memory.

    Args:
        configs: Plain configurations of the jobs.
        memory: Memory limit of a stack in GiB; None for a fixed share of the device's free memory.
    """
    keys: dict[tuple[str, str], str | None] = {}  # by kind and optimizer
    first: dict[str, Parts] = {}  # by kind
    parts_of: dict[str, Parts] = {}
    groups: dict[str, list[int]] = {}
    alone: dict[int, str] = {}
    for number, config in enumerate(configs):
        of_kind = kind(config)
        if (of := (of_kind, json.dumps(config["optim"], sort_keys=True))) not in keys:
            try:
                parts = parts_like(first[of_kind], config) if of_kind in first else build(config, CPU)
                first.setdefault(of_kind, parts)
                keys[of] = stack_key(config, parts)
            except UserError:  # the job will raise the error again
                keys[of] = None
        key = keys[of]
        if key is None:
            alone[number] = UNKNOWN
        else:
            groups.setdefault(key, []).append(number)
            parts_of.setdefault(key, parts)
    stacks = []
    for key, numbers in groups.items():
        most = max_runs(parts_of[key], configs[numbers[0]], memory)
        count = -(-len(numbers) // most)
        if count == len(numbers):
            alone |= dict.fromkeys(numbers, NO_LIKE if count == 1 else NO_MEMORY)
            continue
        # Runs with equal seeds of batches and dropout share batches and masks, so they go into one stack if possible.
        numbers = sorted(numbers, key=lambda number: [seeds(configs[number])[of] for of in ("batches", "dropout")])
        bounds = [len(numbers) * part // count for part in range(count + 1)]
        stacks += [numbers[first:end] for first, end in pairwise(bounds)]
    return Packing(stacks, alone)


def max_runs(parts: Parts, config: Mapping[str, Any], memory: float | None) -> int:
    """Return the maximum number of runs of a stack, at least 1.

    Args:
        parts: Parts of one of the runs, on the CPU.
        config: Plain configuration of that run.
        memory: Memory limit of the stack in GiB; None for a fixed share of the device's free memory.
    """
    device = find_device(config["device"])
    if memory is not None:
        limit = memory * 2**30
    elif device.type == "cuda":
        limit = SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
    else:
        limit = SHARE_OF_RAM * psutil.virtual_memory().available
    data = sum(split.images.nbytes + split.labels.nbytes for split in (parts.data.train, parts.data.test))
    pixels = parts.data.train.images.shape[1]
    left = limit - data * (device.type != "cpu") - loop.SHARED_BYTES
    return max(1, int(left // loop.bytes_per_run(parts.model, pixels, config["batch_size"])))
