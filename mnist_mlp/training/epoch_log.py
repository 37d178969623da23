"""Losses, accuracy and training time of one epoch, and the detection of divergence."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mnist_mlp.base.record import Diverged, Metrics, StepLoss
from mnist_mlp.training.schedules import Rates


class EpochLog:
    """Log of one epoch's steps. Its clock stops while the caller handles records.

    Losses are kept on the device, so that no step waits for them.

    Args:
        epoch: Number of the epoch, from 1.
        first_step: Number of the run's steps before this epoch.
        order: Image indices of each batch.
        device: Device of the losses.
        rates: Learning rates of the run.

    Attributes:
        step: Number of the run's steps so far.
        seconds: Training time of the epoch so far.
    """

    def __init__(
        self, epoch: int, first_step: int, order: Sequence[Tensor], device: torch.device, rates: Rates
    ) -> None:
        self.step, self.seconds = first_step, 0.0
        self._epoch, self._first_step, self._order, self._rates = epoch, first_step, order, rates
        self._losses = torch.zeros(len(order), device=device)
        # On the CPU, a NumPy view of the same memory: writing a number to it is faster.
        self._write_losses = self._losses.numpy() if device.type == "cpu" else self._losses
        self._correct: Tensor | int = 0
        self._started = time.perf_counter()

    def add(self, loss: Tensor | float, correct: Tensor | int) -> None:
        """Record a step.

        Args:
            loss: Mean loss of the batch in nats.
            correct: Number of images that are classified correctly.
        """
        self._write_losses[self.step - self._first_step] = loss
        self._correct += correct
        self.step += 1

    @property
    def is_complete(self) -> bool:
        """Return whether all steps of the epoch are recorded."""
        return self.step - self._first_step == len(self._order)

    def read(self, log_interval: int, error: Exception | None) -> Iterator[StepLoss]:
        """Check the losses so far, and yield the record of the last step if its number is a multiple of `log_interval`.

        The clock stops while the caller handles the record.

        Args:
            log_interval: Number of steps between two records.
            error: Exception that the optimizer raised at the last step; None without one.

        Raises:
            Diverged: A loss is not finite. The record of its step has been yielded.
            Exception: `error`, if all losses are finite.
        """
        count = self.step - self._first_step
        bad = first_non_finite(self._losses[:count])  # synchronizes with a GPU
        self.seconds += time.perf_counter() - self._started
        if bad is not None:
            loss, step = self._losses[bad].item(), self._first_step + bad + 1
            yield StepLoss(step, self._epoch, loss, self._rates.at(step))
            raise diverged_in_training(loss, step, self._epoch) from error
        if error:
            raise error
        if self.step % log_interval == 0:
            yield StepLoss(self.step, self._epoch, self._losses[count - 1].item(), self._rates.at(self.step))
        self._started = time.perf_counter()

    def metrics(self, seconds: float) -> Metrics:
        """Return the training metrics of the epoch, averaged over its images.

        Args:
            seconds: Training time of the run so far.
        """
        sizes = torch.tensor([len(index) for index in self._order])
        images = int(sizes.sum())
        loss = (self._losses.cpu().double() @ sizes.double()).item() / images
        accuracy = int(self._correct) / images
        return Metrics(self._epoch, self.step, "train", loss, accuracy, self._rates.at(self.step), seconds)


def catch_exception(function: Callable[[], object]) -> Exception | None:
    """Call a function, and return the exception that it raises; None without one."""
    try:
        function()
    except Exception as error:
        return error
    return None


def first_non_finite(losses: Tensor) -> int | None:
    """Return the index of the first loss that is infinite or NaN; None if all are finite."""
    finite = losses.isfinite()
    return None if finite.all() else int(finite.int().argmin())


def diverged_in_training(loss: float, step: int, epoch: int) -> Diverged:
    """Return the exception for a run with a non-finite loss on a training batch."""
    return Diverged(f"the training loss is {loss:g} at step {step}, in epoch {epoch}")


def diverged_in_evaluation(split: str, loss: float, epoch: int) -> Diverged:
    """Return the exception for a run with a non-finite loss on a whole split."""
    return Diverged(f"the {split} loss is {loss:g} after epoch {epoch}")
