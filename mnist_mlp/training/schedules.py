"""Learning-rate schedules.

A schedule is a linear warm-up, followed by a shape for the rest of the run. A shape is a function from progress to a
factor of the optimizer's learning rate. The factor is in [0, 1], so `optim.lr` is the highest rate of a run. Progress
is 0 at the end of the warm-up, and rises towards 1 at the end of the run. A user-defined schedule consists of such a
function and a YAML file in `conf/schedule/`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from mnist_mlp.base.errors import InvalidArgument, name_of

Shape = Callable[[float], float]

TRIED = 20_000  # a schedule is checked at all steps of a run or, of longer runs, at one to two times this many
ROUNDING = 1e-9  # tolerance for progress that equals a milestone up to rounding


def constant(progress: float) -> float:
    """Return 1: a constant learning rate."""
    return 1.0


def cosine(progress: float, final: float = 0.0) -> float:
    """Half a cosine from 1 to `final`, in [0, 1] (Loshchilov and Hutter 2017, "SGDR", eq. 5, without restarts)."""
    _check_fraction("final", final)
    return final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2


def linear(progress: float, final: float = 0.0) -> float:
    """Linear decay from 1 to `final`, in [0, 1]."""
    _check_fraction("final", final)
    return 1 + (final - 1) * progress


def exponential(progress: float, final: float = 0.01) -> float:
    """Exponential decay from 1 to `final`, in (0, 1]: every step multiplies the rate by the same factor."""
    _check_fraction("final", final, zero=False)
    return float(final**progress)


def step(progress: float, milestones: Sequence[float] = (0.5, 0.75), gamma: float = 0.1) -> float:
    """Multiply the rate by `gamma`, in [0, 1], at each milestone, a fraction of the run."""
    _check_fraction("gamma", gamma)
    if not isinstance(milestones, Sequence) or isinstance(milestones, str):
        raise InvalidArgument("milestones", milestones, "a list of fractions, such as [0.5,0.75]")
    for milestone in milestones:
        _check_fraction("milestones", milestone)
    return float(gamma ** sum(progress >= milestone - ROUNDING for milestone in milestones))


def inverse_sqrt(progress: float, scale: float = 0.1) -> float:
    """Inverse square-root decay, 1 / sqrt(1 + progress / scale).

    Equal to the schedule of Vaswani et al. 2017, "Attention Is All You Need", eq. 3, for a warm-up of W of T steps and
    scale W / (T - W): after t > W steps, the factor is sqrt(W / t).

    Raises:
        InvalidArgument: `scale` is not greater than 0.
    """
    if not 0 < scale < math.inf:
        raise InvalidArgument("scale", scale, "a number greater than 0")
    return 1 / math.sqrt(1 + progress / scale)


def one_cycle(progress: float, rise: float = 0.3, initial: float = 0.04, final: float = 4e-6) -> float:
    """Half a cosine up from `initial` to 1 during the fraction `rise` of the run, then half a cosine down to `final`.

    Smith and Topin 2018, "Super-Convergence", with the defaults of PyTorch's `OneCycleLR`; momentum does not change.

    Raises:
        InvalidArgument: An argument is not in [0, 1].
    """
    for name, value in {"rise": rise, "initial": initial, "final": final}.items():
        _check_fraction(name, value)
    if progress < rise:
        return cosine(1 - progress / rise, initial)
    return cosine((progress - rise) / (1 - rise) if rise < 1 else 0.0, final)


def _check_fraction(name: str, value: float, zero: bool = True) -> None:
    if not isinstance(value, int | float) or not (0 <= value <= 1 if zero else 0 < value <= 1):
        raise InvalidArgument(name, value, f"a number in {'[' if zero else '('}0, 1]")


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up of the learning rate, and a shape for the rest of the run.

    Attributes:
        shape: Function that maps progress in [0, 1] to a factor in [0, 1].
        warmup: Fraction of the run's steps that are warm-up, in [0, 1].
    """

    shape: Shape = constant
    warmup: float = 0.0

    def factor(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step.

        Args:
            step: Number of the step, from 1.
            steps: Number of steps of the run.

        Raises:
            InvalidArgument: The shape does not return a number in [0, 1].
        """
        warm = round(self.warmup * steps)
        if step <= warm:
            return step / warm
        return self._at(min(1.0, (step - 1 - warm) / max(1, steps - warm)))

    def _at(self, progress: float) -> float:
        factor: Any = self.shape(progress)
        try:
            if 0 <= float(factor) <= 1:  # False for NaN
                return float(factor)
        except (TypeError, ValueError):  # not a number
            pass
        allowed = "a function of progress that returns a factor of the learning rate in [0, 1], not "
        raise InvalidArgument("_target_", name_of(self.shape), f"{allowed}{factor} at progress {progress:g}")

    def validate(self, steps: int) -> bool:
        """Check that the schedule is valid at all steps of a run, or at many steps of a very long run.

        Args:
            steps: Number of steps of the run.

        Returns:
            True if the learning rate changes during the run.

        Raises:
            InvalidArgument: The shape does not return a number in [0, 1].
        """
        self._at(0.0)  # checks the shape even if the whole run is warm-up
        tried = (*range(1, steps + 1, max(1, steps // TRIED)), *([steps] if steps else []))
        return len({self.factor(step, steps) for step in tried}) > 1


class Rates:
    """Learning rates of the optimizer of one run.

    Args:
        optimizer: Optimizer with the highest learning rates, which the factors of the schedule multiply.
        schedule: Learning-rate schedule; None leaves the learning rates to the optimizer.
        steps: Number of steps of the run.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule | None, steps: int) -> None:
        self._optimizer, self._steps = optimizer, steps
        self._schedule = schedule
        self._highest = [float(group["lr"]) for group in optimizer.param_groups] if self._schedule else []

    def set(self, step: int) -> None:
        """Set the optimizer's learning rates for a step, counted from 1."""
        if self._schedule is None:
            return
        factor = self._schedule.factor(step, self._steps)
        for group, highest in zip(self._optimizer.param_groups, self._highest, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(highest * factor)
            else:
                group["lr"] = highest * factor

    def at(self, step: int) -> float:
        """Return the learning rate of the first parameter group at a step, for records; at step 0, the highest rate."""
        if self._schedule is None:
            return float(self._optimizer.param_groups[0]["lr"])
        return self._highest[0] * (self._schedule.factor(step, self._steps) if step else 1.0)
