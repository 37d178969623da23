"""Which cells differ: every pair of cells, with simultaneous intervals, corrected p and a verdict.

Seeds are blocks: accuracy = cell + seed + noise, so a pair's difference is the mean of its seeds' own differences, and
noise is what is left of a cell when the cells' and the seeds' means are gone. How noise enters a pair's standard error
is decided by the data:

- **One common noise** (Tukey's honestly significant difference in randomized blocks) where the cells' noises look
  alike and the design would have shown otherwise. It has many degrees of freedom, so it finds differences among many
  cells with few seeds. They are reduced by Box's epsilon (1954, Annals of Mathematical Statistics 25:290), which is 1
  for equal estimates and smaller for unequal ones.
- **Each cell's own noise** (Tamhane's T2, 1979, JASA 74:471: Welch's t, Satterthwaite's degrees of freedom, Sidak's
  correction) otherwise. It holds, nearly, whatever the cells' noises are.

"Would have shown otherwise" is an equivalence test: Bartlett's statistic must be below what equal noises give in 98 %
of designs of this size, and below what all but 2 % give where a third of the cells has four times the standard
deviation.
A paired t-test a pair with Holm's correction has n - 1 degrees of freedom and finds next to nothing;
`benchmarks/verdicts.py` measures all of them.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.interpolate import PchipInterpolator

CONFIDENCE = 0.95
POWER = 0.8  # at which a number of further seeds is estimated
MOST_SEEDS = 1000  # beyond which it is not worth a number
FEW = 3  # seeds; of two, neither the difference nor the noise is known well enough to look ahead
MOST_CELLS = 150  # beyond which cells are paired with the best one only
UNEQUAL, SHARE = 4.0, 3  # the noise that must be ruled out: every third cell has four times the standard deviation
RULED_OUT = 0.02
SIMULATED = 4000
RANK_TOLERANCE = 1e-9
COMMON, OWN = "common", "own"
BETTER, WORSE, UNTOLD = "better", "worse", "cannot be told: too few seeds in common"


@dataclass(frozen=True)
class Noise:
    """What is left of each cell's accuracies without the means of cells and seeds.

    Attributes:
        variances: one a cell, unbiased where all are equal; accuracy squared.
        freedom: degrees of freedom of each.
        total: degrees of freedom of all together.
        kind: `common` or `own`, see above.
    """

    variances: pd.Series
    freedom: pd.Series
    total: float
    kind: str

    @property
    def epsilon(self) -> float:
        """Box's: 1 for equal variances, down to 1 / number of cells."""
        v = self.variances.to_numpy()
        return float(v.sum() ** 2 / (len(v) * (v**2).sum())) if (v > 0).any() else 1.0


def noise(table: pd.DataFrame) -> Noise:
    """Estimate the cells' noise.

    Args:
        table: accuracies, cells x seeds, at least two cells of at least two seeds; NaN where there is none.
    """
    present = table.notna().to_numpy()
    cell, seed = np.nonzero(present)
    y = pd.Series(table.to_numpy()[cell, seed])
    # Least squares of cell + seed effects, the cells' partialled out first (Frisch-Waugh-Lovell), as seeds are fewer.
    within = pd.DataFrame(np.eye(table.shape[1])[seed])
    z = (within - within.groupby(cell).transform("mean")).to_numpy()
    inverse = np.linalg.pinv(z.T @ z, rcond=RANK_TOLERANCE, hermitian=True)
    centred = (y - y.groupby(cell).transform("mean")).to_numpy()
    residual = centred - z @ (inverse @ (z.T @ centred))
    residual[np.abs(residual) < 1e-12] = 0.0  # rounding is no noise
    leverage = 1 / present.sum(axis=1)[cell] + ((z @ inverse) * z).sum(axis=1)
    left = pd.Series(1 - leverage).groupby(cell).sum()  # expected squares of a cell's residuals, in variances
    squares = pd.Series(residual**2).groupby(cell).sum()
    variances = pd.Series((squares / np.maximum(left, 1e-9)).to_numpy(), table.index)
    seeds = present.sum(axis=1)
    groups = [residual[cell == number] for number in range(len(table))]
    alike = len(table) > 2 and _bartlett(groups) <= _threshold(len(table), int(seeds.min()))
    total = len(y) - len(table) - np.linalg.matrix_rank(z.T @ z, tol=RANK_TOLERANCE, hermitian=True)
    return Noise(variances, pd.Series(seeds - 1.0, table.index), float(total), COMMON if alike else OWN)


