"""Logarithmic axes that everybody can read: errors in per cent, and ticks at 1, 2 and 5 times powers of ten."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

USUAL_IMAGES = 10_000  # to test on, where it is not known


@dataclass(frozen=True)
class Scale:
    """What is drawn along an axis: its title, a unit that follows each number, and the factor to that unit."""

    title: str
    unit: str = ""
    factor: float = 1

    def text(self, value: float) -> str:
        """A number as its tick says it; no formula, which takes long to draw."""
        return f"{value * self.factor:g}{self.unit}"


def least_error(runs: pd.DataFrame) -> float:
    """What stands for no error at all on a logarithmic axis: half a test image, of the largest test set."""
    images = runs["test_size"].max()
    return 0.5 / (images if images > 0 else USUAL_IMAGES)


def with_errors(table: pd.DataFrame, least: float) -> pd.DataFrame:
    """The same with `error_mean`, `error_ci_low` and `error_ci_high`: 1 - accuracy, and at least this much.

    Args:
        table: with `accuracy_mean`, `accuracy_ci_low` and `accuracy_ci_high`, fractions.
        least: see `least_error`.
    """
    if table.empty:
        return table
    mirrored = {"mean": "mean", "ci_low": "ci_high", "ci_high": "ci_low"}
    return table.assign(
        **{f"error_{part}": (1 - table[f"accuracy_{of}"]).clip(lower=least) for part, of in mirrored.items()}
    )


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """Where an axis for these values ends: at 1, 2 or 5 times a power of ten, with all positive ones between."""
    array = np.asarray(list(values), dtype=float)
    positive = array[np.isfinite(array) & (array > 0)]
    if not len(positive):
        return 0.1, 1.0
    least, most = float(positive.min()), float(positive.max())
    steps = _steps(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 1)
    low = max(step for step in steps if step <= least * (1 + 1e-9))
    return low, min(step for step in steps if step >= most * (1 - 1e-9) and step > low)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high; powers of ten alone, or some of them, where there are many."""
    exponents = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def inside(steps: Sequence[float]) -> list[float]:
        return [step for step in steps if low * (1 - 1e-9) <= step <= high * (1 + 1e-9)]

    fine, decades = inside(_steps(*exponents)), inside(_steps(*exponents, digits=(1,)))
    return fine if len(fine) <= most else decades[:: math.ceil(len(decades) / most)]


def _steps(first: int, last: int, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    return [float(f"{digit}e{exponent}") for exponent in range(first, last + 1) for digit in digits]


def set_logarithmic(ax: Axes, which: Literal["x", "y"], ends: tuple[float, float], scale: Scale, most: int) -> None:
    """Make an axis logarithmic between these ends, with at most so many ticks, which say the scale's unit."""
    places = ticks(*ends, most)
    axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}scale": "log", f"{which}lim": ends})
    axis.set_ticks(places, [scale.text(place) for place in places])
    axis.set_minor_locator(NullLocator())
