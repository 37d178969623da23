"""What fewer settings would have brought: curves over the number of settings tried, and which cell wins at each.

A cell is shown at the best of the N settings that were tried for it. Had only k been tried, it would be at the best of
these, and which k is luck. So k of the N are drawn without replacement, every draw equally likely, and of each draw the
setting that is best on the split that chooses is taken, the first of equal ones, as `roles.choose` does. The expected
accuracy of what is taken is the budget curve (Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental
Results", EMNLP). Dodge et al. draw with replacement, which is too low on average; without it the curve is unbiased for
settings drawn at random (Tang et al. 2020, "Showing Your Work Doesn't Always Work", ACL), and ends at the cell's own
score. How likely each cell is to win at a budget is Sivaprasad et al.'s question (2020, "Optimizer Benchmarking Needs
to Account for Hyperparameter Tuning", ICML).

Everything is computed exactly, nothing is sampled. Seeds take no part but in the mean of each setting.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.report.analysis.contrasts import DECIMALS
from mnist_mlp.report.analysis.roles import CELL, judged_split, score

FEWEST = 3  # settings of a cell that has a curve; of two it is no more than a line between a mean and a maximum
# Of the draws, between the low and the high end: of a dozen settings, 95 % would reach from the worst to the best.
SPREAD = 0.8
ROUNDING = 1e-12  # of a sum of probabilities


class Lead(NamedTuple):
    """The cell with the highest expected test accuracy from one number of settings to another, both included."""

    cell: str
    first: int
    last: int


def curves(runs: pd.DataFrame, tuned: Sequence[str], cells: Sequence[str]) -> pd.DataFrame:
    """Expected results of the best of k settings, for every k that a cell has, and how likely it is to win.

    Args:
        runs: those that the choice of settings goes by, with `cell`, the tuned keys, `status` and final accuracies.
        tuned: keys that are chosen.
        cells: in the order of the rows; those with fewer than three settings are left out.

    Returns:
        One row a cell and k, from 1 to the cell's number of settings: `cell`, `k`; of the split that chooses and of
        `test` `_expected` (accuracy), `_low` and `_high` (what the middle 80 % of the draws reach: the luck of the
        draw, no uncertainty over seeds); `wins`, the probability that what the cell chose has the highest test accuracy
        of all cells with k settings, each with a draw of its own, a tie in equal parts; NaN where there is no other.
        Empty where fewer than two cells have three settings.
    """
    split = judged_split(runs)
    names = [f"{of}_{what}" for of in (split, "test") for what in ("expected", "low", "high")]
    of_cell = _settings(runs, tuned, split) if tuned else {}
    tried = {cell: of_cell[cell] for cell in cells if len(of_cell.get(cell, ())) >= FEWEST}
    if len(tried) < 2:
        return pd.DataFrame(columns=[CELL, "k", *names, "wins"])
    wins = _wins([settings["test"].to_numpy() for settings in tried.values()])
    parts = []
    for (cell, settings), won in zip(tried.items(), wins, strict=True):
        part = pd.DataFrame(_curve(settings[split].to_numpy(), settings["test"].to_numpy()), columns=names)
        part.insert(0, "k", np.arange(1, len(part) + 1))
        part.insert(0, CELL, cell)
        parts.append(part.assign(wins=won))
    return pd.concat(parts, ignore_index=True)


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


def _settings(runs: pd.DataFrame, tuned: Sequence[str], split: str) -> Mapping[str, pd.DataFrame]:
    """Per cell the mean scores of its settings, on this split and on `test`; the one that would be chosen comes last.

    Settings of which every run failed do not count, as they can be had by the same command again.
    """
    scores = {split: score(runs, f"{split}_accuracy"), "test": score(runs, "test_accuracy")}
    groups = runs[[CELL, *tuned]].assign(**scores).groupby([CELL, *tuned], dropna=False, sort=True)
    means = groups[list(scores)].mean().dropna()
    # The first of equal ones is chosen, so it stands behind the others.
    ranked = means.iloc[::-1].sort_values(split, kind="stable")
    return {str(cell): part for cell, part in ranked.groupby(level=CELL)}


def best_of(settings: int) -> Iterator[np.ndarray]:
    """For k = 1, 2, …, N, how likely each of N settings is to be the best of k that are drawn without replacement.

    The i-th worst is the best if it is drawn and the others come from the i - 1 below it: C(i - 1, k - 1) / C(N, k).
    That is k / i of C(i, k) / C(N, k), the probability that all come from the first i, which is a product of k ratios
    of at most 1: no factorial, so N may be in the thousands.

    Args:
        settings: N.

    Yields:
        Probabilities of shape (N,), of the worst setting first; one array for each k.
    """
    place = np.arange(1.0, settings + 1)
    within = np.ones(settings)
    for k in range(1, settings + 1):
        within = within * np.maximum(place - k + 1, 0) / (settings - k + 1)
        yield within * k / place


def _curve(judged: np.ndarray, test: np.ndarray) -> list[tuple[float, ...]]:
    """For each k expectation, low and high end of what is chosen; settings in the order in which they are preferred."""
    by_test = np.argsort(test, kind="stable")
    return [
        (mass @ judged, *_ends(judged, mass), mass @ test, *_ends(test[by_test], mass[by_test]))
        for mass in best_of(len(test))
    ]


def _ends(values: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """The smallest values, of ascending ones, that at least 10 % and 90 % of this probability do not exceed."""
    levels = np.array([(1 - SPREAD) / 2, (1 + SPREAD) / 2])
    ends: np.ndarray = values[np.searchsorted(mass.cumsum(), levels - ROUNDING)]
    return ends


def _wins(tests: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each cell how likely it is to win with k settings, by the test accuracies of all, from the last preferred.

    Cells with fewer than k settings take no part.
    """
    sizes = [len(test) for test in tests]
    values, places = np.unique(np.concatenate(tests).round(DECIMALS), return_inverse=True)
    place = np.split(places, np.cumsum(sizes)[:-1])
    wins = [np.full(size, np.nan) for size in sizes]
    for k, masses in enumerate(zip_longest(*map(best_of, sizes))):
        part = [cell for cell, mass in enumerate(masses) if mass is not None]
        if len(part) < 2:
            break
        table = np.array([np.bincount(place[cell], masses[cell], len(values)) for cell in part])
        for cell, won in zip(part, win_probabilities(table), strict=True):
            wins[cell][k] = won
    return wins


