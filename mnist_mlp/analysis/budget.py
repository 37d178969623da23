"""Budget curves: what a cell would reach if fewer candidates were evaluated.

A cell is shown at the best of the N candidates that were evaluated for it. With only k, it would be at the best of
these, and which k is luck. So k of the N are drawn without replacement, every draw equally likely, and of each draw the
candidate that is best on the selection split is taken (see `selection`). The expected accuracy of what is taken is the
budget curve (Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental Results", EMNLP). Dodge et al. draw
with replacement, which is too low on average; without it the curve is unbiased for candidates drawn at random (Tang et
al. 2020, "Showing Your Work Doesn't Always Work", ACL), and ends at the cell's own score.

Where each replicate selects for itself, it draws and selects by its own results, and what it takes is valued by the run
of that candidate with the next seed, which is where the cell is scored. The curve is the mean over replicates.

Everything is computed exactly, nothing is sampled.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import (
    CANDIDATE,
    number_candidates,
    previous_seeds,
    rank_candidates,
    score,
    selection_split,
)
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.stats.moderated_t import DECIMALS

FEWEST = 3  # candidates of a cell that has a curve; of two it is no more than a line between a mean and a maximum
# Of the draws, between the low and the high end: of a dozen candidates, 95 % would reach from the worst to the best.
SPREAD = 0.8
ROUNDING = 1e-12  # of a sum of probabilities


class Lead(NamedTuple):
    """The cell with the highest expected test accuracy from one number of candidates to another, both included."""

    cell: str
    first: int
    last: int


class Ranked(NamedTuple):
    """Candidates of a cell as one replicate ranks them, the worst first.

    Attributes:
        selected_by: Accuracies on the selection split.
        value: Test accuracies that selecting them would bring; NaN if unknown.
    """

    selected_by: np.ndarray
    value: np.ndarray


def curves(runs: pd.DataFrame, tuned: Sequence[str], cells: Sequence[str], how: str = EACH) -> pd.DataFrame:
    """Compute the expected results of the best of k candidates, for every k that a cell has.

    Args:
        runs: Runs that configurations are selected by, with `cell`, `replicate`, the tuned keys, `status`, and final
            accuracies and losses.
        tuned: Tuned keys.
        cells: Cells in the order of the rows; those with fewer than three candidates are left out.
        how: See `selection.select`.

    Returns:
        One row per cell and k, from 1 to the cell's number of candidates: `cell`, `k`; of the selection split and of
        `test` `_expected` (accuracy), `_low` and `_high` (the middle 80% over draws and replicates). Empty if fewer
        than two cells have three candidates.
    """
    split = selection_split(runs)
    names = [f"{of}_{what}" for of in (split, "test") for what in ("expected", "low", "high")]
    replicates = _ranked(runs, tuned, how) if tuned else {}
    shown = {cell: replicates[cell] for cell in cells if _candidates(replicates.get(cell, ())) >= FEWEST}
    if len(shown) < 2:
        return pd.DataFrame(columns=[CELL, "k", *names])
    parts = []
    for cell, of_cell in shown.items():
        part = pd.DataFrame(_curve(of_cell), columns=names)
        part.insert(0, "k", np.arange(1, len(part) + 1))
        part.insert(0, CELL, cell)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _candidates(replicates: Sequence[Ranked]) -> int:
    return max((len(one.value) for one in replicates), default=0)


def leads(table: pd.DataFrame) -> list[Lead]:
    """Which cell is ahead at each budget that all of them have, by expected test accuracy, as a list of stretches.

    Args:
        table: see `curves`, not empty; of cells that are level, one that was ahead stays so, else the first in it is.
    """
    common = table.groupby(CELL)["k"].max().min()
    wide = table[table["k"] <= common].pivot(index="k", columns=CELL, values="test_expected")
    wide = wide[list(table[CELL].unique())].round(DECIMALS)
    stretches: list[Lead] = []
    for k, row in zip(map(int, wide.index), wide.to_dict("records"), strict=True):
        if stretches and row[stretches[-1].cell] == max(row.values()):
            stretches[-1] = stretches[-1]._replace(last=k)
        else:
            stretches.append(Lead(str(max(row, key=row.__getitem__)), k, k))
    return stretches


def best_of(candidates: int) -> Iterator[np.ndarray]:
    """For k = 1, 2, …, N, how likely each of N candidates is to be the best of k that are drawn without replacement.

    The i-th worst is the best if it is drawn and the others come from the i - 1 below it: C(i - 1, k - 1) / C(N, k).
    That is k / i of C(i, k) / C(N, k), the probability that all come from the first i, which is a product of k ratios
    of at most 1: no factorial, so N may be in the thousands.

    Args:
        candidates: N.

    Yields:
        Probabilities of shape (N,), of the worst setting first; one array for each k.
    """
    place = np.arange(1.0, candidates + 1)
    within = np.ones(candidates)
    for k in range(1, candidates + 1):
        within = within * np.maximum(place - k + 1, 0) / (candidates - k + 1)
        yield within * k / place


def _ranked(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> Mapping[str, list[Ranked]]:
    """Rank the candidates of each cell in each replicate, or in all replicates together."""
    tests = runs.assign(**{CANDIDATE: number_candidates(runs, tuned), "test": score(runs, "test_accuracy")})
    if how != EACH:
        ranked = rank_candidates(runs, tuned, [CELL])
        ranked["value"] = ranked[CANDIDATE].map(tests.groupby(CANDIDATE)["test"].mean())
        return {str(cell): [_worst_first(part)] for cell, part in ranked.groupby(CELL)}
    value = tests.groupby([CANDIDATE, REPLICATE])["test"].mean()
    found: dict[str, list[Ranked]] = {}
    for cell, of_cell in rank_candidates(runs, tuned).groupby(CELL):
        seeds = of_cell[REPLICATE].unique()
        following = {before: seed for seed, before in previous_seeds(seeds, seeds)}
        for seed, part in of_cell.groupby(REPLICATE):
            scored_at = [(candidate, following[seed]) for candidate in part[CANDIDATE]]
            values = value.reindex(pd.MultiIndex.from_tuples(scored_at)).to_numpy()
            found.setdefault(str(cell), []).append(_worst_first(part.assign(value=values)))
    return found


def _worst_first(ranked: pd.DataFrame) -> Ranked:
    return Ranked(ranked["accuracy"].to_numpy()[::-1], ranked["value"].to_numpy(dtype=float)[::-1])


def _curve(replicates: Sequence[Ranked]) -> list[tuple[float, ...]]:
    """Return for each k the expectation, low and high end of the selection accuracy and of the test accuracy.

    A replicate with fewer than k candidates takes part with all that it has.
    """
    draws = [list(best_of(len(one.value))) for one in replicates]
    rows = []
    for k in range(max(map(len, draws))):
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
