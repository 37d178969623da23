"""Which cells differ: every pair of cells, with simultaneous intervals, corrected p and a verdict (see `contrasts`)."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from scipy import special

from mnist_mlp.report.contrasts import CONFIDENCE, FEWEST, Tested, test_differences

POWER = 0.8  # at which a number of further seeds is estimated
MOST_SEEDS = 1000  # beyond which it is not worth a number
MOST_CELLS = 150  # beyond which cells are shown beside the best one only
BETTER, WORSE, ALIKE, UNTOLD = "better", "worse", "indistinguishable", "cannot be told"
TOO_FEW = f"{UNTOLD}: fewer than {FEWEST} seeds in common"
NOISELESS = f"{UNTOLD}: the seeds show no noise to measure the difference against"


def compare_pairs(
    table: pd.DataFrame, images: float | None = None, budgets: Mapping[str, Hashable] | None = None
) -> tuple[pd.DataFrame, int]:
    """Compare every pair of rows, paired by column; beyond 150 rows, the first with each other.

    Args:
        table: accuracies, cells x seeds, the best cell first; NaN where there is none.
        images: that each accuracy is measured on (see `contrasts.test_differences`); None where it is not known.
        budgets: what was spent on tuning each cell, in words; None or equal texts where it is the same. The best of
            more settings looks better by chance alone, and by how much is not known, so pairs that differ get no
            verdict.

    Returns:
        One row a pair: `a`, `b` (cells, a before b), `n` seeds in common, `difference` of a less b, `ci_low` and
        `ci_high` (simultaneous 95 % interval), `p`, `p_corrected` for all pairs, `more_seeds` (about how many give 80 %
        power for a difference as large as seen; infinite beyond a thousand), `verdict`. NaN where nothing can be told.
        And how many cells took part: those with at least three seeds in common with some other.
    """
    first, second = np.triu_indices(len(table), 1)
    values = table.to_numpy(dtype=float)
    differences = values[first] - values[second]
    n = np.isfinite(differences).sum(axis=1)
    sums = np.where(n > 0, np.nansum(differences, axis=1), np.nan)
    pairs = pd.DataFrame(
        {"a": table.index[first], "b": table.index[second], "n": n, "difference": sums / np.maximum(n, 1)}
        | dict.fromkeys(("ci_low", "ci_high", "p", "p_corrected", "more_seeds"), np.nan)
        | {"verdict": TOO_FEW}
    )
    enough = n >= FEWEST
    cells = len({*first[enough], *second[enough]})
    if cells:
        tested = test_differences(differences[enough], cells - 1, images)
        pairs.loc[enough, "difference"] = tested.mean
        pairs.loc[enough, _TOLD] = _judged(tested)
    if budgets is not None:
        spent = [pairs[side].map(budgets) for side in "ab"]
        unequal = (pairs["n"] >= FEWEST) & (spent[0] != spent[1])
        words = f"{UNTOLD}: tuned over " + spent[0].astype(str) + " against " + spent[1].astype(str)
        pairs.loc[unequal, "verdict"] = words + "; tune both alike"
        pairs.loc[unequal, _TOLD[:-1]] = np.nan
    if len(table) > MOST_CELLS:
        pairs = pairs[pairs["a"] == table.index[0]].reset_index(drop=True)
    return pairs, cells


_TOLD = ["ci_low", "ci_high", "p", "p_corrected", "more_seeds", "verdict"]


def _judged(tested: Tested) -> pd.DataFrame:
    real = tested.p_corrected < 1 - CONFIDENCE
    more = np.where(real | np.isnan(tested.p), np.nan, _more_seeds(tested))
    verdicts = [
        NOISELESS if np.isnan(p) else (BETTER if mean > 0 else WORSE) if is_real else f"{ALIKE} at n = {n}: {needed(m)}"
        for p, mean, is_real, n, m in zip(tested.p, tested.mean, real, tested.n, more, strict=True)
    ]
    columns = (tested.low, tested.high, tested.p, tested.p_corrected, more, verdicts)
    return pd.DataFrame(dict(zip(_TOLD, columns, strict=True)))


def needed(more: float) -> str:
    """How many further seeds, in words."""
    if np.isfinite(more):
        return f"about {more:.0f} more seed{'s' if more > 1 else ''} needed to tell"
    return f"more than {MOST_SEEDS:,} seeds needed to tell, if there is a difference at all"


def _more_seeds(tested: Tested) -> np.ndarray:
    """Further seeds at which a true difference of the size seen is found with 80 % power; infinite beyond a thousand.

    By the smallest m with |difference| / sqrt(variance / m) >= t(1 - level / 2) + t(power), at degrees of freedom that
    grow in proportion to m - 1.
    """
    candidates = np.unique(np.geomspace(FEWEST, MOST_SEEDS, 256).astype(int))  # each up to 40, then steps of 2 %
    low, high = np.zeros(len(tested.n), dtype=int), np.full(len(tested.n), len(candidates))
    while (low < high).any():  # the more seeds, the more is found: halve what is left of the candidates
        middle = (low + high) // 2
        m = candidates[np.minimum(middle, len(candidates) - 1)]
        freedom = np.maximum(tested.freedom * (m - 1) / (tested.n - 1), 1)
        quantiles = special.stdtrit(freedom, POWER) - special.stdtrit(freedom, tested.level / 2)
        enough = np.abs(tested.mean) >= quantiles * np.sqrt(tested.variance / m)
        is_open = low < high
        high = np.where(is_open & enough, middle, high)
        low = np.where(is_open & ~enough, middle + 1, low)
    m = np.append(candidates.astype(float), np.inf)[low]
    return np.where(tested.mean != 0, np.maximum(m - tested.n, 1), np.inf)
