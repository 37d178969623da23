"""Tuning curves: the expected result of the best of k candidates, for every k.

A cell is usually shown at the best of the N candidates that were evaluated for it, such as configurations of
hyperparameters. With only k, it would be at the best of these, and which k is luck. So k of the N are drawn without
replacement, every draw equally likely, and of each draw the candidate with the best selection score is taken. The
expected score of what is taken is the tuning curve (Dodge et al. 2019, "Show Your Work: Improved Reporting of
Experimental Results", EMNLP). Dodge et al. draw with replacement, which is too low on average; without it the curve is
unbiased for candidates drawn at random (Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL), and ends at
the cell's own score.

Each replicate draws and selects by its own scores. The curve is the mean over replicates.

Everything is computed exactly, nothing is sampled.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.stats.moderated_t import DECIMALS

# Of the draws, between the low and the high end: of a dozen candidates, 95 % would reach from the worst to the best.
SPREAD = 0.8
ROUNDING = 1e-12  # of a sum of probabilities
SCORES, PARTS = ("selection", "test"), ("expected", "low", "high")


class Lead(NamedTuple):
    """The cell with the highest expected test score from one number of candidates to another, both included."""

    cell: str
    first: int
    last: int


def expected_best(candidates: pd.DataFrame) -> pd.DataFrame:
    """Compute the expected scores of the best of k candidates, for every k that a cell has.

    Args:
        candidates: One row per candidate, with its `cell`, `replicate`, `selection` (score that it is selected by) and
            `test` (score that selecting it brings; NaN if unknown). Larger scores are better; of equal selection scores
            the first row is selected. A row without a selection score is no candidate.

    Returns:
        One row per cell and k, from 1 to the cell's largest number of candidates in a replicate, cells in their order
        of appearance: `cell`, `k`; of `selection` and of `test` `_expected`, `_low` and `_high` (the middle 80% over
        draws and replicates), in the unit of the scores. A replicate with fewer than k candidates takes part with all
        that it has, one without a known score does not.
    """
    ranked = candidates.dropna(subset="selection").sort_values("selection", ascending=False, kind="stable")
    ranked = ranked.iloc[::-1]  # the worst first
    rows = []
    for cell in candidates["cell"].unique():
        of_cell = ranked[ranked["cell"] == cell].groupby("replicate")
        replicates = [[part[of].to_numpy(dtype=float) for of in SCORES] for _, part in of_cell]
        rows += [(cell, k, *row) for k, row in enumerate(_curve(replicates), start=1)]
    return pd.DataFrame(rows, columns=["cell", "k", *(f"{of}_{what}" for of in SCORES for what in PARTS)])


def leads(curves: pd.DataFrame) -> list[Lead]:
    """Return which cell leads at each k that all cells have, by expected test score, as a list of stretches.

    Args:
        curves: See `expected_best`; not empty. Of cells that are level, one that was ahead stays so, else the first in
            the table is.
    """
    common = curves.groupby("cell")["k"].max().min()
    wide = curves[curves["k"] <= common].pivot(index="k", columns="cell", values="test_expected")
    wide = wide[list(curves["cell"].unique())].round(DECIMALS)
    stretches: list[Lead] = []
    for k, row in zip(map(int, wide.index), wide.to_dict("records"), strict=True):
        if stretches and row[stretches[-1].cell] == max(row.values()):
            stretches[-1] = stretches[-1]._replace(last=k)
        else:
            stretches.append(Lead(str(max(row, key=row.__getitem__)), k, k))
    return stretches


def best_of(candidates: int) -> Iterator[np.ndarray]:
    """For k = 1, 2, …, N, compute how likely each of N candidates is to be the best of k drawn without replacement.

    The i-th worst is the best if it is drawn and the others come from the i - 1 below it: C(i - 1, k - 1) / C(N, k).
    That is k / i of C(i, k) / C(N, k), the probability that all come from the first i, which is a product of k ratios
    of at most 1: no factorial, so N may be in the thousands.

    Args:
        candidates: N.

    Yields:
        Probabilities of shape (N,), of the worst candidate first; one array for each k.
    """
    place = np.arange(1.0, candidates + 1)
    within = np.ones(candidates)
    for k in range(1, candidates + 1):
        within = within * np.maximum(place - k + 1, 0) / (candidates - k + 1)
        yield within * k / place


def _curve(replicates: Sequence[Sequence[np.ndarray]]) -> list[tuple[float, ...]]:
    """Return for each k the expectation, low and high end of each of the `SCORES`.

    Args:
        replicates: Of each replicate the scores of its candidates, the worst first.
    """
    draws = [list(best_of(len(scores[0]))) for scores in replicates]
    rows = []
    for k in range(max(map(len, draws), default=0)):
        masses = [of_replicate[min(k, len(of_replicate) - 1)] for of_replicate in draws]
        row: list[float] = []
        for values in zip(*replicates, strict=True):
            row += _mean_and_ends(values, masses)
        rows.append(tuple(row))
    return rows


def _mean_and_ends(values: Sequence[np.ndarray], masses: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Return the mean and the ends of what is drawn; a replicate without any known value takes no part."""
    known = [np.where(np.isfinite(of), mass, 0.0) for of, mass in zip(values, masses, strict=True)]
    parts = [(of, mass / mass.sum()) for of, mass in zip(values, known, strict=True) if mass.sum() > 0]
    if not parts:
        return np.nan, np.nan, np.nan
    mean = float(np.mean([np.nansum(of * mass) for of, mass in parts]))
    pooled, mass = np.concatenate([of for of, _ in parts]), np.concatenate([mass for _, mass in parts]) / len(parts)
    order = np.argsort(pooled, kind="stable")
    levels = np.array([(1 - SPREAD) / 2, (1 + SPREAD) / 2])
    low, high = pooled[order][np.searchsorted(mass[order].cumsum(), levels - ROUNDING)]
    return mean, float(low), float(high)
