"""Means over replicates, and how sure they are."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from mnist_mlp.stats.moderated_t import CONFIDENCE

ACCURACY = (0.0, 1.0)  # the least and the largest
BOUNDS: Mapping[str, tuple[float, float | None]] = {
    "accuracy": ACCURACY,
    "loss": (0.0, None),
}  # by a measure's last word


def mean_intervals(frame: pd.DataFrame, keys: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """Means with Student's 95 % interval, per group.

    Args:
        frame: one row a replicate; with a column `independent`, the spread is that of those replicates alone (see
            `mnist_mlp.report.analysis.sources.independent`), as all of them together would look too sure.
        keys: columns that make the groups, which keep their order of appearance.
        measures: columns to be summed up; NaN does not count.

    Returns:
        Indexed by the keys: for each measure `_mean`, `_std` (n - 1), `_ci_low` and `_ci_high`, NaN where n < 2 or all
        values are equal, which show no noise to make an interval of; an interval ends where its measure does,
        accuracies at 0 and 1 and losses at 0.
    """
    groups = frame.groupby(list(keys), sort=False)[list(measures)]
    mean, std = groups.mean(), groups.std()
    if "independent" in frame:
        groups = frame[frame["independent"]].groupby(list(keys), sort=False)[list(measures)]
    n, spread = (of.reindex(mean.index) for of in (groups.count(), groups.std()))
    half = spread.where(spread > 0) / np.sqrt(n) * stats.t.ppf((1 + CONFIDENCE) / 2, (n - 1).where(n > 1))
    low, high = mean - half, mean + half
    for measure in measures:
        least, most = BOUNDS.get(measure.rpartition("_")[2], (None, None))
        low[measure], high[measure] = low[measure].clip(least, most), high[measure].clip(least, most)
    parts = {"mean": mean, "std": std, "ci_low": low, "ci_high": high}
    return pd.DataFrame({f"{m}_{name}": part[m] for m in measures for name, part in parts.items()}, index=mean.index)
