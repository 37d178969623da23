"""Outcome of each run: final and best metrics, score, and whether the run counts towards the score of its cell."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_mlp.analysis import sources
from mnist_mlp.analysis.roles import CELL, evaluation_runs
from mnist_mlp.analysis.selection import is_scored, score, selection_split
from mnist_mlp.base.metrics import ACCURACY, Metric
from mnist_mlp.base.record import COLUMNS, COMPLETED, DIVERGED
from mnist_mlp.base.schema import BEST, LAST
from mnist_mlp.base.sweep_file import CONFIRM

TARGETS = ("epochs_to_target", "seconds_to_target")
BEST_EPOCH = ("best_epoch", "best_epoch_val_accuracy", "best_epoch_test_accuracy")
BEST_PREFIX = "best_epoch_"  # of the metrics of each run's best epoch
MNIST = re.compile(r"mnist_mlp\.data\.(\w+\.)*mnist")  # functions that load MNIST
MNIST_TARGET = 0.97  # AlgoPerf's validation target
CHANCE_ERRORS = 3  # binomial standard errors above the accuracy of always predicting one class


def with_outcomes(
    runs: pd.DataFrame,
    metrics: pd.DataFrame,
    target: float | None,
    tuned: Sequence[str],
    select: str,
    at: str = LAST,
    metric: Metric = ACCURACY,
) -> pd.DataFrame:
    """Add the columns of `Comparison.runs` to the runs of a section.

    Args:
        runs: Runs with `cell`.
        metrics: Metrics of the runs.
        target: Accuracy in [0, 1] to add the epoch and the time to: on validation if all runs have a validation split,
            otherwise on test. None for no target; epochs and times are then NaN.
        tuned: Tuned keys.
        select: See `selection.select`.
        at: Epoch whose test accuracy and loss are scored: `LAST`, or `BEST`, the epoch of each run with the highest
            validation accuracy. The selection uses the last epoch in any case.
        metric: Metric of the test images that is scored. The selection uses the accuracy in any case.
    """
    runs = runs.join(final_and_best(metrics))
    runs["steps"] = _steps(runs["epochs"], metrics)
    runs["validated"] = runs["val_accuracy"].notna() | (runs["status"] != COMPLETED) & _holds_out(runs)
    timed = "val" if selection_split(evaluation_runs(runs)) == "val" else "test"
    runs = runs.join(_to_target(metrics, timed, target))
    confirmed = runs["phase"] == CONFIRM
    others = evaluation_runs(runs)
    others = others[~others[CELL].isin(runs.loc[confirmed, CELL])]
    runs["chosen"] = confirmed | is_scored(others, tuned, select).reindex(runs.index, fill_value=False)
    final, best = ([f"{prefix}{name}" for name in measured_columns(metrics)] for prefix in ("", BEST_PREFIX))
    numbers = [*final, *best, "best_epoch", *TARGETS]
    runs.loc[runs["status"] != COMPLETED, numbers] = np.nan  # an incomplete run has no final metrics
    if at == BEST:
        tests = [column for column in final if column.startswith("test_")]
        runs[tests] = runs[[f"{BEST_PREFIX}{column}" for column in tests]]
    if target is not None:
        runs.loc[runs["status"] == DIVERGED, list(TARGETS)] = np.inf  # like a completed run that misses the target
    runs.loc[runs["status"] == DIVERGED, "highest_accuracy"] = 0.0
    runs["score"] = score(runs, f"test_{metric.name}", metric.worst)
    runs["at_chance"] = at_chance(runs)
    runs["independent"] = pd.concat([sources.independent(part) for _, part in runs.groupby("phase", dropna=False)])
    return runs


def default_target(runs: pd.DataFrame) -> float | None:
    """Return the default target accuracy of a section: 0.97 for MNIST, None for other data.

    The function that loads the data decides. If the results do not name it, the name of the data option decides.
    """
    loaders = {*runs["data._target_"].dropna()} if "data._target_" in runs else set()
    is_mnist = all(MNIST.fullmatch(str(loader)) for loader in loaders) if loaders else {*runs["data"]} == {"mnist"}
    return MNIST_TARGET if is_mnist else None


def _holds_out(runs: pd.DataFrame) -> pd.Series:
    """Return whether the configuration of each run holds out images for validation."""
    if "data.val_size" not in runs:
        return pd.Series(False, runs.index)
    return pd.to_numeric(runs["data.val_size"], errors="coerce") > 0


def scored_phrase(runs: pd.DataFrame) -> str:
    """Return the phrase for the scored runs, which follows text such as "3 of them"."""
    return "among those that are scored" if (runs["phase"] == CONFIRM).any() else "at the selected configurations"


def at_chance(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run is at chance: not shown to be better than always predicting the most frequent class.

    A run is at chance if its test accuracy is at most share + 3 sqrt(share (1 - share) / m). Here share is the fraction
    of the most frequent class among the m test images, and the threshold is three binomial standard errors above it.
    With few images or one dominant class, the threshold may be 1 or more. No accuracy can exceed it then, and the
    answer is unknown.

    Args:
        runs: Runs with `test_accuracy`, `commonest_test_share` and `test_size`.

    Returns:
        Nullable booleans; NA if a run has no final accuracy, its share is missing, or the threshold is 1 or more.
    """
    share, accuracy = runs["commonest_test_share"], runs["test_accuracy"]
    most = share + CHANCE_ERRORS * np.sqrt(share * (1 - share) / runs["test_size"])
    known = (most < 1) & accuracy.notna()
    return pd.Series(accuracy <= most, dtype="boolean").mask(~known)


