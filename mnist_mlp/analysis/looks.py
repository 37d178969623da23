"""Verdicts of a sweep that looked at its results while it added seeds: each pair by the look that decided it.

Between the looks, seeds are added to the cells in play: all at first, and later those that are not yet worse than the
best of them. A pair is judged at the looks at which both its cells are in play, by the seeds and at the level of that
look (see `mnist_mlp.stats.alpha_spending`), and never again once it is decided. So no pair has more chances to be told
apart by luck than its levels allow, whenever cells leave. And its simultaneous intervals hold at any look where the
sweep ends (repeated confidence intervals: Jennison and Turnbull 1989, Journal of the Royal Statistical Society B
51:305), which makes a verdict of equivalence fair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mnist_mlp.analysis.measures import ACCURACY
from mnist_mlp.base.looks import Look, Looks, SequentialPlan
from mnist_mlp.stats.alpha_spending import levels
from mnist_mlp.stats.moderated_t import CONFIDENCE, FEWEST
from mnist_mlp.stats.pairs import NUMBERS, compare_pairs
from mnist_mlp.stats.verdicts import UNDECIDED, Reason, Verdict


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
    playing = table.loc[[cell for cell in table.index if cell in look.cells]]
    table = playing.reindex(columns=list(look.seeds))
    pairs, judged = compare_pairs(table, images, level=look.level, margin=margin, bounds=ACCURACY)
    if told is None:
        return pairs, judged
    now, before = pairs.set_index(["a", "b"]), told.set_index(["a", "b"])
    is_new = (now["n"] == len(look.seeds)) & before["verdict"].reindex(now.index).isin(UNDECIDED)
    before.loc[now.index[is_new]] = now[is_new]
    return before.reset_index(), judged


def withhold(pairs: pd.DataFrame, reason: Reason) -> pd.DataFrame:
    """Return the pairs as not tested, all for one reason."""
    return pairs.assign(verdict=str(Verdict.NOT_TESTED), reason=str(reason), **dict.fromkeys(NUMBERS, np.nan))


def renamed(looks: Looks, names: Mapping[str, str]) -> Looks:
    """The same with other names of the cells; those that are not among them stay."""

    def new(cell: str) -> str:
        return names.get(cell, cell)

    return replace(
        looks,
        looks=[
            replace(
                look,
                cells=list(map(new, look.cells)),
                best=new(look.best),
                left={new(cell): verdict for cell, verdict in look.left.items()},
            )
            for look in looks.looks
        ],
    )


def have_results(looks: Looks, table: pd.DataFrame) -> bool:
    """Whether every run that was looked at has a score, in a table of cells x seeds."""
    return all(
        table.reindex(index=list(look.cells), columns=list(look.seeds)).notna().all(axis=None) for look in looks.looks
    )


def go_on(looks: Looks, pairs: pd.DataFrame) -> bool:
    """Whether the sweep would add further seeds, by its pairs: it was stopped before it was decided."""
    last = looks.looks[-1]
    playing = set(last.cells) - set(last.left)
    of_best = (pairs["a"] == last.best) & pairs["b"].isin(playing) | (pairs["b"] == last.best) & pairs["a"].isin(
        playing
    )
    return len(last.seeds) < looks.plan.max_seeds and bool(pairs.loc[of_best, "verdict"].isin(UNDECIDED).any())


def are_as_planned(looks: Looks) -> bool:
    """Whether there is a look, and all are those that the settings lead to."""
    if not looks.looks or not len(looks.given) < looks.plan.max_seeds:
        return False
    planned = schedule(looks.plan, len(looks.given), len(looks.looks[0].cells))
    taken = [(len(look.seeds), look.level) for look in looks.looks]
    return len(taken) <= len(planned) and np.allclose(taken, planned[: len(taken)], rtol=1e-6, atol=0)


def schedule(plan: SequentialPlan, initial: int, cells: int) -> list[tuple[int, float]]:
    """Return the number of seeds per active cell at each interim analysis, and its significance level per pair.

    Args:
        plan: Plan of the analyses; its maximum is greater than the initial number of seeds, and at least three.
        initial: Number of seeds before any are added.
        cells: Number of cells, at least two.
    """
    sizes = [*(size for size in range(initial, plan.max_seeds, plan.batch) if size >= FEWEST), plan.max_seeds]
    pairs = cells * (cells - 1) // 2
    return list(zip(sizes, levels([size / sizes[-1] for size in sizes], 1 - CONFIDENCE, pairs), strict=True))


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
        The look with what it found; the cells to give more seeds, which are all in play but those that are worse than
        the best, or none where each of them is told from the best or equivalent to it; and what the next look is told.
    """
    pairs, _ = judge_look(table, now, told, images, margin)
    best = str(table.loc[list(now.cells), list(now.seeds)].mean(axis=1).idxmax())
    verdicts = {}
    for a, b, verdict in zip(pairs["a"], pairs["b"], map(Verdict, pairs["verdict"]), strict=True):
        if best in (a, b):
            verdicts[str(b if a == best else a)] = verdict.reversed() if a == best else verdict
    left = {cell: verdicts[cell] for cell in now.cells if cell != best and verdicts[cell] == Verdict.WORSE}
    is_open = any(verdicts[cell] in UNDECIDED for cell in now.cells if cell != best)
    return (
        replace(now, best=best, left=left),
        [cell for cell in now.cells if cell not in left] if is_open else [],
        pairs,
    )