def _bartlett(groups: list[np.ndarray]) -> float:
    if any(not group.any() for group in groups):  # a cell without any noise is not like the others
        return np.inf
    return float(stats.bartlett(*groups).statistic)


@functools.cache
def _threshold(cells: int, seeds: int) -> float:
    """The largest of Bartlett's statistic at which noise counts as common, by simulation of designs of this size."""
    generator = np.random.default_rng(0)
    count = int(np.clip(4e6 / (cells * seeds), 500, SIMULATED))
    equal = np.ones((cells, 1))
    unequal = equal.copy()
    unequal[: max(1, round(cells / SHARE))] = UNEQUAL

    def quantile(scale: np.ndarray, share: float) -> float:
        values = scale[None] * generator.standard_normal((count, cells, seeds))
        values -= values.mean(axis=1, keepdims=True)
        return float(np.quantile(stats.bartlett(*np.moveaxis(values, 1, 0), axis=-1).statistic, share))

    return min(quantile(equal, 1 - RULED_OUT), quantile(unequal, RULED_OUT))


def compare_pairs(table: pd.DataFrame) -> tuple[pd.DataFrame, Noise | None]:
    """Compare every pair of rows, paired by column; beyond 150 rows, the first with each other.

    Args:
        table: accuracies, cells x seeds, the best cell first; NaN where there is none.

    Returns:
        One row a pair: `a`, `b` (cells, a before b), `n` seeds in common, `difference` of a less b, `ci_low` and
        `ci_high` (simultaneous 95 % interval), `p`, `p_corrected` for all pairs of cells, `more_seeds` (about how many
        give 80 % power for a difference as large as seen; infinite beyond a thousand, NaN with fewer than three seeds),
        `verdict`. And the noise, None where it cannot be estimated.
    """
    first, second = np.triu_indices(len(table), 1)
    if len(table) > MOST_CELLS:
        first, second = first[first == 0], second[first == 0]
    values = table.to_numpy()
    differences = values[first] - values[second]
    n = np.isfinite(differences).sum(axis=1)
    mean = np.array(
        [row[np.isfinite(row)].mean() if count else np.nan for row, count in zip(differences, n, strict=True)]
    )
    pairs = pd.DataFrame(
        {"a": table.index[first], "b": table.index[second], "n": n, "difference": mean, "ci_low": np.nan}
        | dict.fromkeys(("ci_high", "p", "p_corrected", "more_seeds"), np.nan)
        | {"verdict": UNTOLD}
    )
    repeated = table[table.notna().sum(axis=1) >= 2]
    told = pairs["a"].isin(repeated.index) & pairs["b"].isin(repeated.index) & (pairs["n"] >= 2)
    if not told.any():
        return pairs, None
    spread = noise(repeated)
    if spread.total < 1:
        return pairs, None
    told &= (pairs["n"] >= 3) | pairs["a"].map(spread.variances > 0) | pairs["b"].map(spread.variances > 0)
    pairs.loc[told, _TOLD] = _judge(pairs[told], spread)
    return pairs, spread


_TOLD = ["ci_low", "ci_high", "p", "p_corrected", "more_seeds", "verdict"]


