"""Learning curves and learning-rate sensitivity: means over runs with intervals."""

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
    """Return mean and interval of the accuracy on the selection split per cell and learning rate.

    The other tuned keys are selected for each learning rate, per replicate or once, as configurations are. A diverged
    run counts as 0.

    Args:
        runs: See `rank_candidates`.
        tuned: Tuned keys.
        how: See `selection.select`.

    Returns:
        One row per cell and learning rate: `cell`, `lr`, `accuracy_mean`, `accuracy_std`, `accuracy_ci_low`,
        `accuracy_ci_high`, `n` and `diverged` (numbers of runs). Empty if the learning rate is not tuned or not always
        a number.
    """
    if LEARNING_RATE not in tuned:
        return pd.DataFrame()
    if not runs[LEARNING_RATE].map(lambda value: isinstance(value, int | float)).all():
        return pd.DataFrame()  # such as null, which has no place on an axis
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
