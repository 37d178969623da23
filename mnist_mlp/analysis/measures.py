"""Bounds of the measures of a run: accuracies are fractions, losses are not negative."""

from collections.abc import Iterable

from mnist_mlp.stats.means import Bounds

ACCURACY = (0.0, 1.0)
OF_KIND: dict[str, Bounds] = {
    "accuracy": ACCURACY,
    "loss": (0.0, None),
}  # last word of the name of a measure to its bounds


def bounds_of(measures: Iterable[str]) -> dict[str, Bounds]:
    """Return the bounds of measures such as `test_accuracy`; measures of other kinds are left out."""
    kinds = {measure: measure.rpartition("_")[2] for measure in measures}
    return {measure: OF_KIND[kind] for measure, kind in kinds.items() if kind in OF_KIND}
