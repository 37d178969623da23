"""Presentation of scores and their differences, in the unit of the metric: percentage points, or plain numbers."""

import math
from dataclasses import dataclass

import numpy as np

from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.base.metrics import ACCURACY, Metric

TENTH = 0.001  # of a percentage point, as a fraction of 1; smaller numbers have two decimals
DIGITS = 3  # significant digits of differences in plain numbers; means have one more


@dataclass(frozen=True)
class Unit:
    """Formatting of the scores of a metric. Metrics with values in [0, 1] are shown in percent, others as they are.

    Attributes:
        metric: Metric.
    """

    metric: Metric

    @property
    def name(self) -> str:
        """Name of the metric of the test images, such as "test accuracy"."""
        return f"test {self.metric.name}"

    @property
    def title(self) -> str:
        """The name at the beginning of a title or sentence, such as "Test accuracy"; the metric keeps its case."""
        return f"Test {self.metric.name}"

    @property
    def percent(self) -> str:
        """Percent sign, to follow a number; empty for plain numbers."""
        return "%" if self.metric.is_fraction else ""

    @property
    def factor(self) -> float:
        """Factor from a score to the number that is shown."""
        return 100.0 if self.metric.is_fraction else 1.0

    @property
    def column(self) -> str:
        """Title of a column or axis with scores, such as "test accuracy (%)"."""
        return self.with_unit(self.name, "%")

    @property
    def points(self) -> str:
        """Unit of differences, with a leading space: " points"; empty for plain numbers."""
        return " points" if self.metric.is_fraction else ""

    def with_unit(self, title: str, unit: str = "points") -> str:
        """Return the title of a column or axis, followed by the unit of metrics in percent: "difference (points)"."""
        return f"{title} ({unit})" if self.metric.is_fraction else title

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest number that can be shown; infinite if unbounded."""
        low, high = self.metric.bounds
        return self.factor * low, self.factor * high

    @property
    def worst(self) -> str:
        """Number that a diverged run counts as, such as "0"."""
        return self.metric.in_words(self.metric.worst)

    def number(self, score: float) -> str:
        """Format a score, such as "97.32"; empty if it is NaN."""
        if np.isnan(score):
            return ""
        return f"{100 * score:.2f}" if self.metric.is_fraction else _plain(score, DIGITS + 1)

    def interval(self, mean: float, low: float, high: float) -> str:
        """Format a mean and its interval, such as "97.32 [97.28, 97.36]"; empty if the mean is NaN."""
        ends = "" if np.isnan(low) else f" [{self.number(low)}, {self.number(high)}]"
        return "" if np.isnan(mean) else f"{self.number(mean)}{ends}"

    def signed(self, difference: float) -> str:
        """Format a difference without its unit, such as "+0.40"; empty if it is NaN."""
        if np.isnan(difference):
            return ""
        return f"{100 * difference:+.2f}" if self.metric.is_fraction else _plain(difference, DIGITS, "+")

    def signed_interval(self, low: float, high: float) -> str:
        """Format the interval of a difference without its unit, such as "[-0.10, +0.90]"; empty if it is NaN."""
        return "" if np.isnan(low) else f"[{self.signed(low)}, {self.signed(high)}]"

    def size(self, difference: float) -> str:
        """Format the size of a difference, such as "0.40 points"."""
        return f"{self.signed(abs(difference))[1:]}{self.points}"

    def about(self, difference: float) -> str:
        """Round the size of a difference: "0.4 points", or "0.04 points" below a tenth."""
        if not self.metric.is_fraction:
            return f"{abs(difference):.2g}"
        digits = 1 if round(abs(difference), 9) >= TENTH else 2
        return f"{100 * abs(difference):.{digits}f} points"

    def at_most(self, bound: float) -> str:
        """Round a bound up: "0.4 points", or "0.04 points" below a tenth; plain numbers to two significant digits."""
        if not self.metric.is_fraction:
            step = 10.0 ** (math.floor(math.log10(bound)) - 1) if bound > 0 else 1.0
            return f"{math.ceil(round(bound / step, 6)) * step:.2g}"
        scale = 1000 if round(bound, 9) >= TENTH else 10_000
        return f"{math.ceil(round(bound * scale, 6)) / scale * 100:.{1 if scale == 1000 else 2}f} points"


def _plain(number: float, digits: int, sign: str = "") -> str:
    """Format a number with as many significant digits, also if the last ones are zeros."""
    text = f"{number:{sign}#.{digits}g}"
    return text if "e" in text else text.rstrip(".")


OF_ACCURACY = Unit(ACCURACY)


def in_points(fraction: float) -> str:
    """Return a fraction in percentage points, such as "1 point", with as many digits as it has."""
    return with_noun(float(f"{100 * fraction:g}"), "point")