def final_and_best(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return, per run, the metrics of each split after the last epoch and after the best one, and that epoch.

    These are the `measured_columns`, with and without `BEST_PREFIX`, and `best_epoch`. The best epoch has the highest
    validation accuracy; of equal ones, the lowest validation loss; of these, it is the first.
    """
    wide = metrics.pivot(
        index=["run", "epoch"], columns="split", values=["loss", "accuracy", *additional_metrics(metrics)]
    )
    wide.columns = wide.columns.map(lambda column: f"{column[1]}_{column[0]}")
    wide = wide.reindex(columns=measured_columns(metrics))
    wide = wide.reset_index("epoch").sort_values("epoch", kind="stable")
    # Of all rows, not of all values: a metric that is undefined in the last epoch has no final value.
    final = wide.groupby("run").tail(1).drop(columns="epoch")
    ranked = wide[wide["val_accuracy"].notna()].sort_values(
        ["val_accuracy", "val_loss"], kind="stable", ascending=[False, True]
    )
    best = ranked.groupby("run").head(1).add_prefix(BEST_PREFIX).rename(columns={f"{BEST_PREFIX}epoch": "best_epoch"})
    return final.join(best)


def additional_metrics(metrics: pd.DataFrame) -> list[str]:
    """Return the names of the additional metrics, besides loss and accuracy."""
    return [name for name in metrics.columns if name not in ("run", *COLUMNS)]


def measured_columns(metrics: pd.DataFrame) -> list[str]:
    """Return the names of the metrics of each split, such as `test_loss`; additional metrics have no train split."""
    names = [f"{split}_{measure}" for split in ("train", "val", "test") for measure in ("loss", "accuracy")]
    return names + [f"{split}_{name}" for name in additional_metrics(metrics) for split in ("val", "test")]


def _steps(epochs: pd.Series, metrics: pd.DataFrame) -> pd.Series:
    """Return the planned number of optimizer steps of each run; NaN if not even its first epoch was completed."""
    last = metrics[metrics["epoch"] > 0].groupby("run")[["epoch", "step"]].max()
    steps: pd.Series = (last["step"] / last["epoch"]).reindex(epochs.index) * epochs
    return steps.mask(epochs == 0, 0)


def _to_target(metrics: pd.DataFrame, split: str, target: float | None) -> pd.DataFrame:
    """Return the epoch and the seconds at which each run first reached the target, and its `highest_accuracy`.

    Args:
        metrics: Metrics of all runs.
        split: Split that accuracies are taken from.
        target: Accuracy in [0, 1]; None for no target.

    Returns:
        Table indexed by run; epoch and seconds are infinite if the target was missed, NaN without a target.
    """
    on_split = metrics["split"] == split
    is_there, never = (metrics["accuracy"] >= target, np.inf) if target is not None else (False, np.nan)
    reached = metrics[on_split & is_there].sort_values("epoch").groupby("run").first()
    reached = reached[["epoch", "seconds"]].astype(float).reindex(metrics["run"].unique(), fill_value=never)
    reached.columns = pd.Index(TARGETS)
    return reached.assign(highest_accuracy=metrics[on_split].groupby("run")["accuracy"].max())
