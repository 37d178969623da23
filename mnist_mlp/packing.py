"""Which jobs are trained together, how many at a time, and what each of them leaves behind. There is no Hydra here."""

import gc
import json
import logging
from collections import Counter
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

log = logging.getLogger(__name__)

OF_STACK = ("seed", "init", "optim")  # what the runs of a stack may differ in
SHARE_OF_GPU, SHARE_OF_RAM = 0.8, 0.5  # of what is free, where no limit is given
CPU = torch.device("cpu")

# Why a job is trained alone.
UNKNOWN = "the network, the optimizer or one of its options is not among those that stack"
NO_LIKE = "no other job has the same network, data and batch size"
NO_MEMORY = "two runs would take more memory than is allowed"


@dataclass(frozen=True)
class Packing:
    """How jobs are to be trained; they are meant by their numbers.

    Attributes:
        stacks: those that are trained together.
        alone: the others, and why each is.
    """

    stacks: Sequence[Sequence[int]]
    alone: Mapping[int, str]

    def __str__(self) -> str:
        sizes = ", ".join(str(len(stack)) for stack in self.stacks)
        lines = [f"stacks of {sizes} jobs" if self.stacks else "no stacks"]
        lines += [f"{count} alone: {reason}" for reason, count in Counter(self.alone.values()).items()]
        return "; ".join(lines)


def stack_key(config: Mapping[str, Any], parts: Parts) -> str | None:
    """What jobs must have in common to be trained together; None for one that can only be trained alone.

    Args:
        config: plain.
        parts: built from it, on the CPU.
    """
    on = find_device(config["device"]).type
    if on not in ("cpu", "cuda") or not stacked.suits(parts.model, parts.optimizer):
        return None
    common = {key: value for key, value in identity(config).items() if key not in OF_STACK}
    return json.dumps(
        [common, config["device"], config["log_interval"], stacked.architecture(parts.model)], sort_keys=True
    )


def pack(configs: Sequence[Mapping[str, Any]], memory: float | None) -> Packing:
    """Put together what can be trained together, in stacks of nearly equal sizes that fit the memory.

    Args:
        configs: of the jobs, plain.
        memory: that a stack may take, in GiB; None for most of what its device has free.
    """
    keys: dict[str, str | None] = {}  # whatever the seed, the same objects are built
    parts_of: dict[str, Parts] = {}
    groups: dict[str, list[int]] = {}
    alone: dict[int, str] = {}
    for number, config in enumerate(configs):
        kind = json.dumps({**config, "seed": 0}, sort_keys=True)
        if kind not in keys:
            try:
                parts = build(config, CPU)
                keys[kind] = stack_key(config, parts)
            except UserError:  # it will say so itself
                keys[kind] = None
        key = keys[kind]
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
        numbers = sorted(numbers, key=lambda number: configs[number]["seed"])  # runs of one seed share what is random
        bounds = [len(numbers) * part // count for part in range(count + 1)]
        stacks += [numbers[first:end] for first, end in pairwise(bounds)]
    return Packing(stacks, alone)


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
    return {"step": "stacked", "stack_size": size}


def train_alone(parts: Parts, config: Mapping[str, Any], device: torch.device) -> Iterator[Record]:
    """Train a stack of one, which draws and computes what a run of any stack does.

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
    try:
        yield from stacked.train(
            runs,
            parts.data,
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            log_interval=config["log_interval"],
            device=device,
            threads=config["threads"],
            tf32=config["tf32"],
        )
    finally:
        gc.collect()  # a stack and its steps refer to each other
        torch.cuda.empty_cache()


def train(jobs: Sequence[tuple[Assignment, logging.Logger]]) -> list[float | None]:
    """Train jobs as one stack; in halves, where the device turns out to have too little memory.

    Args:
        jobs: that can be trained together, each with its log.

    Returns:
        What `RunWriter.end` gives for each.
    """
    stack = [Member(job, log) for job, log in jobs]
    _train(stack)
    return [member.value for member in stack]


class Member:
    """A job in a stack: what it writes, and how it ended. An error of its own ends it, and leaves the others alone.

    Attributes:
        value: what `RunWriter.end` gave; None before.
        going: whether it has not ended.
    """

    def __init__(self, job: Assignment, log: logging.Logger) -> None:
        self.job, self.log = job, log
        self.value: float | None = None
        self.going = True
        self._writer: RunWriter | None = None

    def begin(self, size: int, device: torch.device) -> Run | None:
        """Begin its directory, and build it as one of a stack of this size; None where that fails."""
        config = self.job.config
        try:
            self.log.info("%s", self.job.directory)
            self._writer = self.job.writer(sharing=size)
            self._writer.describe(environment=environment(str(device), config["threads"]))
            self.parts = build(config, CPU)
            self._writer.describe(**self.parts.facts(), **facts(size))
            self._lines = EpochLines(config["epochs"], self.log)
            return run_of(self.parts)
        except Exception as error:
            self.end(error)
            return None

    def write(self, record: Record) -> None:
        """Write its next record."""
        assert self._writer is not None
        try:
            self._writer.write(record)
            self._lines.add(record)
        except Exception as error:
            self.end(error)

    def end(self, error: Exception | None = None) -> None:
        """Write down how it ended (see `RunWriter.end`)."""
        self.going = False
        try:
            if isinstance(error, Diverged):
                self.log.warning("diverged: %s", error)
            elif error is not None:
                self.log.error("failed", exc_info=error)
            if self._writer is not None:
                self.value = self._writer.end(error)
        except OSError as failure:  # a full disk, mostly; without a result the job is tried again
            log.error("%s: %s", self.job.directory, failure)


def _train(stack: Sequence[Member]) -> None:
    config = stack[0].job.config
    device = find_device(config["device"])
    runs, members = [], []
    for member in stack:
        run = member.begin(len(stack), device)
        if run is not None:
            runs.append(run)
            members.append(member)
    if not runs:
        return
    log.info("%d runs in one stack on %s", len(runs), device)
    failure: Exception | None = None
    try:
        for number, record in _records(runs, members[0].parts, config, device):
            member = members[number]
            if not member.going:
                continue
            if isinstance(record, Diverged):
                member.end(record)
            else:
                member.write(record)
    except Exception as error:
        failure = error
    going = [member for member in members if member.going]
    if failure is None or not _is_memory(failure) or len(runs) == 1:
        for member in going:
            member.end(failure)
        return
    # Whatever refers to the stack's memory must go before the next one comes: the networks are views into it.
    failure = None
    runs.clear()
    for member in members:
        del member.parts
    gc.collect()
    torch.cuda.empty_cache()
    half = -(-len(going) // 2)
    log.warning("%d runs at once are too many for the memory; trying %d", len(members), half)
    for part in (going[:half], going[half:]):
        if part:
            _train(part)


def _is_memory(error: Exception) -> bool:
    """Whether a device had too little memory; libraries and the CPU's allocator say so in words alone."""
    words = ("CUBLAS_STATUS_ALLOC_FAILED", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
