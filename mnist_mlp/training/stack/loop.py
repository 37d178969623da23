"""Training loop of a stack: R runs as one, for devices that one network leaves idle.

All runs of a stack take each step together, through products batched over the runs. Each keeps what it has alone: its
weights, its order of the images, its dropout stream, its hyperparameters, and its numbers but for rounding. On a CUDA
device nothing is read back between the ends of two epochs, and a step is a captured graph.
"""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from typing import TypeGuard

import torch
from torch import nn
from torch.optim import Optimizer

from mnist_mlp.base.record import Metrics, Record, StepLoss
from mnist_mlp.data.batches import batch_sizes
from mnist_mlp.data.splits import Splits
from mnist_mlp.training.epoch_log import diverged_in_evaluation, diverged_in_training, first_non_finite
from mnist_mlp.training.fused import backprop
from mnist_mlp.training.loop import EVALUATION_BATCH
from mnist_mlp.training.process import prepared
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.stack import CHUNK_BYTES, Stack
from mnist_mlp.training.stack.steps import kind_of
from mnist_mlp.training.stack.toolchain import Toolchain
from mnist_mlp.training.step import has_all

SHARED_BYTES = 2 * CHUNK_BYTES  # that a stack takes whatever its size


def supports(model: nn.Module, optimizer: Optimizer) -> TypeGuard[nn.Sequential]:
    """Whether a run of these, on the CPU so far, can be part of a stack of its like."""
    return backprop.supports(model) and has_all(model, optimizer)


def architecture(model: nn.Sequential) -> str:
    """Equal for networks that can be in one stack: the modules' types, sizes and settings."""
    return f"{model!r} of {next(model.parameters()).dtype}"


def bytes_a_run(model: nn.Module, pixels: int, batch_size: int) -> int:
    """About how much memory a run of this network takes in a stack; rather more than less."""
    widths = [pixels, *(m.out_features for m in model.modules() if isinstance(m, nn.Linear))]
    parameters = sum(p.numel() for p in model.parameters())
    # Values, gradients, three that the optimizer remembers; and where nothing is compiled four in between, twice: in
    # the captured step and in the last one of an epoch, which cannot share their memory.
    arrays = 13 * parameters
    training = 12 * batch_size * sum(widths)  # activations, masks, gradients by them
    evaluation = 6 * EVALUATION_BATCH * max(widths)
    return next(model.parameters()).itemsize * (arrays + training + evaluation)


def train(
    runs: Sequence[Run],
    data: Splits,
    *,
    epochs: int,
    batch_size: int,
    log_interval: int,
    device: torch.device,
    threads: int = 1,
    tf32: bool = False,
    toolchain: Toolchain | None = None,
) -> Iterator[tuple[int, Record | BaseException]]:
    """Train R classifiers together, and evaluate them before and after each epoch, as `training.train` does one.

    Args:
        runs: of one architecture.
        data: the splits that all of them see.
        epochs: passes over the training images, at least 0.
        batch_size: images a step and run, at least 1.
        log_interval: steps between two `StepLoss` records.
        device: where to train.
        threads: of the CPU, as for `mnist_mlp.training.train`; the process has its own settings in between, as there.
        tf32: as there.
        toolchain: Compiler and CUDA-graph capture that several stacks share; None creates them for this stack.

    Yields:
        The number of a run with a record of its, as it would have them alone; `seconds` is its share, an R-th, of the
        stack's. A `Diverged`, or what its optimizer has raised, instead of a record is the run's last; the others go
        on.

    Raises:
        torch.OutOfMemoryError: the device has too little memory for so many runs.
    """
    return prepared(_train(runs, data, epochs, batch_size, log_interval, device, toolchain), threads, tf32)


def _train(
    runs: Sequence[Run],
    data: Splits,
    epochs: int,
    batch_size: int,
    log_interval: int,
    device: torch.device,
    toolchain: Toolchain | None,
) -> Generator[tuple[int, Record | BaseException], None, None]:
    if device.type == "cuda":
        torch.cuda.set_device(device)
    kinds = [kind_of(run) for run in runs]
    rows = sorted(range(len(runs)), key=kinds.__getitem__)  # runs of the same update functions are neighbors
    data = data.to(device)
    stack = Stack([runs[number] for number in rows], data, batch_size, device, epochs=epochs, toolchain=toolchain)
    going = set(range(len(rows)))  # rows that have not ended
    seconds = 0.0

    def failures() -> Iterator[tuple[int, BaseException]]:
        for row in sorted(going & stack.failed.keys()):
            going.discard(row)
            yield rows[row], stack.failed[row]

    def evaluations(epoch: int) -> Iterator[tuple[int, Record | BaseException]]:
        stack.ready_to_evaluate()
        yield from failures()
        splits = {"train": data.train if epoch == 0 else None, "val": data.val, "test": data.test}
        for name, split in splits.items():
            if split is None:
                continue
            losses, accuracies = stack.evaluate(split)
            for row in sorted(going):
                loss = losses[row]
                yield (
                    rows[row],
                    Metrics(epoch, stack.steps, name, loss, accuracies[row], stack.lr(row, stack.steps), seconds),
                )
                if not math.isfinite(loss):
                    going.discard(row)
                    yield rows[row], diverged_in_evaluation(name, loss, epoch)

    yield from evaluations(0)
    sizes = torch.tensor(batch_sizes(len(data.train), batch_size), dtype=torch.float64)
    for epoch in range(1, epochs + 1):
        if not going:
            return
        started, before = time.perf_counter(), stack.steps
        losses, correct = stack.epoch()  # (steps, R), (R,)
        seconds += (time.perf_counter() - started) / len(runs)
        means = (losses.double().t() @ sizes / len(data.train)).tolist()
        for row in sorted(going):
            bad = first_non_finite(losses[:, row])
            if bad is None and row in stack.failed:
                continue
            ends = len(losses) if bad is None else bad + 1
            for number in range(ends):
                step = before + number + 1
                if step % log_interval == 0 or number == bad:
                    yield rows[row], StepLoss(step, epoch, losses[number, row].item(), stack.lr(row, step))
            if bad is not None:
                going.discard(row)
                yield rows[row], diverged_in_training(losses[bad, row].item(), before + bad + 1, epoch)
                continue
            accuracy = int(correct[row]) / len(data.train)
            yield (
                rows[row],
                Metrics(epoch, stack.steps, "train", means[row], accuracy, stack.lr(row, stack.steps), seconds),
            )
        yield from failures()
        yield from evaluations(epoch)
