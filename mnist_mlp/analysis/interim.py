"""Interim analyses of a sweep from its records (see `mnist_mlp.stats.sequential` for the statistics)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mnist_mlp.base.interim import InterimRecord, SequentialRecord
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.stats.pairs import NUMBERS
from mnist_mlp.stats.sequential import interim_analysis, interim_schedule
from mnist_mlp.stats.verdicts import UNDECIDED, Reason, Verdict


def repeat_analyses(
    table: pd.DataFrame, looks: Sequence[InterimRecord], images: float | None = None, margin: float | None = None
) -> tuple[pd.DataFrame, int]:
    """Repeat the interim analyses of a sweep.

    Args:
        table: Accuracies, cells x seeds, the best cell first; NaN if missing.
        looks: Interim analyses in order, at least one.
        images: See `compare_pairs`.
        margin: See `compare_pairs`.

    Returns:
        Pairs as from `compare_pairs`, and the largest number of cells in an analysis. Each pair has its result at the
        analysis that decided it, or at its last analysis if it is undecided.
    """
    pairs, cells = None, 0
    for look in looks:
        found = interim_analysis(_results(table, look), look.level, pairs, images, margin, ACCURACY.bounds)
        pairs, cells = found.pairs, max(cells, found.cells)
    assert pairs is not None
    return pairs, cells


def _results(table: pd.DataFrame, look: InterimRecord) -> pd.DataFrame:
    """Return the part of a table, cells x seeds, that an interim analysis used."""
    return table.loc[[cell for cell in table.index if cell in look.cells], list(look.seeds)]


def set_equivalent(pairs: pd.DataFrame, margin: float) -> pd.DataFrame:
    """Return the pairs with another equivalence margin, judged by their intervals; significant pairs stay.

    Args:
        pairs: Pairs with the intervals of their last analysis.
        margin: Equivalence margin, in the unit of the scores.
    """
    undecided = pairs["verdict"].isin([Verdict.EQUIVALENT, Verdict.INCONCLUSIVE])
    is_within = np.maximum(-pairs["ci_low"], pairs["ci_high"]) <= margin
    verdicts = np.where(is_within, str(Verdict.EQUIVALENT), str(Verdict.INCONCLUSIVE))
    return pairs.assign(verdict=pairs["verdict"].mask(undecided, pd.Series(verdicts, pairs.index)))


def withhold(pairs: pd.DataFrame, reason: Reason) -> pd.DataFrame:
    """Return the pairs without results, as not tested for this reason."""
    return pairs.assign(verdict=str(Verdict.NOT_TESTED), reason=str(reason), **dict.fromkeys(NUMBERS, np.nan))


def rename_cells(looks: SequentialRecord, names: Mapping[str, str]) -> SequentialRecord:
    """Rename the cells of interim analyses; cells without a new name keep theirs."""

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


def have_results(looks: SequentialRecord, table: pd.DataFrame) -> bool:
    """Return whether all runs that the analyses used have a score in a table, cells x seeds."""
    return all(
        table.reindex(index=list(look.cells), columns=list(look.seeds)).notna().all(axis=None) for look in looks.looks
    )


def needs_more_seeds(looks: SequentialRecord, pairs: pd.DataFrame) -> bool:
    """Return whether the sweep would add seeds: a pair with the best cell is undecided, and seeds remain."""
    last = looks.looks[-1]
    playing = set(last.cells) - set(last.left)
    of_best = (pairs["a"] == last.best) & pairs["b"].isin(playing) | (pairs["b"] == last.best) & pairs["a"].isin(
        playing
    )
    return len(last.seeds) < looks.plan.max_seeds and bool(pairs.loc[of_best, "verdict"].isin(UNDECIDED).any())


def are_as_planned(looks: SequentialRecord) -> bool:
    """Return whether there are interim analyses, and all of them follow the plan."""
    if not looks.looks or not len(looks.given) < looks.plan.max_seeds:
        return False
    planned = interim_schedule(len(looks.given), looks.plan.batch, looks.plan.max_seeds, len(looks.looks[0].cells))
    taken = [(len(look.seeds), look.level) for look in looks.looks]
    return len(taken) <= len(planned) and np.allclose(taken, planned[: len(taken)], rtol=1e-6, atol=0)


def conduct_analysis(
    table: pd.DataFrame,
    now: InterimRecord,
    before: pd.DataFrame | None,
    images: float | None = None,
    margin: float | None = None,
) -> tuple[InterimRecord, list[str], pd.DataFrame]:
    """Conduct an interim analysis.

    Args:
        table: Accuracies, cells x seeds; NaN if missing. Cells are in the same order at each analysis.
        now: Seeds, level and cells of this analysis.
        before: Pairs that the previous analysis returned; None at the first.
        images: See `compare_pairs`.
        margin: See `compare_pairs`.

    Returns:
        Three values: the analysis, with its best and dropped cells; the cells that need more seeds (see
        `InterimAnalysis.active`); and the pairs, as the next analysis takes them.
    """
    found = interim_analysis(_results(table, now), now.level, before, images, margin, ACCURACY.bounds)
    return replace(now, best=found.best, left=dict.fromkeys(found.dropped, Verdict.WORSE)), found.active, found.pairs
