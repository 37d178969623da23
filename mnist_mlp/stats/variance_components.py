"""Variance components: how much of the variance between replicates comes from each source of randomness.

A source, such as the initial weights or the order of the batches, has its own seed. Seeds may have been varied in two
ways:

- Crossed: each cell has all combinations of the seeds, which is a factorial design of random effects. The variance
  between its scores is decomposed into main effects of the sources and their interactions, by expected mean squares
  (Searle, Casella & McCulloch 1992, "Variance components", chapter 4). Equal seeds are assumed to give equal scores, so
  there is no residual.
- One at a time: one seed varies, and all others stay as in one base combination. The variance over each source is
  reported by itself (Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks", MLSys 3).

Mean squares are averaged over the cells. If a seed has the same effect in all cells, which see the same batches, the
average has the degrees of freedom of one cell. If a seed has another effect in each cell, the average has those of all
cells together. The actual number lies between. It is estimated from the correlation of the cells by Box's correction
(Box 1954, Annals of Mathematical Statistics 25:290), with the estimator of Greenhouse & Geisser (1959, Psychometrika
24:95), which errs on the low side. Intervals are generalized confidence intervals (Weerahandi 1993, Journal of the
American Statistical Association 88:899): quantiles of the components over the distribution of the true mean squares.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import chdtri

from mnist_mlp.stats.moderated_t import CONFIDENCE, DECIMALS

CROSSED, ONE_AT_A_TIME = "crossed", "one at a time"  # designs
INTERACTION, INTERACTIONS, TOTAL = "interaction", "interactions", "all together"  # rows after those of the sources
DRAWS = 10_000  # of the true mean squares; the error of their quantiles is then below 3%
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
NUMBERS = ("sd", "sd_low", "sd_high", "share", "share_low", "share_high")
Seeds = tuple[Hashable, ...]  # one seed per source


@dataclass(frozen=True)
class VarianceComponents:
    """Variance between the replicates of a cell, by source.

    Attributes:
        design: `CROSSED` or `ONE_AT_A_TIME`; empty if nothing was estimated.
        table: One row per source. If sources were crossed, the rows `INTERACTION` (or `INTERACTIONS`) and `TOTAL`
            follow. Columns: `source`, `seeds` (number of seeds, or of combinations), `sd` (standard deviation, in the
            unit of the scores) and `share` (of the variance, in [0, 1]; NaN if sources were varied one at a time).
            Columns that end in `_low` and `_high` have the ends of the 95% intervals of `sd` and `share`.
        cells: Number of cells without a missing score, over which mean squares are averaged.
        of: Number of all cells.
        reason: Explanation if nothing was estimated; else empty.
    """

    design: str
    table: pd.DataFrame
    cells: int
    of: int
    reason: str = ""


def estimate_components(table: pd.DataFrame) -> VarianceComponents:
    """Estimate how much of the variance within cells comes from each source.

    Args:
        table: Scores, cells x combinations of seeds; NaN if missing. The columns have one level per source, named as
            the source, with its seeds as values: at least two sources with at least two seeds each.

    Raises:
        ValueError: There are fewer sources or seeds, or a combination of crossed seeds occurs twice.
    """
    levels = [list(table.columns.unique(level)) for level in range(table.columns.nlevels)]
    counts = list(map(len, levels))
    if len(levels) < 2 or min(counts) < 2:
        raise ValueError(f"table.columns.levshape={counts}: expected at least two sources with at least two seeds each")
    sources, there = [str(name) for name in table.columns.names], [tuple(seeds) for seeds in table.columns]
    whole = table.dropna()
    if whole.empty:
        return _nothing(table, f"in no cell were the runs of all {len(there)} seeds completed")
    if len(there) == math.prod(counts):
        grid = _array(whole.reindex(columns=pd.MultiIndex.from_product(levels))).reshape(-1, *counts)
        names = [*sources, INTERACTION if len(levels) == 2 else INTERACTIONS, TOTAL]
        design, counts, numbers = CROSSED, [*counts, len(there), len(there)], crossed_components(grid)
    elif arms := _arms(there):
        names, design = sources, ONE_AT_A_TIME
        numbers = np.array([single_component(_array(whole[arm])) for arm in arms])
    else:
        return _nothing(table, "the seeds were neither crossed nor varied one at a time around one run")
    if not numbers[:, 0].any():
        return _nothing(table, "the seeds made no difference at all")
    found = pd.DataFrame(numbers, columns=list(NUMBERS))
    found.insert(0, "source", names)
    found.insert(1, "seeds", counts)
    return VarianceComponents(design, found, len(whole), len(table))


def _nothing(table: pd.DataFrame, reason: str) -> VarianceComponents:
    return VarianceComponents("", pd.DataFrame(columns=["source", "seeds", *NUMBERS]), 0, len(table), reason)


def _array(table: pd.DataFrame) -> np.ndarray:
    """Return the values in a fixed memory layout, since the rounding of a sum depends on it."""
    return np.ascontiguousarray(table.to_numpy(dtype=float))


def _arms(there: Sequence[Seeds]) -> list[list[Seeds]] | None:
    """Return, per source, the combinations in which every other source has its most frequent seed.

    None if there are other combinations, so that seeds were not varied one at a time.
    """
    base = tuple(Counter(of_source).most_common(1)[0][0] for of_source in zip(*there, strict=True))
    arms = [[s for s in there if s[:i] + s[i + 1 :] == base[:i] + base[i + 1 :]] for i in range(len(base))]
    return arms if base in there and set().union(*arms) == set(there) else None


def crossed_components(scores: np.ndarray) -> np.ndarray:
    """Estimate the variance components of crossed sources, of their interactions, and of all together.

    Let L_f be the number of seeds of source f. The mean square M_s of a set s of sources, a main effect or an
    interaction, has the expectation

        E M_s = sum over t containing s of var_t * (product of L_f over all f not in t),

    so var_s is estimated by the alternating sum of the M_t with t containing s, divided by the product of L_f over all
    f not in s.

    Args:
        scores: Array of shape (cells, seeds of the first source, seeds of the second, ...) without NaN, at least two
            seeds per source.

    Returns:
        Array of shape (sources + 2, 6), with one row per source, one for the interactions and one for all together, and
        the columns `NUMBERS`; standard deviations in the unit of the scores. Negative estimates are set to 0, and
        shares refer to the sum of the estimates after that. The total variance is estimated from all mean squares
        before that, and is never negative.
    """
    axes, levels = range(1, scores.ndim), scores.shape
    terms = [term for size in axes for term in combinations(axes, size)]
    squares, freedom = np.array([_mean_square(scores, term) for term in terms]).T
    # Coefficients of the mean squares in the variance of each source and, in the last row, of the interactions.
    weights = np.zeros((scores.ndim, len(terms)))
    for term in terms:
        row = term[0] - 1 if len(term) == 1 else -1
        repeats = math.prod(levels[axis] for axis in axes if axis not in term)
        for place, other in enumerate(terms):
            if set(term) <= set(other):
                weights[row, place] += (-1) ** (len(other) - len(term)) / repeats
    true = freedom * squares / np.random.default_rng(0).chisquare(freedom, (DRAWS, len(terms)))
    return _summed_up(weights @ squares, weights @ true.T)


def single_component(scores: np.ndarray) -> np.ndarray:
    """Estimate the standard deviation over one source, with its interval.

    Args:
        scores: Array of shape (cells, seeds) without NaN, at least two seeds.

    Returns:
        Array of shape (6,), the columns `NUMBERS`; shares are NaN.
    """
    square, freedom = _mean_square(scores, (1,))
    low, high = np.sqrt(freedom * square / chdtri(freedom, [1 - TAILS[1], 1 - TAILS[0]]))
    return np.array([math.sqrt(square), low, high, np.nan, np.nan, np.nan])


def _mean_square(scores: np.ndarray, term: Sequence[int]) -> tuple[float, float]:
    """Return the mean square of a source or an interaction, averaged over the cells, and its degrees of freedom."""
    effect = scores
    for axis in range(1, scores.ndim):
        mean = effect.mean(axis=axis, keepdims=True)
        effect = effect - mean if axis in term else mean
    effects = np.round(effect.reshape(len(scores), -1), DECIMALS)
    freedom = math.prod(scores.shape[axis] - 1 for axis in term)
    of_cells = effects @ effects.T * (scores[0].size / effects.shape[1] / freedom)  # like a covariance, (cells, cells)
    total = float(np.trace(of_cells))
    return total / len(scores), freedom * (total**2 / float((of_cells**2).sum()) if total else 1.0)


def _summed_up(variances: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the result of `crossed_components`, from variances, (rows,), and draws of them, (rows, draws)."""
    (sd, share), of_draws = (_sd_and_share(each) for each in (variances[:, None], draws))
    ends = [np.quantile(draw, TAILS, axis=1) for draw in of_draws]
    return np.column_stack([sd, *ends[0], share, *ends[1]])


def _sd_and_share(variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = np.maximum(variances, 0)
    with np.errstate(invalid="ignore"):  # shares of a variance of 0 are NaN
        shares = parts / parts.sum(axis=0)
    return np.sqrt(np.vstack([parts, variances.sum(axis=0)])), np.vstack([shares, shares.sum(axis=0)])
