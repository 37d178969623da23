"""Training of jobs as one stack, in which several networks are trained as one batch.

A failure of one job does not affect the others.
"""

import gc
import logging
from collections.abc import Sequence

import torch

from mnist_mlp.base.provenance import environment
from mnist_mlp.base.record import Diverged, Record, RunWriter
from mnist_mlp.build.from_config import build, find_device
from mnist_mlp.build.outputs import observe
from mnist_mlp.build.stack_members import facts, records, run_of
from mnist_mlp.sweeps.jobs import Assignment
from mnist_mlp.sweeps.progress import EpochLines
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.toolchain import Toolchain

log = logging.getLogger(__name__)
CPU = torch.device("cpu")


def train(jobs: Sequence[tuple[Assignment, logging.Logger]], toolchain: Toolchain) -> list[float | None]:
    """Train jobs as one stack. If they do not fit into the memory of the device, train each half on its own.

    Args:
        jobs: Jobs that can be trained together, each with its logger.
        toolchain: Compiler and CUDA-graph capture that the stacks of a sweep share.

    Returns:
        Objective of each job (see `RunWriter.end`); None for a job that failed.
    """
    stack = [Member(job, log) for job, log in jobs]
    _train(stack, toolchain)
    return [member.value for member in stack]


class Member:
    """A job in a stack. An error in the job ends only this job.

    Args:
        job: Configuration and directory.
        log: Logger of the job.

    Attributes:
        value: Objective (see `RunWriter.end`); None until the job ends, and if it fails.
        going: True until the job ends.
    """

    def __init__(self, job: Assignment, log: logging.Logger) -> None:
        self.job, self.log = job, log
        self.value: float | None = None
        self.going = True
        self._writer: RunWriter | None = None

    def begin(self, size: int, device: torch.device) -> Run | None:
        """Create the files of the run, and build the run.

        Returns None, and ends the job, if this fails.

        Args:
            size: Number of runs in the stack.
            device: Device that the stack is trained on.
        """
        config = self.job.config
        try:
            self.log.info("%s", self.job.directory)
            self._writer = self.job.writer(sharing=size)
            self._writer.describe(environment=environment(str(device), config["threads"]))
            self.parts = build(config, CPU)
            run = run_of(self.parts)
            self._writer.describe(**self.parts.facts(), **facts(run, size))
            observe(self._writer, config, self.parts)
            self._lines = EpochLines(config["epochs"], self.log)
            return run
        except Exception as error:
            self.end(error)
            return None

    def write(self, record: Record) -> None:
        """Write the next record of the job. An error ends the job."""
        assert self._writer is not None
        try:
            self._writer.write(record)
            self._lines.add(record)
        except Exception as error:
            self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Write `run.json` and log an error, if there is one (see `RunWriter.end`)."""
        self.going = False
        try:
            if isinstance(error, Diverged):
                self.log.warning("diverged: %s", error)
            elif error is not None:
                self.log.error("failed", exc_info=error)
            if self._writer is not None:
                self.value = self._writer.end(error)
        except OSError as failure:  # such as a full disk; a job without a result is launched again
            log.error("%s: %s", self.job.directory, failure)


def _train(stack: Sequence[Member], toolchain: Toolchain) -> None:
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
        for number, record in records(runs, members[0].parts, config, device, toolchain):
            member = members[number]
            if not member.going:
                continue
            if isinstance(record, BaseException):
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
    # Free the stack's memory before the next stack allocates: drop the networks, whose parameters are views into it.
    failure = None
    runs.clear()
    for member in members:
        del member.parts
    gc.collect()
    torch.cuda.empty_cache()
    half = -(-len(going) // 2)
    log.warning("%d runs do not fit into memory at once; trying %d", len(members), half)
    for part in (going[:half], going[half:]):
        if part:
            _train(part, toolchain)


def _is_memory(error: Exception) -> bool:
    """Return whether a device ran out of memory. cuBLAS and the CPU allocator report this only in the message."""
    words = ("CUBLAS_STATUS_ALLOC_FAILED", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in words)
