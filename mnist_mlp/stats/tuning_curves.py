"""Tuning curves: the expected result of the best of k candidates, for every k.

A cell is usually reported at the best of its N candidates, such as hyperparameter configurations. With only k
candidates, it would be reported at the best of these, and it is luck which k they are. So k of the N candidates are
drawn without replacement, every draw equally likely. The candidate with the best selection score in the draw is
selected. The tuning curve is the expected score of this candidate for each k (Dodge et al. 2019, "Show Your Work:
Improved Reporting of Experimental Results", EMNLP). Dodge et al. draw with replacement, which is biased downward.
Without replacement, the curve is unbiased for candidates drawn at random (Tang et al. 2020, "Showing Your Work Doesn't
Always Work", ACL). It ends at the score of the cell.

Each replicate draws and selects by its own scores. The curve is the mean over replicates. All expectations are exact;
nothing is simulated.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.stats.moderated_t import DECIMALS

SPREAD = 0.8  # share of draws from `_low` to `_high`; with a dozen candidates, 95% would span nearly all of them
ROUNDING = 1e-12  # tolerance for rounding errors in a sum of probabilities
SCORES, PARTS = ("selection", "test"), ("expected", "low", "high")


class Lead(NamedTuple):
    """Cell with the highest expected test score for `first` to `last` candidates, both included."""

    cell: str
    first: int
    last: int


def expected_best(candidates: pd.DataFrame) -> pd.DataFrame:
    """Compute the expected scores of the best of k candidates, for every k that a cell has.

    Args:
        candidates: One row per candidate and replicate: `cell`, `replicate`, `selection` (score to select by) and
            `test` (score to report if the candidate is selected; NaN if unknown). Larger scores are better; the first
            row wins a tie. Rows without a selection score are ignored.

    Returns:
        One row per cell, in order of appearance, and k, from 1 to the cell's largest number of candidates in a
        replicate. A replicate with fewer than k candidates enters with all its candidates; a replicate without a known
        score is left out. Columns, scores in the unit of the input:

        - `cell` and `k`;
        - `selection_expected`, `selection_low` and `selection_high`: expectation, and ends of the middle 80% over draws
          and replicates;
        - `test_expected`, `test_low` and `test_high`: the same for the test score.
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
    """List the cells with the highest expected test score, over the values of k that all cells have.

    Args:
        curves: Result of `expected_best`; not empty. In a tie, the cell that led before keeps the lead; if it is not
            among the tied ones, the first of them in the table leads.
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

    The i-th worst candidate is the best if it is drawn and all others are among the i - 1 below it, which has the
    probability C(i - 1, k - 1) / C(N, k) = (k / i) C(i, k) / C(N, k). The ratio C(i, k) / C(N, k) is a product of k
    factors of at most 1, so no factorial overflows even if N is in the thousands.

    Args:
        candidates: Number of candidates, N.

    Yields:
        Probabilities, (N,), the worst candidate first; one array per k.
    """
    place = np.arange(1.0, candidates + 1)
    within = np.ones(candidates)
    for k in range(1, candidates + 1):
        within = within * np.maximum(place - k + 1, 0) / (candidates - k + 1)
        yield within * k / place


def _curve(replicates: Sequence[Sequence[np.ndarray]]) -> list[tuple[float, ...]]:
    """Return, for each k, expectation, low end and high end of each of the `SCORES`.

    Args:
        replicates: Per replicate, one array of the candidates' values for each of the `SCORES`, the worst candidate
            first.
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
    """Return mean, low end and high end over draws; replicates without a known value are left out.

    Args:
        values: Values of the candidates, an array per replicate; NaN if unknown.
        masses: Probabilities of the candidates to be selected, an array per replicate.
    """
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
