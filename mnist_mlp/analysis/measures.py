"""Bounds of the measures of a run: accuracies are fractions, losses are not negative."""

import math
from collections.abc import Iterable

from mnist_mlp.base.metrics import ACCURACY, Metric
from mnist_mlp.stats.means import Bounds

OF_KIND: dict[str, Bounds] = {
    "accuracy": ACCURACY.bounds,
    "loss": (0.0, None),
}  # last word of the name of a measure to its bounds


def bounds_of(measures: Iterable[str], metric: Metric = ACCURACY) -> dict[str, Bounds]:
    """Return the bounds of measures such as `test_accuracy`; measures of other kinds are left out.

    Args:
        measures: Names of measures.
        metric: Metric whose bounds are returned, too.
    """
    low, high = (end if math.isfinite(end) else None for end in metric.bounds)
    kinds = {measure: measure.rpartition("_")[2] for measure in measures}
    found = {measure: OF_KIND[kind] for measure, kind in kinds.items() if kind in OF_KIND}
    own = [measure for measure in kinds if measure.partition("_")[2] == metric.name]
    return found | dict.fromkeys(own, (low, high))
