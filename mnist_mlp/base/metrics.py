"""Additional metrics of a run, besides loss and accuracy: their configuration, and what their values mean."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.record import COLUMNS
from mnist_mlp.base.schema import KEYS, LESS, MORE, MetricConfig

RESERVED = tuple(dict.fromkeys((*COLUMNS, *KEYS, "run", "size")))  # names that other columns of tables have


@dataclass(frozen=True)
class Metric:
    """Meaning of a metric's values.

    Attributes:
        name: Column of `metrics.csv`, such as accuracy or top2.
        is_less_better: Whether smaller values are better.
        worst: Value that a diverged run is scored by.
        bounds: Smallest and largest value; infinite if unbounded.
    """

    name: str
    is_less_better: bool
    worst: float
    bounds: tuple[float, float]

    @property
    def sign(self) -> int:
        """1, or -1 if smaller values are better: values times the sign are better the larger they are."""
        return -1 if self.is_less_better else 1

    @property
    def range_of_scores(self) -> tuple[float, float] | None:
        """Smallest and largest value times the sign; None if unbounded."""
        if math.isinf(self.bounds[0]) or math.isinf(self.bounds[1]):
            return None
        low, high = sorted(self.sign * end for end in self.bounds)
        return low, high

    @property
    def is_fraction(self) -> bool:
        """True if values lie in [0, 1], and are therefore shown in percent."""
        return self.bounds == (0, 1)

    def in_words(self, score: float) -> str:
        """Return a score as it is shown in a sentence, such as "100%" or "10"; 0 needs no unit."""
        return f"{100 * score:g}%" if self.is_fraction and score else f"{score:g}"


ACCURACY = Metric("accuracy", is_less_better=False, worst=0.0, bounds=(0.0, 1.0))


def metric_of(name: str, node: Any) -> Metric:
    """Return the metric of a configuration.

    Args:
        name: Name of the metric.
        node: Its configuration, `metrics.NAME`.

    Raises:
        ConfigError: The name or a value is invalid.
    """
    key = f"metrics.{name}"
    if not re.fullmatch(r"[A-Za-z]\w*", str(name), re.ASCII) or name in RESERVED:
        raise ConfigError(
            f"{key}: expected a name of letters, digits and underscores, and none of the other columns in tables: "
            f"{', '.join(RESERVED)}"
        )
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise ConfigError(f"{key}: expected a key _target_ with the dotted path of a function")
    better, bounds, worst = node.get("better", MORE), node.get("bounds"), node.get("worst")
    if better not in (MORE, LESS):
        raise ConfigError(f"{key}.better={better}: expected {MORE} or {LESS}")
    ends = [None, None] if bounds is None else bounds
    if not isinstance(ends, list) or len(ends) != 2 or not all(end is None or _is_finite(end) for end in ends):
        raise ConfigError(f"{key}.bounds={bounds}: expected [SMALLEST,LARGEST], with null for a side without a bound")
    low, high = (math.inf * sign if end is None else float(end) for sign, end in zip((-1, 1), ends, strict=True))
    if low >= high:
        raise ConfigError(f"{key}.bounds={bounds}: expected a smallest value below the largest one")
    score = (high if better == LESS else low) if worst is None else worst
    if worst is None and math.isinf(score):
        raise ConfigError(f"{key}.worst=null: expected the score of a diverged run, as {key}.bounds has no worst value")
    if not _is_finite(score) or not low <= score <= high:
        raise ConfigError(f"{key}.worst={worst}: expected a number within {key}.bounds")
    return Metric(name, better == LESS, float(score), (low, high))


def arguments(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a metric's function alone: its `_target_` and arguments."""
    meaning = MetricConfig.__dataclass_fields__.keys() - {"_target_"}
    return {key: value for key, value in node.items() if key not in meaning}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
