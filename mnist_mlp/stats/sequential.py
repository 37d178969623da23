"""Sequential comparison: interim analyses of cells that get more replicates until every pair is decided.

All interim analyses together have the error rate of a single test. This rate, alpha, is spent in parts, as by Lan and
DeMets 1983, "Discrete sequential boundaries for clinical trials", Biometrika 70:659. Up to a fraction t of the maximum
number of replicates, the analyses spend `alpha_spent(t)`. This function has the shape of O'Brien and Fleming's
boundaries: next to nothing is spent early, nearly all at the end. The level of each analysis is computed for a sum of
independent normal increments, by numerical integration (Armitage, McPherson and Rowe 1969, Journal of the Royal
Statistical Society A 132:235). The same levels are used for t-tests, whose error rate stays close to alpha in
simulations (Jennison and Turnbull 2000, "Group sequential methods", section 4.4).

Each analysis tests, at its level, the pairs that are still undecided and whose cells are both active. So no pair has
more chances to be significant by luck than the levels grant, whenever cells are dropped. The simultaneous intervals are
repeated confidence intervals (Jennison and Turnbull 1989, Journal of the Royal Statistical Society B 51:305): they hold
at any analysis where the study ends. So verdicts of equivalence are valid, too.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special
from scipy.optimize import brentq

from mnist_mlp.stats.moderated_t import CONFIDENCE, FEWEST
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import UNDECIDED, Verdict

FARTHEST = 12.0  # largest bound, in standard deviations; the probability beyond it, 4e-33, is negligible
SPACING = 1.5  # quadrature nodes per standard deviation of an increment
ROUNDED = 16  # the number of quadrature nodes is a multiple of it


class InterimAnalysis(NamedTuple):
    """Result of an interim analysis.

    Attributes:
        pairs: Latest result of each pair (see `compare_pairs`). It is from this analysis if the pair was undecided, and
            both cells are active and have all replicates. Otherwise it is from an earlier analysis.
        cells: Number of cells with enough replicates in common (see `compare_pairs`).
        best: Active cell with the highest mean.
        dropped: Active cells that are worse than the best.
        active: Cells that need more replicates, including the best. Empty if each rival differs significantly from the
            best cell or is equivalent to it.
    """

    pairs: pd.DataFrame
    cells: int
    best: str
    dropped: list[str]
    active: list[str]


def interim_schedule(initial: int, increment: int, maximum: int, cells: int) -> list[tuple[int, float]]:
    """Plan the interim analyses: replicates per active cell and significance level per pair, for each analysis.

    Args:
        initial: Initial number of replicates. Analyses with fewer than three are skipped.
        increment: Number of replicates that are added at a time.
        maximum: Maximum number of replicates per cell, greater than the initial number and at least three.
        cells: Number of cells, at least two.
    """
    sizes = [*(size for size in range(initial, maximum, increment) if size >= FEWEST), maximum]
    pairs = cells * (cells - 1) // 2
    return list(zip(sizes, interim_levels([size / maximum for size in sizes], 1 - CONFIDENCE, pairs), strict=True))


def interim_analysis(
    table: pd.DataFrame,
    level: float,
    before: pd.DataFrame | None = None,
    images: float | None = None,
    margin: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> InterimAnalysis:
    """Analyze the results so far, and decide which cells need more replicates.

    Args:
        table: Scores, active cells x replicates so far; NaN if missing. Cells are in the same order at each analysis.
        level: Significance level of each pair (see `interim_schedule`).
        before: `InterimAnalysis.pairs` of the previous analysis; None at the first.
        images: See `compare_pairs`.
        margin: See `compare_pairs`.
        bounds: See `compare_pairs`.
    """
    pairs, cells = compare_pairs(table, images, level=level, margin=margin, bounds=bounds)
    if before is not None:
        now, all_pairs = pairs.set_index(["a", "b"]), before.set_index(["a", "b"])
        is_new = (now["n"] == table.shape[1]) & all_pairs["verdict"].reindex(now.index).isin(UNDECIDED)
        all_pairs.loc[now.index[is_new]] = now[is_new]
        pairs = all_pairs.reset_index()
    best = str(table.mean(axis=1).idxmax())
    verdicts = {}
    for a, b, verdict in zip(pairs["a"], pairs["b"], map(Verdict, pairs["verdict"]), strict=True):
        if best in (a, b):
            verdicts[str(b if a == best else a)] = verdict.reversed() if a == best else verdict
    rivals = [str(cell) for cell in table.index if cell != best]
    dropped = [cell for cell in rivals if verdicts[cell] == Verdict.WORSE]
    is_open = any(verdicts[cell] in UNDECIDED for cell in rivals)
    active = [str(cell) for cell in table.index if is_open and cell not in dropped]
    return InterimAnalysis(pairs, cells, best, dropped, active)


def alpha_spent(share: float, alpha: float) -> float:
    """Return the alpha spent up to a fraction of the data in (0, 1].

    This is Lan and DeMets' alpha*_1 with alpha / 2 on each side.
    """
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(share)))


def interim_levels(shares: Sequence[float], alpha: float, tests: int = 1) -> list[float]:
    """Return the significance level of each interim analysis.

    Args:
        shares: Fraction of the maximum amount of data at each analysis, increasing, in (0, 1].
        alpha: Probability of any false positive, over all analyses and tests, in (0, 1).
        tests: Number of simultaneous tests. The alpha of each analysis is split among them by Šidák's correction.

    Returns:
        The two-sided p-value below which a single test is significant, for each analysis.
    """
    budget = [-np.expm1(np.log1p(-alpha_spent(share, alpha)) / tests) for share in shares]
    found: list[float] = []
    before, deviation = 0.0, 0.0  # alpha spent, and share of the data, at the previous analysis
    # Density of the sum at the previous analysis, restricted to sums that were never significant; at first a point mass
    # at 0.
    nodes, density = np.zeros(1), np.ones(1)
    for share, total in zip(shares, budget, strict=True):
        step = np.sqrt(share - deviation)

        def left(bound: float, nodes: np.ndarray = nodes, density: np.ndarray = density, step: float = step) -> float:
            """Return the probability that the sum exceeds the bound, on either side, for the first time."""
            beyond = special.ndtr((nodes - bound) / step) + special.ndtr((-nodes - bound) / step)
            return float(density @ beyond)

        farthest = FARTHEST * np.sqrt(share)
        increment = total - before
        bound = farthest if left(farthest) >= increment else _root(left, increment, farthest)
        found.append(float(2 * special.ndtr(-bound / np.sqrt(share))))
        points, weights = _gauss(ROUNDED * int(np.ceil((SPACING * 2 * bound / step + 16) / ROUNDED)))
        new = points * bound
        passed = np.exp(-0.5 * ((new[:, None] - nodes) / step) ** 2) / (step * np.sqrt(2 * np.pi))
        nodes, density = new, (passed @ density) * weights * bound
        before, deviation = total, share
    return found


@functools.cache
def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Gauss-Legendre quadrature on [-1, 1]."""
    return np.polynomial.legendre.leggauss(count)


def _root(left: Callable[[float], float], increment: float, farthest: float) -> float:
    """Return the bound that the sum exceeds for the first time with the probability `increment`.

    The equation is solved in logarithms, since probabilities span hundreds of powers of ten.
    """
    return float(brentq(lambda bound: np.log(left(bound) or 1e-320) - np.log(increment), 0.0, farthest, xtol=1e-12))
