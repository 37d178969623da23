"""Learning curves, learning-rate sensitivity and scores against a numeric key: means over runs with intervals."""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.analysis.derived import number, uniform_list
from mnist_mlp.analysis.measures import bounds_of
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import (
    CANDIDATE,
    number_candidates,
    rank_candidates,
    score,
    selecting_groups,
    selection_split,
)
from mnist_mlp.base.record import DIVERGED
from mnist_mlp.base.schema import DERIVED, HIDDEN, LEARNING_RATE
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


def differences_by_epoch(metrics: pd.DataFrame, runs: pd.DataFrame, best: str) -> pd.DataFrame:
    """Return mean and interval of the difference in test accuracy from the best cell, paired by seed, per epoch.

    The intervals are not simultaneous over cells or epochs.

    Args:
        metrics: Rows of the runs' `metrics.csv`.
        runs: Runs to average over, with `cell`, `replicate` and `independent`.
        best: Best cell.

    Returns:
        One row per other cell and epoch: `cell`, `epoch`, `difference_mean`, `difference_std`, `difference_ci_low`,
        `difference_ci_high`. Empty if no seed has curves of the best cell and of another one.
    """
    of_test = metrics[metrics["split"] == "test"].join(runs[[CELL, REPLICATE, "independent"]], on="run", how="inner")
    of_best = of_test.loc[of_test[CELL] == best, [REPLICATE, "epoch", "accuracy", "independent"]]
    paired = of_test[of_test[CELL] != best].merge(of_best, on=[REPLICATE, "epoch"], suffixes=("", "_best"))
    paired["difference"] = paired["accuracy"] - paired["accuracy_best"]
    paired["independent"] &= paired["independent_best"]
    table = mean_intervals(paired, [CELL, "epoch"], ["difference"], {"difference": (-1.0, 1.0)})
    return table.reset_index().sort_values([CELL, "epoch"], kind="stable").reset_index(drop=True)


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


def numeric_axis(values: pd.Series, key: str) -> pd.Series | None:
    """Return the numbers of a compared key, named as their axis; None if they are no numbers or do not differ.

    Lists of one length or of equal elements are numbers, too: `[64, 64]` and `[64]` are 2 and 1, and `[64]` and `[128]`
    are 64 and 128. For `model.hidden`, the axis is then the depth or the width.

    Args:
        values: Values of the key in each run; lists as JSON.
        key: Key.
    """
    numbers, name = [number(value) for value in values], key
    if None in numbers:
        lists = [uniform_list(value) for value in values]
        if None in lists:
            return None
        lengths, elements = zip(*filter(None, lists), strict=True)
        if len({*lengths}) > 1 and len({*elements} - {None}) > 1:
            return None
        is_depth = len({*lengths}) > 1
        numbers = [None if n is None else float(n) for n in (lengths if is_depth else elements)]
        depth, width = DERIVED if key == HIDDEN else (f"length of {key}", f"elements of {key}")
        name = depth if is_depth else width
    axis = pd.Series(numbers, values.index, dtype=float, name=name)
    return axis if axis.nunique() > 1 else None


def against(runs: pd.DataFrame, axis: pd.Series) -> pd.DataFrame:
    """Return mean and interval of the test accuracy per cell and value of a numeric axis; a diverged run counts as 0.

    Args:
        runs: Scored runs with `cell`, `score`, `status`, `at_chance` and `independent`.
        axis: Value of each run (see `numeric_axis`).

    Returns:
        One row per cell and value: `cell`, the name of the axis, `accuracy_mean`, `accuracy_std`, `accuracy_ci_low`,
        `accuracy_ci_high`, `n`, `diverged` and `at_chance` (numbers of runs).
    """
    name = str(axis.name)
    table = runs.assign(**{name: axis, "accuracy": runs["score"]})
    keys = [CELL, name]
    found = mean_intervals(table, keys, ["accuracy"], bounds_of(["accuracy"]))
    groups = [table[key] for key in keys]
    found["n"] = table.groupby(keys, sort=False).size()
    found["diverged"] = (table["status"] == DIVERGED).groupby(groups).sum()
    found["at_chance"] = table["at_chance"].fillna(False).astype(bool).groupby(groups).sum()
    return found.reset_index().sort_values(keys).reset_index(drop=True)
