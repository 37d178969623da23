"""Effects of two compared keys: preparation of runs for `mnist_mlp.stats.effects`."""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.analysis.roles import REPLICATE
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.stats.effects import COLUMNS, two_way_effects


def main_effects(runs: pd.DataFrame, by: Sequence[str], images: float | None = None) -> pd.DataFrame:
    """Test two compared keys and their interaction (see `two_way_effects`).

    Args:
        runs: Runs of the selected configurations, with `score`, `replicate` and the compared keys.
        by: Compared keys; the table is empty unless there are two.
        images: Number of test images, the same images in all runs; None if unknown.
    """
    if len(by) != 2:
        return pd.DataFrame(columns=list(COLUMNS))
    words = runs.assign(**{key: runs[key].map(as_typed) for key in by})  # null is a value like any other
    levels = [sorted(words[key].unique(), key=sort_key) for key in by]
    table = words.pivot_table(index=list(by), columns=REPLICATE, values="score")
    return two_way_effects(table.reindex(pd.MultiIndex.from_product(levels, names=list(by))), images)
