"""Training loop and evaluation.

Everything random in a run comes from four seeds: of the weights, set before; of the batch order; of dropout; and of
whatever else a network draws. So runs of one seed see the same batches whatever their network, initialization or
optimizer.
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
from mnist_mlp.training.epoch_log import EpochLog, caught, diverged_in_evaluation
from mnist_mlp.training.optimizers import Statistics, set_mode
from mnist_mlp.training.process import prepared
from mnist_mlp.training.schedules import Rates, Schedule
from mnist_mlp.training.seeds import Seeds
from mnist_mlp.training.step import make_step
from mnist_mlp.training.warmup import warm_up

EVALUATION_BATCH = 500  # images at a time; bounds the memory of an evaluation


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
    """Train a classifier by mean cross-entropy, and evaluate it before and after each epoch.

    While a record is computed the process has the settings that make this fast: few threads, and subnormal numbers
    taken for 0. Whoever takes the records finds their own settings in between and afterwards.

    Args:
        model: maps (batch, pixels) to logits (batch, classes); on the data's device; trained in place.
        optimizer: over the model's parameters; one with modes is in that for evaluation in the end.
        data: its splits.
        epochs: passes over the training images, at least 0.
        batch_size: images a step, at least 1; a single image left over joins the batch before it.
        seeds: of the batch order, which is drawn on the CPU, so that every device sees the same batches; of dropout;
            and of whatever else in the network is random, which draws from the default generators of PyTorch, NumPy
            and Python (see `make_step`).
        log_interval: steps between two `StepLoss` records.
        threads: of the CPU; more do not help networks this small.
        tf32: whether a GPU's matrix products may round their factors to TensorFloat-32.
        schedule: of the learning rate; None leaves the optimizer its own.

    Yields:
        `Metrics` of every split at epoch 0 and after each epoch (train: over the epoch's own batches, in training
        mode; at epoch 0 evaluated), and the `StepLoss` of every `log_interval`-th step. Their `seconds` count the
        training steps alone, all that is compiled or made at the first of them having been so before.

    Raises:
        Diverged: a loss was not finite; the record that shows it has been yielded.
        InvalidArgument: the optimizer is none that can be served (see `mnist_mlp.training.optimizers`).
    """
    rates = Rates(optimizer, schedule, epochs * len(batch_sizes(len(data.train), batch_size)))
    records = _train(model, optimizer, rates, data, epochs, batch_size, seeds, log_interval)
    return prepared(_left_for_evaluation(records, optimizer), threads, tf32)


def _left_for_evaluation(records: Iterator[Record], optimizer: Optimizer) -> Generator[Record, None, None]:
    """The same records; whatever ends them, the optimizer is then in its mode for evaluation."""
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
            error = caught(train_step.update)  # an optimizer may complain of a loss that is not finite
            if error or log.is_complete or log.step % log_interval == 0:
                yield from log.read(log_interval, error)

        step, seconds = log.step, seconds + log.seconds
        yield log.metrics(seconds)
        yield from _evaluations(model, optimizer, rates, data, epoch, step, seconds)


def _evaluations(
    model: nn.Module, optimizer: Optimizer, rates: Rates, data: Splits, epoch: int, step: int, seconds: float
) -> Iterator[Metrics]:
    """Records of the splits that are evaluated at the end of this epoch; the training split only before the first."""
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
    """Mean cross-entropy in nats, and accuracy in [0, 1], in evaluation mode; the model is left in it."""
    model.eval()
    loss = torch.zeros((), dtype=torch.float32, device=split.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    for start in range(0, len(split), EVALUATION_BATCH):
        images, labels = split.take(slice(start, start + EVALUATION_BATCH))
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct += (logits.argmax(dim=1) == labels).sum()
    return loss.item() / len(split), correct.item() / len(split)
