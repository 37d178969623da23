"""Effects of the compared keys: preparation of runs for `mnist_mlp.stats.effects`."""

from collections.abc import Sequence
from itertools import chain, combinations
from typing import NamedTuple

import pandas as pd

from mnist_mlp.analysis.roles import REPLICATE, value_name
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.stats.effects import DIFFERENCE_COLUMNS, SUMMARY_COLUMNS, UntestableEffects, factorial_effects

MEAN_COLUMNS = ["effect", "value", "mean"]


class Effects(NamedTuple):
    """Tests of main effects and two-way interactions.

    Attributes:
        table: One row per effect (see `factorial_effects`); empty if effects are not tested.
        differences: One row per difference of each effect (see `factorial_effects`).
        means: Mean score of each value of a key, and of each two values of two keys: `effect`, `value`, `mean`.
        reason: Reason why effects are not tested, to follow a colon. Empty if they are tested, and with a single
            compared key, whose effect is that of its pairs of cells.
    """

    table: pd.DataFrame
    differences: pd.DataFrame
    means: pd.DataFrame
    reason: str = ""


def compare_effects(
    runs: pd.DataFrame,
    by: Sequence[str],
    images: float | None = None,
    known: pd.DataFrame | None = None,
    families: int = 1,
    bounds: tuple[float, float] | None = ACCURACY.bounds,
) -> Effects:
    """Test the main effects and two-way interactions of the compared keys that have several values.

    Args:
        runs: Runs of the selected configurations, with `score`, `replicate` and the compared keys.
        by: Compared keys.
        images: Number of test images, the same images in all runs; None if unknown.
        known: All runs, with or without a score; their values need a score. None for `runs`.
        families: Number of effects that share an error rate of 5% (see `factorial_effects`).
        bounds: Smallest and largest score (see `factorial_effects`).
    """
    if len(by) < 2:
        return _untested()
    if runs.empty:
        return _untested("no run counts in a fair average over cells")
    values = {key: (runs if known is None else known)[key].map(as_typed).unique() for key in by}
    keys = [key for key in by if len(values[key]) > 1]
    if len(keys) < 2:
        return _untested(f"{f'only {keys[0]}' if keys else 'no key'} varies")
    words = runs.assign(**{key: runs[key].map(as_typed) for key in keys})  # null is a value like any other
    levels = [sorted(values[key], key=sort_key) for key in keys]
    table = words.pivot_table(index=keys, columns=REPLICATE, values="score")
    try:
        table = table.reindex(pd.MultiIndex.from_product(levels, names=keys))
        return Effects(*factorial_effects(table, images, bounds, families), _means(table))
    except UntestableEffects as error:
        return _untested(str(error))


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean score of each value of a key, and of each two values of two keys, over the complete replicates.

    Args:
        table: Scores, cells x replicates, with one level of the index per key.
    """
    cells = table.dropna(axis=1).mean(axis=1)
    names, rows = [str(name) for name in table.index.names], []
    for keys in chain.from_iterable(combinations(names, size) for size in (1, 2)):
        for values, mean in cells.groupby(level=list(keys), sort=False).mean().items():
            named = zip(keys, values if isinstance(values, tuple) else [values], strict=True)
            rows.append((" × ".join(keys), " / ".join(value_name(key, str(value)) for key, value in named), mean))
    return pd.DataFrame(rows, columns=MEAN_COLUMNS)


def _untested(reason: str = "") -> Effects:
    table, differences, means = (pd.DataFrame(columns=of) for of in (SUMMARY_COLUMNS, DIFFERENCE_COLUMNS, MEAN_COLUMNS))
    return Effects(table, differences, means, reason)
