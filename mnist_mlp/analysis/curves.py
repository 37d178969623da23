"""Means over runs, with their intervals: along the epochs, and along the learning rates that were tried."""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.analysis.measures import bounds_of
from mnist_mlp.analysis.roles import CELL
from mnist_mlp.analysis.selection import (
    CANDIDATE,
    number_candidates,
    rank_candidates,
    score,
    selecting_groups,
    selection_split,
)
from mnist_mlp.base.record import DIVERGED
from mnist_mlp.base.schema import LEARNING_RATE
from mnist_mlp.stats.means import mean_intervals


def learning_curves(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval of loss and accuracy per cell, split and epoch.

    Args:
        metrics: Rows of the runs' `metrics.csv`.
        runs: Runs to average over, with `cell` and `independent`.
    """
    joined = metrics.join(runs[[CELL, "independent"]], on="run", how="inner")
    keys = [CELL, "split", "epoch"]
    measures = ["loss", "accuracy"]
    curves = mean_intervals(joined, keys, measures, bounds_of(measures)).drop(columns=["loss_std", "accuracy_std"])
    curves["n"] = joined.groupby(keys, sort=False).size()
    return curves.reset_index().sort_values(keys, kind="stable").reset_index(drop=True)


def sensitivity(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> pd.DataFrame:
    """Return the mean accuracy and its interval per cell and learning rate, the other tuned keys at their best.

    They are selected in each replicate, or once, as the cell's configurations are. The accuracy is that of the
    selection split, 0 if a run diverged.
    """
    if LEARNING_RATE not in tuned:
        return pd.DataFrame()
    if not runs[LEARNING_RATE].map(lambda value: isinstance(value, int | float)).all():
        return pd.DataFrame()  # an axis takes numbers
    within = [*selecting_groups(how), LEARNING_RATE]
    best = rank_candidates(runs, tuned, within).drop_duplicates(within)[[*within, CANDIDATE]]
    at_best = runs.assign(**{CANDIDATE: number_candidates(runs, tuned)}).merge(best, on=[*within, CANDIDATE])
    at_best["accuracy"] = score(at_best, f"{selection_split(runs)}_accuracy")
    at_best = at_best.rename(columns={LEARNING_RATE: "lr"})
    keys = [CELL, "lr"]
    table = mean_intervals(at_best, keys, ["accuracy"], bounds_of(["accuracy"]))
    table["n"] = at_best.groupby(keys, sort=False)["accuracy"].count()
    table["diverged"] = (at_best["status"] == DIVERGED).groupby([at_best[key] for key in keys]).sum()
    return table.reset_index().sort_values(keys).reset_index(drop=True)
