"""Axis scales: logarithmic axes with ticks at 1, 2 and 5 times powers of ten, and compressed linear axes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from mnist_mlp.report.figures.style import SHADE

USUAL_IMAGES = 10_000  # size of the test set, if unknown
WIDEST = 2  # maximum factor by which intervals, which may reach 0, extend a logarithmic axis
FAR = 2  # a range larger than this multiple of the focus is compressed
SQUEEZED = 0.2  # length of a compressed end as a fraction of the focus
THINNEST = 0.5  # minimum width of the focus in percentage points
MARGIN = 0.05  # on either side of the focus, as a fraction of its width


@dataclass(frozen=True)
class Scale:
    """Scale of an axis.

    Attributes:
        title: Title of the axis, with the unit.
        unit: Text that follows each number in a tooltip.
        factor: Factor from a value to that unit.
        sign: Format of the sign in a tooltip: "+" shows it always.
    """

    title: str = ""
    unit: str = ""
    factor: float = 1
    sign: str = ""

    def tick(self, value: float) -> str:
        """Return the tick label of a value. It avoids math text, which is slow to draw."""
        return f"{value * self.factor:g}"


def least_error(runs: pd.DataFrame) -> float:
    """Return the fraction that stands for zero error on a logarithmic axis: half an image of the largest test set."""
    images = runs["test_size"].max()
    return 0.5 / (images if images > 0 else USUAL_IMAGES)


def with_errors(table: pd.DataFrame, least: float) -> pd.DataFrame:
    """Add the columns `error_mean`, `error_ci_low` and `error_ci_high`: 1 - accuracy, clipped from below.

    Args:
        table: Table with `accuracy_mean`, `accuracy_ci_low` and `accuracy_ci_high`, all fractions.
        least: Lower limit of the errors (see `least_error`).
    """
    if table.empty:
        return table
    mirrored = {"mean": "mean", "ci_low": "ci_high", "ci_high": "ci_low"}
    return table.assign(
        **{f"error_{part}": (1 - table[f"accuracy_{of}"]).clip(lower=least) for part, of in mirrored.items()}
    )


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """Return the ends of a logarithmic axis that contains all positive values: 1, 2 or 5 times a power of ten."""
    array = np.asarray(list(values), dtype=float)
    positive = array[np.isfinite(array) & (array > 0)]
    if not len(positive):
        return 0.1, 1.0
    least, most = float(positive.min()), float(positive.max())
    steps = _steps(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 1)
    low = max(step for step in steps if step <= least * (1 + 1e-9))
    return low, min(step for step in steps if step >= most * (1 - 1e-9) and step > low)


def bounds_with_intervals(table: pd.DataFrame, measure: str) -> tuple[float, float]:
    """Return the ends of a logarithmic axis for the means of a measure, with their intervals.

    Intervals extend the axis beyond the means by a factor of at most `WIDEST`, before the ends are rounded.
    """
    means, low, high = (table[f"{measure}_{part}"] for part in ("mean", "ci_low", "ci_high"))
    positive = means[means > 0]
    return bounds([*positive, *low.clip(lower=positive.min() / WIDEST), *high.clip(upper=positive.max() * WIDEST)])


def squeeze(
    ax: Axes,
    focus: Iterable[float],
    values: Iterable[float],
    limits: tuple[float, float] = (-math.inf, math.inf),
    thinnest: float = THINNEST,
) -> None:
    """Compress an x axis on both sides of a focus. The compressed parts have a linear scale and a gray background.

    The axis stays unchanged if there is no focus, or if the values extend little beyond it.

    Args:
        ax: Axes whose x axis is changed.
        focus: Values that have to stay distinguishable; NaN is ignored.
        values: All drawn values, including the focus.
        limits: Lowest and highest possible value.
        thinnest: Minimum width of the focus.
    """
    (low, high), (least, most) = _range(focus), _range(values)
    width = max(high - low, thinnest)
    if not most - least > FAR * width:  # also if a range is NaN
        return
    middle = (low + high) / 2
    low, high = (max(limits[0], middle - width * (0.5 + MARGIN)), min(limits[1], middle + width * (0.5 + MARGIN)))
    knots, places = [low, high], [0.0, 1.0]
    marks = [float(mark) for mark in MaxNLocator(4).tick_values(low, high) if low <= mark <= high]
    names = [f"{mark:g}" for mark in marks]
    if least < low:
        knots, places = [max(limits[0], least - (low - least) / 4), *knots], [-SQUEEZED, *places]
        marks, names = [least, *marks], [f"{least:.3g}", *names]
    if most > high:
        knots, places = [*knots, min(limits[1], most + (most - high) / 4)], [*places, 1 + SQUEEZED]
        marks, names = [*marks, most], [*names, f"{most:.3g}"]
    ax.set_xscale(
        "function", functions=(lambda x: np.interp(x, knots, places), lambda place: np.interp(place, places, knots))
    )
    ax.set_xlim(knots[0], knots[-1])
    ax.set_xticks(marks, names)
    ax.xaxis.set_minor_locator(NullLocator())
    for end, edge in ((knots[0], low), (knots[-1], high)):
        if end != edge:
            ax.axvspan(*sorted((end, edge)), color=SHADE, linewidth=0, zorder=0)


def _range(values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite)) if finite else (math.nan, math.nan)


def is_squeezed(ax: Axes) -> bool:
    """Return whether an x axis has compressed ends (see `squeeze`)."""
    return ax.get_xscale() == "function"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks from low to high: 1, 2 and 5 times powers of ten, or only (some) powers of ten if there are many."""
    exponents = math.floor(math.log10(low)), math.ceil(math.log10(high))

    def inside(steps: Sequence[float]) -> list[float]:
        return [step for step in steps if low * (1 - 1e-9) <= step <= high * (1 + 1e-9)]

    fine, decades = inside(_steps(*exponents)), inside(_steps(*exponents, digits=(1,)))
    return fine if len(fine) <= most else decades[:: math.ceil(len(decades) / most)]


def _steps(first: int, last: int, digits: Sequence[int] = (1, 2, 5)) -> list[float]:
    return [float(f"{digit}e{exponent}") for exponent in range(first, last + 1) for digit in digits]


def set_logarithmic(ax: Axes, which: Literal["x", "y"], ends: tuple[float, float], scale: Scale, most: int) -> None:
    """Make an axis logarithmic between two ends, with a limited number of ticks in the unit of the scale."""
    places = ticks(*ends, most)
    axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}scale": "log", f"{which}lim": ends})
    axis.set_ticks(places, [scale.tick(place) for place in places])
    axis.set_minor_locator(NullLocator())
