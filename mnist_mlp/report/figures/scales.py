"""Logarithmic axes that everybody can read: errors in per cent, and ticks at 1, 2 and 5 times powers of ten."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from mnist_mlp.report.figures.style import SHADE

USUAL_IMAGES = 10_000  # to test on, where it is not known
WIDEST = 5  # factor by which intervals make a logarithmic axis longer; one that nears 0 would never end
FAR = 2  # times the focus; an axis that goes further is squeezed
SQUEEZED = 0.2  # of the focus' length, for what lies beyond it on either side
THINNEST = 0.5  # percentage points of a focus, where its values are all the same
MARGIN = 0.05  # of a range, beside it


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


def bounds_with_intervals(table: pd.DataFrame, measure: str) -> tuple[float, float]:
    """The same for a measure's means, longer by up to `WIDEST` at either end where its intervals are."""
    means, low, high = (table[f"{measure}_{part}"] for part in ("mean", "ci_low", "ci_high"))
    positive = means[means > 0]
    return bounds([*positive, *low.clip(lower=positive.min() / WIDEST), *high.clip(upper=positive.max() * WIDEST)])


def squeeze(
    ax: Axes, focus: Iterable[float], values: Iterable[float], limits: tuple[float, float] = (-math.inf, math.inf)
) -> None:
    """Give an x axis to the focus, and what lies far beyond it a strip on grey, which is linear, too.

    The axis stays as it is where there is no focus, or nothing is far.

    Args:
        ax: whose x axis.
        focus: values to be told apart, NaN for a gap.
        values: all that are drawn, with the focus.
        limits: of what there can be.
    """
    (low, high), (least, most) = _range(focus), _range(values)
    width = max(high - low, THINNEST)
    if not most - least > FAR * width:  # or nothing is known
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
    """Whether an axis has strips on grey."""
    return ax.get_xscale() == "function"


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
