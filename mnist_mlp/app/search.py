"""Quasi-random search over ranges of keys. Trials are points of the unit cube, the same for all cells.

Ranges are written in Hydra's grammar:

- `interval(1e-4,1)`: numbers on a linear scale;
- `tag(log,interval(1e-4,1))`: numbers on a logarithmic scale;
- `int(interval(16,256))`: whole numbers;
- `tag(search,choice(relu,tanh))`: one of several values.

A key with a plain list of values is not searched: all of its values are run with each trial.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override

from mnist_mlp.base import configuration, schema
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.schema import Role

TRIALS = "hydra.sweeper.trials"
LOG, SEARCH = "log", "search"  # tags
PLACES = 3200  # places of an interval that rounding keeps distinct, enough for 1,000 Halton points in bases 2 to 5
LEAST_DIGITS = 4  # minimum significant digits on a logarithmic scale


class Dimension(Protocol):
    """Range of a searched key."""

    def at(self, place: float) -> Any:
        """Return the value at a place in [0, 1)."""


@dataclass(frozen=True)
class Interval:
    """Interval of numbers.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether values are uniform on a logarithmic scale.
        whole: Whether values are whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def at(self, place: float) -> float | int:
        """Return the value at a place in [0, 1)."""
        high = self.high + self.whole  # so that the last whole number is as likely as the others
        if self.log:
            value = math.exp(math.log(self.low) + place * (math.log(high) - math.log(self.low)))
        else:
            value = self.low + place * (high - self.low)
        if self.whole:
            return min(int(self.high), max(int(self.low), math.floor(value)))
        return min(self.high, max(self.low, self._rounded(value)))

    def _rounded(self, value: float) -> float:
        """Round a value to the fewest digits that keep `PLACES` places distinct, for readable overrides."""
        if self.log:
            spacing = (math.log(self.high) - math.log(self.low)) / PLACES  # relative
            return float(f"{value:.{max(LEAST_DIGITS, 1 + math.ceil(-math.log10(spacing)))}g}")
        return round(value, math.ceil(-math.log10(self.high - self.low) + math.log10(PLACES)))


@dataclass(frozen=True)
class Choice:
    """Choice among equally likely values."""

    values: Sequence[Any]

    def at(self, place: float) -> Any:
        """Return the value at a place in [0, 1)."""
        return self.values[math.floor(place * len(self.values))]


def dimension(given: Override, place: str = "", compare: Sequence[str] = schema.COMPARED) -> Dimension | None:
    """Return the range that an override searches; None if it has one value, or values that are all run.

    Args:
        given: Parsed override.
        place: Setting that contains the override, for messages; empty for the command line.
        compare: Compared keys, which cannot be searched.

    Raises:
        ConfigError: The range is invalid, or the key cannot be tuned.
    """
    sweep = given.value() if given.is_sweep_override() else None
    if not isinstance(sweep, IntervalSweep) and not (isinstance(sweep, ChoiceSweep) and sweep.tags):
        return None
    key, text = configuration.key_of(given.get_key_element()), f"{place}{given.input_line}"
    if schema.role_of(key) is not Role.TUNABLE:
        raise ConfigError(f"{text}: expected a key to tune. {key} must be the same for all cells.")
    if key in compare or (key == schema.HIDDEN and {*compare} & {*schema.DERIVED}):
        raise ConfigError(f"{text}: expected a key to tune. {key} is compared.")
    if unknown := sweep.tags - {LOG, SEARCH}:
        raise ConfigError(f"{text}: unknown tag {', '.join(sorted(unknown))}. Known tags: {LOG}, {SEARCH}")
    if isinstance(sweep, ChoiceSweep) and LOG in sweep.tags:
        raise ConfigError(f"{text}: expected an interval with the tag log")
    if isinstance(sweep, ChoiceSweep):
        return Choice(tuple(sweep.list))
    low, high, log = sweep.start, sweep.end, LOG in sweep.tags
    if low is None or high is None or not (low < high and _is_finite(low, high)):
        raise ConfigError(f"{text}: expected interval(LOW,HIGH) with LOW below HIGH")
    if log and low <= 0:
        raise ConfigError(f"{text}: expected numbers greater than 0 with the tag log")
    return Interval(low, high, log, whole=isinstance(low, int) and isinstance(high, int))


def _is_finite(low: float, high: float) -> bool:
    try:
        return math.isfinite(low) and math.isfinite(high) and math.isfinite(float(high) - float(low))
    except OverflowError:  # a whole number beyond the range of a float
        return False


def check_trials(trials: Any, searched: bool) -> None:
    """Check `hydra.sweeper.trials`.

    Args:
        trials: Value of the setting.
        searched: Whether any key is searched.

    Raises:
        ConfigError: The number is invalid, is missing although a key is searched, or is given without a search.
    """
    if trials is None:
        if searched:
            raise ConfigError(f"{TRIALS}=null: expected a whole number, at least 1, since an interval is searched")
        return
    if not isinstance(trials, int) or isinstance(trials, bool) or trials < 1:
        raise ConfigError(f"{TRIALS}={trials}: expected null or a whole number, at least 1")
    if not searched:
        raise ConfigError(
            f"{TRIALS}={trials}: expected an interval to search, as in 'optim.lr=tag(log,interval(1e-4,1))'"
        )


def places(keys: Collection[str], trials: int) -> list[Mapping[str, float]]:
    """Return the points of the trials in the unit cube of the keys: a scrambled Halton sequence with a fixed seed.

    A larger number of trials extends the sequence (Owen 2017, "A randomized Halton algorithm in R"). The learning rate
    is the first dimension; the other keys follow by name. A key that is added at the end therefore changes no
    coordinate of the others.

    Args:
        keys: Keys that a cell searches, at least one.
        trials: Number of trials, at least 1.
    """
    from scipy.stats import qmc  # takes a second to import, which other commands should not

    in_order = schema.tuning_order(keys)
    points = qmc.Halton(len(in_order), scramble=True, rng=0).random(trials)
    return [dict(zip(in_order, map(float, point), strict=True)) for point in points]
