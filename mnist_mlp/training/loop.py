"""Training loop and evaluation of one run. On a CUDA device, a run is trained as a stack of one instead, if possible.

All randomness of a run comes from four seeds: for the initial weights, the batch order, dropout, and other random
modules. Runs with the same seed therefore see the same batches, even if they differ in the model, the initialization or
the optimizer. Stacks have their own loop (`mnist_mlp.training.stack.loop`).
"""

import math
from collections.abc import Generator, Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from mnist_mlp.base.record import Metrics, Record
from mnist_mlp.data.batches import batch_sizes, batches
from mnist_mlp.data.splits import Split, Splits
from mnist_mlp.training.epoch_log import EpochLog, catch_exception, diverged_in_evaluation
from mnist_mlp.training.optimizers import Statistics, set_mode
from mnist_mlp.training.process import with_training_settings
from mnist_mlp.training.schedules import Rates, Schedule
from mnist_mlp.training.seeds import Seeds
from mnist_mlp.training.step import make_step
from mnist_mlp.training.warmup import warm_up

EVALUATION_BATCH = 500  # images; limits the memory of an evaluation


def train(
    model: nn.Module,
    optimizer: Optimizer,
    data: Splits,
    *,
    epochs: int,
    batch_size: int,
    seeds: Seeds,
    log_interval: int,
    threads: int = 1,
    tf32: bool = False,
    schedule: Schedule | None = None,
) -> Iterator[Record]:
    """Train a classifier by mean cross-entropy, and evaluate it before the first epoch and after each epoch.

    Training needs its own settings of the process (see `mnist_mlp.training.process`). The caller's settings are
    restored whenever a record is yielded, and at the end.

    Args:
        model: Model that maps (batch, pixels) to logits (batch, classes), on the device of the data; trained in place.
        optimizer: Optimizer of the model's parameters. If it has modes, it is in evaluation mode at the end.
        data: Splits of the data set.
        epochs: Number of passes over the training images, at least 0.
        batch_size: Images per step, at least 1. A remainder of one image is merged into the previous batch.
        seeds: Seeds of the run. The batch order is drawn on the CPU, so that it is the same on every device. Modules
            that draw random numbers use the default generators of PyTorch, NumPy and Python (see `make_step`).
        log_interval: Number of steps between two `StepLoss` records.
        threads: Number of CPU threads; more than one does not help small models.
        tf32: Let matmuls on a GPU round their factors to TensorFloat-32.
        schedule: Learning-rate schedule; None does not change the optimizer's learning rates.

    Yields:
        `Metrics` of every split at epoch 0 and after each epoch, and the `StepLoss` of every `log_interval`-th step.
        After an epoch, the metrics of the training split are averages over the epoch's steps, in training mode. All
        other metrics are from an evaluation. `seconds` is the time of the training steps only, without the warm-up.

    Raises:
        Diverged: A loss is not finite. The record with this loss has been yielded.
        InvalidArgument: The loop does not support the optimizer (see `mnist_mlp.training.optimizers`).
    """
    rates = Rates(optimizer, schedule, epochs * len(batch_sizes(len(data.train), batch_size)))
    records = _train(model, optimizer, rates, data, epochs, batch_size, seeds, log_interval)
    return with_training_settings(_left_for_evaluation(records, optimizer), threads, tf32)


def _left_for_evaluation(records: Iterator[Record], optimizer: Optimizer) -> Generator[Record, None, None]:
    """Yield the records. Put the optimizer into evaluation mode at the end, also after an exception."""
    try:
        yield from records
    finally:
        set_mode(optimizer, training=False)


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    rates: Rates,
    data: Splits,
    epochs: int,
    batch_size: int,
    seeds: Seeds,
    log_interval: int,
) -> Iterator[Record]:
    if epochs > 0:
        warm_up(model, optimizer, data.train, batch_sizes(len(data.train), batch_size))
    train_step = make_step(model, optimizer, seeds)
    generator = torch.Generator().manual_seed(seeds.batches)
    device = data.train.labels.device
    step, seconds = 0, 0.0
    yield from _evaluations(model, optimizer, rates, data, 0, step, seconds)

    for epoch in range(1, epochs + 1):
        model.train()
        set_mode(optimizer, training=True)
        order = batches(len(data.train), batch_size, generator)
        log = EpochLog(epoch, step, order, device, rates)
        for index in order:
            rates.set(log.step + 1)
            images, labels = data.train.take(index.to(device))  # (batch, pixels), (batch,)
            log.add(*train_step.gradients(images, labels))
            error = catch_exception(train_step.update)  # an optimizer may raise for a loss that is not finite
            if error or log.is_complete or log.step % log_interval == 0:
                yield from log.read(log_interval, error)

        step, seconds = log.step, seconds + log.seconds
        yield log.metrics(seconds)
        yield from _evaluations(model, optimizer, rates, data, epoch, step, seconds)


def _evaluations(
    model: nn.Module, optimizer: Optimizer, rates: Rates, data: Splits, epoch: int, step: int, seconds: float
) -> Iterator[Metrics]:
    """Evaluate the validation and test splits after an epoch; at epoch 0, the training split as well."""
    set_mode(optimizer, training=False)
    if step:
        Statistics(model, optimizer).renew(data.train)
    for name, split in (("train", data.train if epoch == 0 else None), ("val", data.val), ("test", data.test)):
        if split is None:
            continue
        loss, accuracy = evaluate(model, split)
        yield Metrics(epoch, step, name, loss, accuracy, rates.at(step), seconds)
        if not math.isfinite(loss):
            raise diverged_in_evaluation(name, loss, epoch)


@torch.no_grad()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    """Return mean cross-entropy in nats and accuracy in [0, 1]. Leaves the model in evaluation mode."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float32, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for start in range(0, len(split), EVALUATION_BATCH):
        images, labels = split.take(slice(start, start + EVALUATION_BATCH))
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
    return loss.item() / len(split), correct.item() / len(split)
