"""Which jobs are trained together, how many at a time, and what each of them leaves behind. There is no Hydra here."""

import gc
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
import torch
from torch import nn

from mnist_mlp import stacked
from mnist_mlp.build import Parts, build, find_device
from mnist_mlp.config import UserError, identity
from mnist_mlp.environment import environment
from mnist_mlp.jobs import Assignment
from mnist_mlp.progress import EpochLines
from mnist_mlp.record import Diverged, Record, RunWriter
from mnist_mlp.stack.stack import Run
from mnist_mlp.startup import prepare_to_train

log = logging.getLogger(__name__)

OF_STACK = ("seed", "init", "optim")  # what the runs of a stack may differ in
SHARE_OF_GPU, SHARE_OF_RAM = 0.8, 0.5  # of what is free, where no limit is given
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Packing:
    """How jobs are to be trained; they are meant by their numbers.

    Attributes:
        stacks: those that are trained together.
        alone: those that nothing else can be trained with.
    """

    stacks: Sequence[Sequence[int]]
    alone: Sequence[int]


def stack_key(config: Mapping[str, Any], parts: Parts) -> str | None:
    """What jobs must have in common to be trained together; None for one that can only be trained alone.

    Args:
        config: plain.
        parts: built from it, on the CPU.
    """
    if not stacked.suits(parts.model, parts.optimizer):
        return None
    common = {key: value for key, value in identity(config).items() if key not in OF_STACK}
    return json.dumps([common, config["device"], stacked.architecture(parts.model)], sort_keys=True)


def pack(configs: Sequence[Mapping[str, Any]], memory: float | None) -> Packing:
    """Put together what can be trained together, in stacks of nearly equal sizes that fit the memory.

    Args:
        configs: of the jobs, plain.
        memory: that a stack may take, in GiB; None for most of what its device has free.
    """
    keys: dict[str, str | None] = {}  # whatever the seed, the same objects are built
    parts_of: dict[str, Parts] = {}
    groups: dict[str, list[int]] = {}
    alone = []
    for number, config in enumerate(configs):
        kind = json.dumps({**config, "seed": 0}, sort_keys=True)
        if kind not in keys:
            try:
                parts = build(config, CPU)
                keys[kind] = stack_key(config, parts)
            except UserError:  # it will say so itself
                keys[kind] = None
            else:
                parts_of[keys[kind] or ""] = parts
        key = keys[kind]
        if key is None:
            alone.append(number)
        else:
            groups.setdefault(key, []).append(number)
    stacks = []
    for key, numbers in groups.items():
        most = max_runs(parts_of[key], configs[numbers[0]], memory)
        count = -(-len(numbers) // most)
        if count == len(numbers):
            alone += numbers
            continue
        numbers = sorted(numbers, key=lambda number: configs[number]["seed"])  # runs of one seed share what is random
        bounds = [len(numbers) * part // count for part in range(count + 1)]
        stacks += [numbers[first:end] for first, end in pairwise(bounds)]
    return Packing(stacks, sorted(alone))


def max_runs(parts: Parts, config: Mapping[str, Any], memory: float | None) -> int:
    """How many runs like this one a stack may have, at least 1.

    Args:
        parts: of one of the runs, on the CPU.
        config: of that run, plain.
        memory: that the stack may take, in GiB; None for most of what its device has free.
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
    left = limit - data * (device.type != "cpu") - stacked.SHARED_BYTES
    return max(1, int(left // stacked.bytes_a_run(parts.model, pixels, config["batch_size"])))


def run_of(parts: Parts) -> Run:
    """These parts, built on the CPU, as a run of a stack."""
    assert isinstance(parts.model, nn.Sequential)  # as `stacked.suits` has found
    return Run(parts.model, parts.optimizer, parts.seeds.batches, parts.seeds.dropout)


def facts(size: int) -> dict[str, Any]:
    """What `run.json` tells of a run's being one of so many in a stack."""
    return {"step": f"stack of {size}", "stack_size": size}


def train_alone(parts: Parts, config: Mapping[str, Any], device: torch.device) -> Iterator[Record]:
    """Train a stack of one: the fastest way on a GPU, and the same numbers as in any other stack.

    Args:
        parts: built from the configuration, on the CPU; `stacked.suits` accepts its model and optimizer.
        config: plain.
        device: where to train.

    Raises:
        Diverged: as `mnist_mlp.train.train` does.
    """
    for _, record in _records([run_of(parts)], parts, config, device):
        if isinstance(record, Diverged):
            raise record
        yield record


def _records(
    runs: Sequence[Run], parts: Parts, config: Mapping[str, Any], device: torch.device
) -> Iterator[tuple[int, Record | Diverged]]:
    return stacked.train(
        runs,
        parts.data,
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        log_interval=config["log_interval"],
        device=device,
    )


def train(jobs: Sequence[Assignment], logs: Sequence[logging.Logger]) -> list[float | None]:
    """Train jobs as one stack; in halves, where the device turns out to have too little memory.

    Args:
        jobs: that can be trained together.
        logs: of each job.

    Returns:
        What `RunWriter.end` gives for each.
    """
    try:
        return _train(jobs, logs)
    except torch.OutOfMemoryError as error:
        if len(jobs) == 1:
            logs[0].exception("failed")
            return [jobs[0].writer().end(error)]
    finally:
        gc.collect()  # a stack and its steps refer to each other
        torch.cuda.empty_cache()
    half = len(jobs) // 2
    log.warning("%d runs at once are too many for the memory; trying %d", len(jobs), half)
    return train(jobs[:half], logs[:half]) + train(jobs[half:], logs[half:])


def _train(jobs: Sequence[Assignment], logs: Sequence[logging.Logger]) -> list[float | None]:
    config = jobs[0].config
    device = find_device(config["device"])
    prepare_to_train(config["threads"], config["tf32"])
    values: list[float | None] = [None] * len(jobs)
    writers = [job.writer(sharing=len(jobs)) for job in jobs]
    runs: dict[int, Run] = {}
    for number, (job, writer) in enumerate(zip(jobs, writers, strict=True)):
        logs[number].info("%s", job.directory)
        try:
            parts = build(job.config, CPU)
            writer.describe(
                environment=environment(str(device), config["threads"]),
                **parts.facts(),
                **facts(len(jobs)),
            )
            runs[number] = run_of(parts)
        except Exception as error:
            _fail(error, writer, logs[number])
    if not runs:
        return values
    lines = [EpochLines(config["epochs"], log) for log in logs]
    numbers, going = list(runs), list(runs)
    log.info("%d runs in one stack on %s", len(runs), device)
    try:
        for which, record in _records(list(runs.values()), parts, config, device):
            number = numbers[which]
            if isinstance(record, Diverged):
                going.remove(number)
                logs[number].warning("diverged: %s", record)
                values[number] = writers[number].end(record)
            else:
                writers[number].write(record)
                lines[number].add(record)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        for number in going:
            _fail(error, writers[number], logs[number])
    else:
        for number in going:
            values[number] = writers[number].end()
    return values


def _fail(error: Exception, writer: RunWriter, log: logging.Logger) -> None:
    log.error("failed", exc_info=error)
    writer.end(error)
