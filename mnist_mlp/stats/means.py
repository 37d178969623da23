"""Means over replicates, with confidence intervals."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import stats

from mnist_mlp.stats.moderated_t import CONFIDENCE

Bounds = tuple[float | None, float | None]  # smallest and largest value; None if unbounded


def mean_intervals(
    frame: pd.DataFrame,
    keys: Sequence[str],
    measures: Sequence[str],
    bounds: Mapping[str, Bounds] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return means with Student's 95% interval, per group.

    Args:
        frame: One row per replicate. If it has a boolean column `independent`, intervals use the independent
            replicates only, since dependent ones would make them too narrow.
        keys: Columns to group by; groups keep their order of appearance.
        measures: Columns to average; NaN if missing.
        bounds: Bounds by measure, to which intervals are clipped; other measures are unbounded.

    Returns:
        A table indexed by the keys, with `_mean`, `_std` (with n - 1), `_ci_low` and `_ci_high` of each measure.
        Intervals are NaN if n < 2 or if all values are equal, which leaves the noise unknown.
    """
    groups = frame.groupby(list(keys), sort=False)[list(measures)]
    mean, std = groups.mean(), groups.std()
    if "independent" in frame:
        groups = frame[frame["independent"]].groupby(list(keys), sort=False)[list(measures)]
    n, spread = (of.reindex(mean.index) for of in (groups.count(), groups.std()))
    half = spread.where(spread > 0) / np.sqrt(n) * stats.t.ppf((1 + CONFIDENCE) / 2, (n - 1).where(n > 1))
    low, high = mean - half, mean + half
    for measure, (least, most) in bounds.items():
        low[measure], high[measure] = low[measure].clip(least, most), high[measure].clip(least, most)
    parts = {"mean": mean, "std": std, "ci_low": low, "ci_high": high}
    return pd.DataFrame({f"{m}_{name}": part[m] for m in measures for name, part in parts.items()}, index=mean.index)
