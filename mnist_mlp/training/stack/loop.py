"""Training loop of a stack: R runs at once, for devices that one small network cannot use fully.

All runs of a stack take each step together, with matmuls batched over the runs. A run has the same initial weights,
batch order, dropout masks and hyperparameters as if it was trained alone, and the same results except for rounding. On
a CUDA device, a step is a captured graph, and no result is read back before the end of the epoch.
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
from mnist_mlp.training.process import with_training_settings
from mnist_mlp.training.stack.runs import Run
from mnist_mlp.training.stack.stack import CHUNK_BYTES, Stack
from mnist_mlp.training.stack.steps import step_method
from mnist_mlp.training.stack.toolchain import Toolchain
from mnist_mlp.training.step import has_all_parameters

SHARED_BYTES = 2 * CHUNK_BYTES  # memory of a stack of any size


def supports(model: nn.Module, optimizer: Optimizer) -> TypeGuard[nn.Sequential]:
    """Return whether a run with this model and optimizer, built on the CPU, can be part of a stack."""
    return backprop.supports(model) and has_all_parameters(model, optimizer)


def architecture(model: nn.Sequential) -> str:
    """Return a text that is equal for models that can be in one stack, with module types, sizes and settings."""
    return f"{model!r} of {next(model.parameters()).dtype}"


def bytes_per_run(model: nn.Module, pixels: int, batch_size: int) -> int:
    """Return an upper estimate of the memory that a run takes in a stack.

    Args:
        model: Model of the run.
        pixels: Number of input features.
        batch_size: Images per step.
    """
    widths = [pixels, *(m.out_features for m in model.modules() if isinstance(m, nn.Linear))]
    parameters = sum(p.numel() for p in model.parameters())
    # Five arrays: values, gradients, and up to three of optimizer state. Without compilation, eight more: four
    # intermediate arrays each of the captured step and of an epoch's last step, which cannot share memory.
    arrays = 13 * parameters
    training = 12 * batch_size * sum(widths)  # activations, masks, gradients with respect to activations
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
    """Train R classifiers together, and evaluate them as `mnist_mlp.training.train` does.

    The caller's process settings are restored whenever a record is yielded.

    Args:
        runs: Runs of one architecture.
        data: Splits, shared by all runs.
        epochs: Number of passes over the training images, at least 0.
        batch_size: Images per step and run, at least 1.
        log_interval: Number of steps between two `StepLoss` records.
        device: Device to train on.
        threads: Number of CPU threads.
        tf32: Let matmuls on a GPU round their factors to TensorFloat-32.
        toolchain: Compiler and CUDA-graph capture that several stacks share; None creates them for this stack.

    Yields:
        Pairs (run index, record). The records of a run are those that it would yield on its own, except that `seconds`
        is 1/R of the time of the stack. If a run diverges or its optimizer raises, its last pair has the exception in
        place of a record, and the other runs continue.

    Raises:
        torch.OutOfMemoryError: The device has too little memory for this many runs.
    """
    return with_training_settings(
        _train(runs, data, epochs, batch_size, log_interval, device, toolchain), threads, tf32
    )


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
    methods = [step_method(run) for run in runs]
    rows = sorted(range(len(runs)), key=methods.__getitem__)  # runs with the same update functions become adjacent
    data = data.to(device)
    stack = Stack([runs[number] for number in rows], data, batch_size, device, epochs=epochs, toolchain=toolchain)
    going = set(range(len(rows)))  # rows of runs that have not ended
    seconds = 0.0

    def failures() -> Iterator[tuple[int, BaseException]]:
        for row in sorted(going & stack.failed.keys()):
            going.discard(row)
            yield rows[row], stack.failed[row]

    def evaluations(epoch: int) -> Iterator[tuple[int, Record | BaseException]]:
        stack.prepare_evaluation()
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