def win_probabilities(masses: np.ndarray) -> np.ndarray:
    """How likely each of several independent values is to be the highest, a tie in equal parts.

    Where T others share the highest value v, each wins 1 / (1 + T) of it, which is the integral of z^T over z from 0 to
    1. So cell c wins p_c(v) times the integral of the product over the others j of P(j < v) + z p_j(v), summed over v.
    This is a polynomial in z, which Gauss and Legendre's rule integrates exactly.

    Args:
        masses: p, probabilities of shape (cells, values), values ascending.

    Returns:
        Probabilities of shape (cells,), which add up to 1.
    """
    below = np.pad(masses, ((0, 0), (1, 0))).cumsum(axis=1)[:, :-1]
    sharing = (masses > 0).sum(axis=0)  # one more than the degree of the polynomial; nearly all values are one cell's
    wins = np.zeros(len(masses))
    for many in np.unique(sharing[sharing > 0]):
        here = sharing == many
        nodes, weights = np.polynomial.legendre.leggauss((many + 1) // 2)  # on [-1, 1]
        for z, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            wins += weight * (masses[:, here] * _product_of_others(below[:, here] + z * masses[:, here])).sum(axis=1)
    return wins


def _product_of_others(factors: np.ndarray) -> np.ndarray:
    """For each row the product of all other rows."""
    before = np.vstack([np.ones_like(factors[:1]), factors[:-1]]).cumprod(axis=0)
    after = np.vstack([np.ones_like(factors[:1]), factors[:0:-1]]).cumprod(axis=0)[::-1]
    product: np.ndarray = before * after
    return product
