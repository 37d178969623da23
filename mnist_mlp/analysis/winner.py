"""Data on the best cell of a comparison and its rivals, for the first sentences of a report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.roles import CELL, REPLICATE, ended_runs, search_runs
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.base.record import DIVERGED
from mnist_mlp.base.sweep_file import CONFIRM, ONCE
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict


@dataclass(frozen=True)
class Rival:
    """Cell that is compared with the best one.

    Attributes:
        cell: Name of the other cell.
        n: Seeds that both cells have.
        difference: By how much the best cell is ahead on average over these seeds; negative if it is behind.
        shares_all: Whether these are all independent seeds of both cells. If not, the mean of a cell covers more seeds.
        p_corrected: Corrected p-value, for all pairs; NaN if the pair is not tested.
        additional_seeds: See `pairs.compare_pairs`.
    """

    cell: str
    n: int
    difference: float
    shares_all: bool
    p_corrected: float
    additional_seeds: float


@dataclass(frozen=True)
class Winner:
    """Best cell, and its verdicts against all other cells.

    Attributes:
        cell: Name of the cell with the highest score.
        configuration: Configuration that the cell selected most often: each tuned key of the cell to its value, as
            typed on the command line.
        selections: Number of seeds that selected the configuration, and number of seeds with a selection.
        candidates: Largest number of configurations that a seed selected from.
        is_selected_once: Whether configurations are tuned, and each cell selected one for all seeds.
        compares_optimizers: Whether optimizers are compared.
        is_confirmed: Whether selections were retrained with fresh seeds.
        ties: Other cells with the same score.
        cells: Number of cells.
        without_result: Number of cells without a result.
        score: Mean score, in which a diverged run counts as the worst value.
        accuracy: Mean of the scored metric of the completed runs, and low and high end of its interval; NaN if unknown.
        completed: Number of completed runs.
        diverged: Number of diverged runs.
        independent: Number of independent replicates.
        is_independent: Whether all scored runs of all cells are independent.
        is_sequential: Whether pairs are tested by interim analyses.
        is_at_chance: Whether all scored runs are at chance (see `outcomes.at_chance`).
        rivals: Rivals by the verdict on the best cell. Rivals that are worse are sorted by their
            difference, the closest first. Others are sorted by their score, the highest first.
        significant_pairs: Number of significant pairs.
        pairs: Number of all pairs.
        most_significant: The better and the worse cell of the most significant pair; None if no pair is significant.
    """

    cell: str
    configuration: Mapping[str, str]
    selections: tuple[int, int]
    candidates: int
    is_selected_once: bool
    compares_optimizers: bool
    is_confirmed: bool
    ties: Sequence[str]
    cells: int
    without_result: int
    score: float
    accuracy: tuple[float, ...]
    completed: int
    diverged: int
    independent: int
    is_independent: bool
    is_sequential: bool
    is_at_chance: bool
    rivals: Mapping[Verdict, Sequence[Rival]]
    significant_pairs: int
    pairs: int
    most_significant: tuple[str, str] | None


def winner(comparison: Comparison) -> Winner:
    """Collect the data on the best cell.

    Args:
        comparison: Comparison with at least one completed run.
    """
    summary, best = comparison.summary, comparison.summary.iloc[0]
    cell = str(best[CELL])
    scored = comparison.scored[comparison.scored[CELL] == best[CELL]]
    significant = comparison.pairs[comparison.pairs["verdict"].isin(SIGNIFICANT)]
    name = comparison.metric.name
    selected_keys = [key for key in comparison.tuned if best[CELL] in comparison.cells_that_selected(key)]
    return Winner(
        cell=cell,
        configuration={key: as_typed(best[key]) for key in selected_keys},
        selections=(selected[0].count, selected[0].of) if (selected := comparison.selected.get(cell)) else (0, 0),
        candidates=_candidates(comparison, cell),
        is_selected_once=bool(comparison.tuned) and comparison.select == ONCE,
        compares_optimizers="optim" in comparison.by,
        is_confirmed=bool((scored["phase"] == CONFIRM).any()),
        ties=summary.loc[np.isclose(summary["score"], best["score"], rtol=0, atol=1e-12), CELL].tolist()[1:],
        cells=len(summary),
        without_result=int(summary["score"].isna().sum()),
        score=float(best["score"]),
        accuracy=tuple(float(best[f"test_{name}_{part}"]) for part in ("mean", "ci_low", "ci_high")),
        completed=int(best["n"]),
        diverged=int((scored["status"] == DIVERGED).sum()),
        independent=int(scored["independent"].sum()),
        is_independent=comparison.independent,
        is_sequential=comparison.looks is not None,
        is_at_chance=bool(scored["at_chance"].fillna(False).all()),
        rivals=_rivals(comparison),
        significant_pairs=len(significant),
        pairs=len(comparison.pairs),
        most_significant=_most_significant(significant),
    )


def _candidates(comparison: Comparison, cell: str) -> int:
    runs = search_runs(comparison.runs)
    sizes = ended_runs(runs[runs[CELL] == cell]).groupby(REPLICATE).size()
    return max(sizes, default=0) if comparison.tuned else 1


def _rivals(comparison: Comparison) -> dict[Verdict, list[Rival]]:
    independent = comparison.scored[comparison.scored["independent"]]
    seeds = independent.groupby(CELL)[REPLICATE].nunique()
    rivals: dict[Verdict, list[Rival]] = {verdict: [] for verdict in Verdict}
    for pair in comparison.rivals.to_dict("records"):
        rivals[Verdict(pair["verdict"])].append(
            Rival(
                cell=str(pair["b"]),
                n=int(pair["n"]),
                difference=comparison.metric.sign * float(pair["difference"]),
                shares_all=pair["n"] >= max(seeds.get(pair["a"], 0), seeds.get(pair["b"], 0)),
                p_corrected=float(pair["p_corrected"]),
                additional_seeds=float(pair["additional_seeds"]),
            )
        )
    rivals[Verdict.BETTER].sort(key=lambda rival: rival.difference)
    return rivals


def _most_significant(significant: pd.DataFrame) -> tuple[str, str] | None:
    if significant.empty:
        return None
    pair = significant.sort_values("p_corrected", kind="stable").iloc[0]
    a, b = str(pair["a"]), str(pair["b"])
    return (a, b) if pair["verdict"] == Verdict.BETTER else (b, a)
