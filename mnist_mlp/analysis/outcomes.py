"""What became of each run: its final and best numbers, its score, and whether it counts."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_mlp.analysis import sources
from mnist_mlp.analysis.roles import CELL, tested
from mnist_mlp.analysis.selection import score, scored_runs, selection_split
from mnist_mlp.base.record import COMPLETED, DIVERGED
from mnist_mlp.base.sweep_file import CONFIRM

TARGETS = ("epochs_to_target", "seconds_to_target")
BEST_EPOCH = ("best_epoch", "best_epoch_val_accuracy", "best_epoch_test_accuracy")
MNIST = re.compile(r"mnist_mlp\.data\.(\w+\.)*mnist")  # the function that loads it, by whichever module
MNIST_TARGET = 0.97  # AlgoPerf's validation target
CHANCE_ERRORS = 3  # binomial standard errors within which an accuracy counts as that of always naming one class


def with_outcomes(
    runs: pd.DataFrame, metrics: pd.DataFrame, target: float | None, tuned: Sequence[str], select: str
) -> pd.DataFrame:
    """The runs of a section with what `Comparison.runs` says of them.

    Args:
        runs: with `cell`.
        metrics: theirs.
        target: Accuracy in [0, 1] whose epoch and seconds are looked up, on validation where all runs have one; None
            for no target, whose times are NaN.
        tuned: Tuned keys.
        select: See `selection.select`.
    """
    runs = runs.join(_final_and_best(metrics))
    runs["steps"] = _steps(runs["epochs"], metrics)
    runs["validated"] = runs["val_accuracy"].notna() | (runs["status"] != COMPLETED) & _holds_out(runs)
    timed = "val" if selection_split(tested(runs)) == "val" else "test"
    runs = runs.join(_to_target(metrics, timed, target))
    confirmed = runs["phase"] == CONFIRM
    others = tested(runs)
    others = others[~others[CELL].isin(runs.loc[confirmed, CELL])]
    runs["chosen"] = confirmed | scored_runs(others, tuned, select).reindex(runs.index, fill_value=False)
    numbers = [*runs.filter(regex="^(train|val|test)_(accuracy|loss)$").columns, *BEST_EPOCH, *TARGETS]
    runs.loc[runs["status"] != COMPLETED, numbers] = np.nan  # such a run has none, as it did not get there
    if target is not None:
        runs.loc[runs["status"] == DIVERGED, list(TARGETS)] = np.inf  # a miss is a miss
    runs.loc[runs["status"] == DIVERGED, "highest_accuracy"] = 0.0
    runs["score"] = score(runs, "test_accuracy")
    runs["at_chance"] = at_chance(runs)
    runs["independent"] = pd.concat([sources.independent(part) for _, part in runs.groupby("phase", dropna=False)])
    return runs


def usual_target(runs: pd.DataFrame) -> float | None:
    """Return the target accuracy of a section whose report asks for none: that of MNIST; None for other data.

    What loads the data decides, or the name of the option in results that do not have it.
    """
    loaders = {*runs["data._target_"].dropna()} if "data._target_" in runs else set()
    is_mnist = all(MNIST.fullmatch(str(loader)) for loader in loaders) if loaders else {*runs["data"]} == {"mnist"}
    return MNIST_TARGET if is_mnist else None


def _holds_out(runs: pd.DataFrame) -> pd.Series:
    """Return whether each run was to hold out images for validation, though it may have ended before it used them."""
    if "data.val_size" not in runs:
        return pd.Series(False, runs.index)
    return pd.to_numeric(runs["data.val_size"], errors="coerce") > 0


def judged_by(runs: pd.DataFrame) -> str:
    """Which of all runs those are that have a score, in words."""
    return "among those that are scored" if (runs["phase"] == CONFIRM).any() else "at the selected configurations"


def at_chance(runs: pd.DataFrame) -> pd.Series:
    """Whether each run ended with a test accuracy not shown to be better than always naming the commonest class.

    That is: no more than share + 3 sqrt(share (1 - share) / m), with the class' share of the m test images, which is
    three binomial standard errors above what naming it gives. Where that is 1 or more, as with few images or a class of
    nearly all, no accuracy could show it, so these images do not tell.

    Args:
        runs: with `test_accuracy`, `commonest_test_share` and `test_size`.

    Returns:
        Nullable booleans: NA where a run has no final accuracy, its share was not recorded, or the images do not tell.
    """
    share, accuracy = runs["commonest_test_share"], runs["test_accuracy"]
    most = share + CHANCE_ERRORS * np.sqrt(share * (1 - share) / runs["test_size"])
    known = (most < 1) & accuracy.notna()
    return pd.Series(accuracy <= most, dtype="boolean").mask(~known)


def _final_and_best(metrics: pd.DataFrame) -> pd.DataFrame:
    """Per run: loss and accuracy of every split after its last epoch, and those of its best epoch by validation."""
    wide = metrics.pivot(index=["run", "epoch"], columns="split", values=["loss", "accuracy"])
    wide.columns = wide.columns.map(lambda column: f"{column[1]}_{column[0]}")
    wide = wide.reindex(columns=[f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")])
    wide = wide.reset_index("epoch").sort_values("epoch", kind="stable")
    final = wide.groupby("run").last().drop(columns="epoch")
    ranked = wide[wide["val_accuracy"].notna()].sort_values("val_accuracy", kind="stable", ascending=False)
    best = ranked.groupby("run").first()[["epoch", "val_accuracy", "test_accuracy"]]
    best.columns = pd.Index(BEST_EPOCH)
    return final.join(best)


def _steps(epochs: pd.Series, metrics: pd.DataFrame) -> pd.Series:
    """Return the number of optimizer steps of each whole run; NaN if it ended before its first epoch did."""
    last = metrics[metrics["epoch"] > 0].groupby("run")[["epoch", "step"]].max()
    steps: pd.Series = (last["step"] / last["epoch"]).reindex(epochs.index) * epochs
    return steps.mask(epochs == 0, 0)


def _to_target(metrics: pd.DataFrame, split: str, target: float | None) -> pd.DataFrame:
    """Per run: epoch and seconds at which the accuracy on a split, the same for all, first reached the target.

    And `highest_accuracy`, the most it reached at all.
    """
    judged = metrics["split"] == split
    is_there, never = (metrics["accuracy"] >= target, np.inf) if target is not None else (False, np.nan)
    reached = metrics[judged & is_there].sort_values("epoch").groupby("run").first()
    reached = reached[["epoch", "seconds"]].astype(float).reindex(metrics["run"].unique(), fill_value=never)
    reached.columns = pd.Index(TARGETS)
    return reached.assign(highest_accuracy=metrics[judged].groupby("run")["accuracy"].max())