def _judge(pairs: pd.DataFrame, spread: Noise) -> pd.DataFrame:
    cells = len(spread.variances)
    n, difference = pairs["n"].to_numpy(), pairs["difference"].to_numpy()
    v_a, v_b = (spread.variances[pairs[side]].to_numpy() for side in "ab")
    d_a, d_b = (spread.freedom[pairs[side]].to_numpy() for side in "ab")
    if spread.kind == COMMON:
        variance = np.full(len(pairs), 2 * float(np.average(spread.variances, weights=spread.freedom)))
        freedom = np.full(len(pairs), max(1, int(spread.total * spread.epsilon + 1e-9)))  # rounded down, as tables are
    else:
        variance = v_a + v_b
        with np.errstate(invalid="ignore", divide="ignore"):
            freedom = variance**2 / (v_a**2 / d_a + v_b**2 / d_b)
        freedom = np.clip(np.nan_to_num(freedom, nan=spread.total), 1, np.minimum(spread.total, d_a + d_b))
    error = np.sqrt(variance / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(difference == 0, 0.0, np.abs(difference) / error)
    p = 2 * stats.t.sf(t, freedom)
    comparisons = cells * (cells - 1) / 2
    each = -np.expm1(np.log1p(CONFIDENCE - 1) / comparisons)  # Sidak's level of each
    if spread.kind == COMMON:
        df = int(freedom[0])
        corrected = _studentized_range_sf(t * np.sqrt(2), cells, df)
        critical = np.full(len(pairs), _studentized_range(cells, df)[2] / np.sqrt(2))
    else:
        corrected = -np.expm1(comparisons * np.log1p(-np.minimum(p, 1 - 1e-16)))
        critical = stats.t.isf(each / 2, freedom)
    more = np.where(n < FEW, np.nan, _more_seeds(np.abs(difference), variance, n, freedom, each))
    verdict = np.where(difference > 0, BETTER, WORSE).astype(object)
    for i in np.flatnonzero(corrected >= 1 - CONFIDENCE):
        verdict[i] = f"indistinguishable at n = {n[i]}: {needed(more[i])}"
    more = np.where(corrected < 1 - CONFIDENCE, np.nan, more)  # none is needed
    columns = (difference - critical * error, difference + critical * error, p, corrected, more, verdict)
    return pd.DataFrame(dict(zip(_TOLD, columns, strict=True)), index=pairs.index)


def needed(more: float) -> str:
    """How many further seeds, in words."""
    if np.isnan(more):
        return "too few seeds to say how many more are needed to tell"
    if np.isfinite(more):
        return f"about {more:.0f} more seed{'s' if more > 1 else ''} needed to tell"
    return f"more than {MOST_SEEDS:,} seeds needed to tell, if there is a difference at all"


@functools.cache
def _studentized_range(cells: int, freedom: int) -> tuple[PchipInterpolator, float, float]:
    """Log P(studentized range > q) for q up to a largest one, by interpolation, as SciPy takes 10 ms a value.

    Returns:
        The function, its largest q, and the critical q of a simultaneous interval.
    """
    distribution = stats.studentized_range(cells, freedom)
    top = float(distribution.isf(1e-6))
    grid = np.linspace(0, top, 24)
    log_p = np.log(np.maximum(distribution.sf(grid), 1e-300))
    return PchipInterpolator(grid, log_p), top, float(distribution.isf(1 - CONFIDENCE))


def _studentized_range_sf(q: np.ndarray, cells: int, freedom: int) -> np.ndarray:
    """P(studentized range > q); beyond a millionth, Bonferroni's bound."""
    log_p, top, _ = _studentized_range(cells, freedom)
    bound = cells * (cells - 1) * stats.t.sf(q / np.sqrt(2), freedom)
    return np.asarray(np.where(q > top, np.minimum(1e-6, bound), np.exp(log_p(np.minimum(q, top)))))


def _more_seeds(
    difference: np.ndarray, variance: np.ndarray, n: np.ndarray, freedom: np.ndarray, level: float
) -> np.ndarray:
    """Further seeds at which a true difference of this size is found with 80 % power; infinite beyond a thousand.

    By the smallest m with |difference| / sqrt(variance / m) >= t(1 - level / 2) + t(power), at degrees of freedom that
    grow in proportion to m - 1.
    """
    more = np.full(len(n), np.inf)
    for m in np.unique(np.geomspace(2, MOST_SEEDS, 200).astype(int)):  # each up to 30, then steps of 3 %
        df = np.maximum(freedom * (m - 1) / np.maximum(n - 1, 1), 1)
        enough = difference >= (stats.t.isf(level / 2, df) + stats.t.ppf(POWER, df)) * np.sqrt(variance / m)
        more = np.where(enough & np.isinf(more), np.maximum(m - n, 1), more)
        if np.isfinite(more).all():
            break
    return np.where(difference > 0, more, np.inf)
