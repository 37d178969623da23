"""Variance components: how much of the variance between replicates comes from each source of randomness.

A source is what has a seed of its own, such as the initial weights or the order of the batches. Where the seeds of
several sources were crossed, each cell is a factorial of random effects: the variance between its scores is split by
expected mean squares (Searle, Casella & McCulloch 1992, "Variance components", chapter 4) into what each source does
alone and what they do together, their interactions. The same seeds are taken to give the same score, so there is no
residual besides. Where seeds were varied one at a time around one combination, the variance over a source, with all
others fixed, is reported by itself (Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks",
MLSys 3).

Mean squares are averaged over the cells. These may share what a seed does, as they see the same batches, or not: an
average of theirs has between the degrees of freedom of one cell and those of all. How many it has is told by how alike
the cells are, by Box's correction (Box 1954, Annals of Mathematical Statistics 25:290) as Greenhouse & Geisser estimate
it (1959, Psychometrika 24:95), which errs on the side of few. Intervals are generalized ones (Weerahandi 1993, Journal
of the American Statistical Association 88:899): quantiles of the components over what the true mean squares may be.
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
INTERACTION, INTERACTIONS, TOTAL = "interaction", "interactions", "all together"  # rows besides those of the sources
DRAWS = 10_000  # of the true mean squares; their quantiles are then within 3 % of where more would put them
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
NUMBERS = ("sd", "sd_low", "sd_high", "share", "share_low", "share_high")
Seeds = tuple[Hashable, ...]  # one of each source


@dataclass(frozen=True)
class VarianceComponents:
    """Variance between the replicates of a cell, by source.

    Attributes:
        design: `CROSSED` or `ONE_AT_A_TIME`; empty if nothing was estimated.
        table: One row per source, then, if sources were crossed, `INTERACTION` (or `INTERACTIONS`) and `TOTAL`:
            `source`, `seeds` (number of seeds, or of combinations), `sd` (standard deviation, in the unit of the
            scores) and `share` of the variance, in [0, 1], each with the ends of its 95% interval, `_low` and `_high`.
            Shares are NaN if the sources were varied one at a time.
        cells: Number of cells that mean squares are averaged over: those without a missing score.
        of: Number of all cells.
        reason: Reason why nothing was estimated, in words; else empty.
    """

    design: str
    table: pd.DataFrame
    cells: int
    of: int
    reason: str = ""


def estimate_components(table: pd.DataFrame) -> VarianceComponents:
    """Estimate how much of the variance within cells comes from each source.

    Args:
        table: Scores, cells x combinations of seeds; NaN if missing. The columns have one level per source, at least
            two, named as the sources, with the seeds as values, at least two of each source.

    Raises:
        ValueError: The columns are not of that form, or crossed seeds have a combination twice.
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
    """Return the values in one memory layout, on which the rounding of a sum depends."""
    return np.ascontiguousarray(table.to_numpy(dtype=float))


def _arms(there: Sequence[Seeds]) -> list[list[Seeds]] | None:
    """Return, per source, the combinations that differ from the commonest seeds in it only; None if others do not."""
    base = tuple(Counter(of_source).most_common(1)[0][0] for of_source in zip(*there, strict=True))
    arms = [[s for s in there if s[:i] + s[i + 1 :] == base[:i] + base[i + 1 :]] for i in range(len(base))]
    return arms if base in there and set().union(*arms) == set(there) else None


def crossed_components(scores: np.ndarray) -> np.ndarray:
    """Estimate the components of crossed sources, their interactions, and all together.

    With L_f seeds of source f, the mean square of the interaction s of some sources, or of a single one, has the mean

        E M_s = sum over t containing s of var_t * (product of L_f over the f that are not in t),

    so var_s is the alternating sum of the M_t with t containing s, over the product of the L_f that are not in s.

    Args:
        scores: Array of shape (cells, seeds of the first source, seeds of the second, ...) without NaN, at least two
            seeds per source.

    Returns:
        Array of shape (sources + 2, 6): one row per source, the interactions, and all together; the columns are
        `NUMBERS`, standard deviations in the unit of the scores. A variance that would be negative is 0, and shares are
        of the sum of the others. The variance of all together is estimated by itself, as it is never negative.
    """
    axes, levels = range(1, scores.ndim), scores.shape
    terms = [term for size in axes for term in combinations(axes, size)]
    squares, freedom = np.array([_mean_square(scores, term) for term in terms]).T
    weights = np.zeros((scores.ndim, len(terms)))  # of the mean squares: in each source's variance, and in all others'
    for term in terms:
        row = term[0] - 1 if len(term) == 1 else -1
        repeats = math.prod(levels[axis] for axis in axes if axis not in term)
        for place, other in enumerate(terms):
            if set(term) <= set(other):
                weights[row, place] += (-1) ** (len(other) - len(term)) / repeats
    true = freedom * squares / np.random.default_rng(0).chisquare(freedom, (DRAWS, len(terms)))
    return _summed_up(weights @ squares, weights @ true.T)


def single_component(scores: np.ndarray) -> np.ndarray:
    """Estimate the standard deviation over one source, with its interval: the columns of `NUMBERS`, shares NaN.

    Args:
        scores: Array of shape (cells, seeds) without NaN, at least two seeds.
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
    """Return what `crossed_components` does, from variances, (rows,), and draws of what they may be, (rows, draws)."""
    (sd, share), of_draws = (_sd_and_share(each) for each in (variances[:, None], draws))
    ends = [np.quantile(draw, TAILS, axis=1) for draw in of_draws]
    return np.column_stack([sd, *ends[0], share, *ends[1]])


def _sd_and_share(variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = np.maximum(variances, 0)
    with np.errstate(invalid="ignore"):  # no variance has no shares
        shares = parts / parts.sum(axis=0)
    return np.sqrt(np.vstack([parts, variances.sum(axis=0)])), np.vstack([shares, shares.sum(axis=0)])
