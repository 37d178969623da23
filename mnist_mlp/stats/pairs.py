"""Comparison of all pairs of cells: simultaneous intervals, corrected p-values and verdicts (see `moderated_t`)."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy import special

from mnist_mlp.stats.moderated_t import CONFIDENCE, FEWEST, ModeratedTests, moderated_tests
from mnist_mlp.stats.verdicts import Reason, Verdict

POWER = 0.8  # of a test with the additional seeds
MAX_SEEDS = 1000  # seeds per cell; a difference that needs more is reported as needing infinitely many
MAX_CELLS = 150  # with more cells, tables show pairs with the best cell only; all pairs are tested
NUMBERS = ("ci_low", "ci_high", "p", "p_corrected", "additional_seeds")  # NaN if a pair is not tested


def compare_pairs(
    table: pd.DataFrame,
    images: float | None = None,
    efforts: Mapping[str, object] = MappingProxyType({}),
    level: float | None = None,
    margin: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> tuple[pd.DataFrame, int]:
    """Compare every pair of rows, paired by column.

    Args:
        table: Scores, cells x replicates (such as seeds), the best cell first; NaN if missing. Larger scores are
            better, so losses have to be negated.
        images: Number of test images behind each accuracy (see `moderated_tests`); None for other scores.
        efforts: Tuning effort of each cell; empty if it does not matter. The best of more configurations looks better
            by chance, to an unknown extent. So pairs of unequal effort are not tested.
        level: Significance level of each test (see `moderated_tests`).
        margin: Equivalence margin, in the unit of the scores. Cells are equivalent if the interval of their difference
            lies in [-margin, margin]. None disables equivalence testing.
        bounds: Smallest and largest score, such as (0, 1) of accuracies (see `moderated_tests`); None if unbounded.

    Returns:
        A table, and the number of cells with at least three replicates in common with another cell. The table has one
        row per pair of cells a and b, in this order. If a pair is not tested, the columns from `ci_low` to
        `additional_seeds` are NaN. Columns:

        - `a` and `b`: names of the cells, a before b in the order of the rows;
        - `n`: number of replicates in common;
        - `difference`: mean of a minus b;
        - `ci_low` and `ci_high`: simultaneous 95% interval;
        - `p`, and `p_corrected` for all pairs;
        - `additional_seeds`: seeds to add for 80% power if the difference is as large as observed; infinite if a cell
          needs more than a thousand seeds; NaN if the difference is significant;
        - `verdict`: see `Verdict`;
        - `reason`: see `Reason`; empty unless the verdict is "not tested".
    """
    first, second = np.triu_indices(len(table), 1)
    values = table.to_numpy(dtype=float)
    differences = values[first] - values[second]
    n = np.isfinite(differences).sum(axis=1)
    columns = {"difference": np.nansum(differences, axis=1) / np.where(n > 0, n, np.nan)}
    columns |= {name: np.full(len(n), np.nan) for name in NUMBERS}
    enough = n >= FEWEST
    verdicts = np.full(len(n), str(Verdict.NOT_TESTED), dtype=object)
    reasons = np.where(enough, "", str(Reason.TOO_FEW_SEEDS)).astype(object)
    cells = len({*first[enough], *second[enough]})
    if cells:
        tests = moderated_tests(differences[enough], cells - 1, images, level, bounds)
        real = tests.p_corrected < 1 - CONFIDENCE
        # A significant difference needs no additional seeds.
        additional = np.where(real | np.isnan(tests.p), np.nan, _additional_seeds(tests))
        numbers = (tests.low, tests.high, tests.p, tests.p_corrected, additional)
        for name, values in zip(("difference", *NUMBERS), (tests.mean, *numbers), strict=True):
            columns[name][enough] = values
        verdicts[enough] = _verdicts(tests, margin)
        reasons[enough] = np.where(np.isnan(tests.p), str(Reason.NO_VARIANCE), "")
    if efforts:
        spent = [efforts.get(cell) for cell in table.index]
        unequal = enough & np.array([spent[a] != spent[b] for a, b in zip(first, second, strict=True)], dtype=bool)
        verdicts[unequal], reasons[unequal] = str(Verdict.NOT_TESTED), str(Reason.UNEQUAL_TUNING)
        for name in NUMBERS:
            columns[name][unequal] = np.nan
    sides = {"a": table.index[first], "b": table.index[second]}
    return pd.DataFrame(
        {**sides, "n": n, **columns, "verdict": verdicts.astype(str), "reason": reasons.astype(str)}
    ), cells


def _verdicts(tests: ModeratedTests, margin: float | None) -> np.ndarray:
    """Return the verdict on each difference, as text."""
    is_real = tests.p_corrected < 1 - CONFIDENCE
    is_within = np.maximum(-tests.low, tests.high) <= (-1 if margin is None else margin)
    cases = {
        Verdict.NOT_TESTED: np.isnan(tests.p),
        Verdict.BETTER: is_real & (tests.mean > 0),
        Verdict.WORSE: is_real,
        Verdict.EQUIVALENT: is_within,
    }
    return np.select(list(cases.values()), list(map(str, cases)), str(Verdict.INCONCLUSIVE)).astype(object)


def _additional_seeds(tests: ModeratedTests) -> np.ndarray:
    """Return the number of additional seeds that gives 80% power for the observed difference.

    The total number of seeds is the smallest m with |difference| / sqrt(variance / m) >= t(1 - level / 2) + t(power).
    The degrees of freedom of both t quantiles grow in proportion to m - 1. The result is infinite if m exceeds
    `MAX_SEEDS`.
    """
    candidates = np.unique(np.geomspace(FEWEST, MAX_SEEDS, 256).astype(int))  # all up to 40, then steps of 2%
    low, high = np.zeros(len(tests.n), dtype=int), np.full(len(tests.n), len(candidates))
    for _ in range(len(candidates).bit_length()):  # power grows with the number of seeds: bisection
        middle = (low + high) // 2
        m = candidates[np.minimum(middle, len(candidates) - 1)]
        freedom = np.maximum(tests.freedom * (m - 1) / (tests.n - 1), 1)
        quantiles = special.stdtrit(freedom, POWER) - special.stdtrit(freedom, tests.level / 2)
        enough = np.abs(tests.mean) >= quantiles * np.sqrt(tests.variance / m)
        is_open = low < high
        high = np.where(is_open & enough, middle, high)
        low = np.where(is_open & ~enough, middle + 1, low)
    m = np.append(candidates.astype(float), np.inf)[low]
    return np.where(tests.mean != 0, np.maximum(m - tests.n, 1), np.inf)
