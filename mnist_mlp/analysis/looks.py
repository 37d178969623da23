"""Interim analyses of a sweep that adds seeds, by its records (see `mnist_mlp.stats.sequential` for the tests)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mnist_mlp.analysis.measures import ACCURACY
from mnist_mlp.base.looks import Look, Looks
from mnist_mlp.stats.pairs import NUMBERS
from mnist_mlp.stats.sequential import interim_analysis, interim_schedule
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
    pairs, judged = None, 0
    for look in looks:
        found = interim_analysis(_results(table, look), look.level, pairs, images, margin, ACCURACY)
        pairs, judged = found.pairs, max(judged, found.cells)
    assert pairs is not None
    return pairs, judged


def _results(table: pd.DataFrame, look: Look) -> pd.DataFrame:
    """Return the part of a table of cells x seeds that was looked at."""
    return table.loc[[cell for cell in table.index if cell in look.cells], list(look.seeds)]


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
    planned = interim_schedule(len(looks.given), looks.plan.batch, looks.plan.max_seeds, len(looks.looks[0].cells))
    taken = [(len(look.seeds), look.level) for look in looks.looks]
    return len(taken) <= len(planned) and np.allclose(taken, planned[: len(taken)], rtol=1e-6, atol=0)


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
    found = interim_analysis(_results(table, now), now.level, told, images, margin, ACCURACY)
    return replace(now, best=found.best, left=dict.fromkeys(found.dropped, Verdict.WORSE)), found.active, found.pairs
