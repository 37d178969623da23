"""Parts of captions: sample sizes, and runs or cells that a figure does not show."""

from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.notes import list_names
from mnist_mlp.analysis.roles import CELL, evaluation_runs, share
from mnist_mlp.analysis.selection import selection_split
from mnist_mlp.base.record import COMPLETED, DIVERGED
from mnist_mlp.base.schema import LAST
from mnist_mlp.report.text.verdicts import list_explanations

KEY_NAMES = {"init": "initialization", "optim": "optimizer"}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}


def sample(counts: Iterable[int]) -> str:
    """Return the range of the runs per cell, such as "n = 3 to 4"."""
    low, high = min(counts := list(counts)), max(counts)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def over(runs: pd.DataFrame) -> str:
    """Return "seeds", or "runs" if some runs share a seed and are not independent."""
    return "seeds" if runs["independent"].all() else "runs"


def by(runs: pd.DataFrame) -> str:
    """Say that intervals use only the independent runs; empty if all runs are independent."""
    return "" if runs["independent"].all() else " over the independent runs"


def has_band(table: pd.DataFrame) -> bool:
    """Return whether a figure of these means has a band of intervals."""
    return bool(table["accuracy_ci_low"].notna().any()) if len(table) else False


def unsteady(comparison: Comparison) -> set[str]:
    """Return the cells with diverged runs among the scored ones."""
    runs = comparison.scored
    return set(runs.loc[runs["status"] == DIVERGED, CELL])


def undrawn(comparison: Comparison, cells: Sequence[str]) -> str:
    """Say how many runs of these cells have no curve because they diverged; empty if all runs have one."""
    runs = comparison.scored[comparison.scored[CELL].isin(cells)]
    lost = int((runs["status"] == DIVERGED).sum())
    if not lost:
        return ""
    completed = set(runs.loc[runs["status"] == COMPLETED, CELL])
    gone = [cell for cell in cells if cell not in completed]
    which = f"; no completed run: {list_names(gone)}" if gone else ""
    return f"Curves of diverged runs are not drawn ({share(lost, len(runs), 'run')}{which})."


def without_interval(comparison: Comparison) -> str:
    """Say which pairs with the best cell have no interval, and why; empty if all have one."""
    rivals = comparison.rivals
    alike = rivals["p"].notna() & rivals["ci_low"].isna()
    same = f"Hollow, without an interval: {alike.sum()} of {len(rivals)}, equal in every seed." if alike.any() else ""
    unknown = rivals[rivals["p"].isna()]
    if unknown.empty:
        return same
    gaps = " (empty row: no seed in common)" if unknown["difference"].isna().any() else ""
    why = list_explanations(comparison, unknown)
    rest = f"Hollow, without an interval: {len(unknown)} of {len(rivals)} not tested{gaps}: {why}."
    return f"{same} {rest}".strip()


def shares(cells: Collection[str], of: int) -> str:
    """Say that a figure shows only the best cells; empty if it shows all."""
    return f"The {len(cells)} best of {of} cells." if len(cells) < of else ""


def timed_split(comparison: Comparison) -> str:
    """Return the name of the split that the time to the target is measured on: validation, or test without one."""
    return SPLIT_NAMES["val" if selection_split(evaluation_runs(comparison.runs)) == "val" else "test"]


def scored_epoch(comparison: Comparison) -> str:
    """Return the epoch whose test accuracies are scores, such as "after the last epoch"."""
    return "after the last epoch" if comparison.at == LAST else "after the epoch best on validation"
