"""Verdicts of a sweep that looked at its results while it added seeds: each pair by the look that decided it.

Between the looks, seeds are added to those cells alone that are not yet told from the best. A pair is judged at every
look at which both of its cells have all seeds of that look, at the level of that look (see `spending`), and never again
once it is decided. So no pair has more chances to be told apart by luck than its levels allow, whenever cells leave.
And its simultaneous intervals hold at whatever look the sweep ends (repeated confidence intervals: Jennison and
Turnbull 1989, Journal of the Royal Statistical Society B 51:305), which makes a verdict of equivalence fair.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mnist_mlp.report.analysis.contrasts import CONFIDENCE, FEWEST
from mnist_mlp.report.analysis.pairs import NUMBERS, compare_pairs
from mnist_mlp.report.analysis.spending import levels
from mnist_mlp.report.analysis.verdicts import BETTER, OPEN, UNTOLD, WORSE, are
from mnist_mlp.run.looks import Look

SINCE = f"{UNTOLD}: seeds were added until cells were told apart; report on that sweep alone, by init and optim"
OPPOSITE = {BETTER: WORSE, WORSE: BETTER}


def judge_looks(
    table: pd.DataFrame, looks: Sequence[Look], images: float | None = None, margin: float | None = None
) -> tuple[pd.DataFrame, int]:
    """Compare every pair of rows as `compare_pairs` does, at each look.

    Args:
        table: accuracies, cells x seeds, the best cell first; NaN where there is none.
        looks: in order, at least one.
        images: see `compare_pairs`.
        margin: see `compare_pairs`.

    Returns:
        As `compare_pairs`: each pair as it was decided, or else as it was judged last.
    """
    told, judged = None, 0
    for look in looks:
        told, cells = judge_look(table, look, told, images, margin)
        judged = max(judged, cells)
    assert told is not None
    return told, judged


def judge_look(
    table: pd.DataFrame, look: Look, told: pd.DataFrame | None, images: float | None, margin: float | None
) -> tuple[pd.DataFrame, int]:
    """The pairs after a look, from those after the last one; see `judge_looks`."""
    pairs, judged = compare_pairs(table.reindex(columns=list(look.seeds)), images, level=look.level, margin=margin)
    if told is not None:
        is_new = (pairs["n"] == len(look.seeds)) & are(told["verdict"], OPEN, UNTOLD)
        pairs = told.where(~is_new, pairs)
    return pairs, judged


def withhold(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs without verdicts, where these would be of seeds that were added because of how others turned out."""
    return pairs.assign(verdict=SINCE, **dict.fromkeys(NUMBERS, np.nan))


def schedule(given: int, batch: int, most: int, cells: int) -> list[tuple[int, float]]:
    """How many seeds the cells in play have at each look, and its level for each pair.

    Args:
        given: seeds to begin with.
        batch: how many are added at a time.
        most: seeds of a cell, more than are given, and at least three.
        cells: at least two.
    """
    sizes = [*(size for size in range(given, most, batch) if size >= FEWEST), most]
    pairs = cells * (cells - 1) // 2
    return list(zip(sizes, levels([size / most for size in sizes], 1 - CONFIDENCE, pairs), strict=True))


def look_at(
    table: pd.DataFrame,
    now: Look,
    told: pd.DataFrame | None,
    images: float | None = None,
    margin: float | None = None,
) -> tuple[Look, list[str], pd.DataFrame]:
    """Look at all results so far.

    Args:
        table: accuracies, cells x seeds; NaN where there is none. Cells are in the same order at each look.
        now: seeds, level and cells of this look.
        told: what the last look has left behind; None at the first.
        images: see `compare_pairs`.
        margin: see `compare_pairs`.

    Returns:
        The look with what it found; the cells to give more seeds, which are the best one and all that are neither told
        from it nor equivalent to it, or none where there are no such; and what the next look is told.
    """
    pairs, _ = judge_look(table, now, told, images, margin)
    best = str(table.index[int(np.nanargmax(table.mean(axis=1).to_numpy()))])
    verdicts = {}
    for a, b, verdict in zip(pairs["a"], pairs["b"], pairs["verdict"], strict=True):
        if best in (a, b):
            verdicts[str(b if a == best else a)] = OPPOSITE.get(verdict, verdict) if a == best else verdict
    still = {cell for cell, verdict in verdicts.items() if verdict.startswith((OPEN, UNTOLD))}
    left = {cell: verdicts[cell] for cell in now.cells if cell != best and cell not in still}
    return replace(now, best=best, left=left), sorted({best, *still}) if still else [], pairs
