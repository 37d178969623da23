"""What the runs say: one row a run, one row a cell.

A cell is one initialisation with one optimizer. Seeds are its replicates. Every other key that takes several values
within a cell was tuned: the value with the best mean validation accuracy is chosen, and only its runs are shown, so
that no test result ever takes part in a choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from mnist_mlp import config as schema
from mnist_mlp.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.report.load import Results

CONFIDENCE = 0.95
CELL = ["init", "optim"]
REPLICATE = "seed"
MEASURES = ("test_accuracy", "test_loss", "val_accuracy")
# Columns of the runs table that are no keys of the configuration.
FACTS = ("status", "reason", "seconds", "config_hash", "digest", "parameters", *schema.GROUPS)


@dataclass(frozen=True)
class Comparison:
    """The tables of a report.

    Attributes:
        runs: one row a run, all of them, with final and best metrics.
        summary: one row a cell, the best mean test accuracy first.
        curves: mean and interval per epoch, split and cell, of the chosen runs.
        tuned: the keys whose value was chosen within each cell.
        notes: what a reader must know before believing the tables.
    """

    runs: pd.DataFrame
    summary: pd.DataFrame
    curves: pd.DataFrame
    tuned: Sequence[str]
    notes: Sequence[str]


def compare(results: Results, target: float) -> Comparison:
    """Build every table about the runs on one data set.

    Args:
        results: at least one run, all on the same data.
        target: accuracy in [0, 1] whose epoch and seconds are looked up, on validation where there is one.
    """
    varying = varying_keys(results.runs)
    tuned = tuned_keys(results.runs, varying)
    runs = results.runs.join(_final_and_best(results.metrics)).join(_to_target(results.metrics, target))
    chosen = runs.loc[_choose(runs, tuned)]
    summary = _summarise(runs, chosen, tuned)
    finished = chosen[chosen["status"] == COMPLETED]
    return Comparison(
        runs=_runs_table(runs, tuned, [key for key in varying if key not in tuned]),
        summary=summary,
        curves=_curves(results.metrics, finished),
        tuned=tuned,
        notes=_notes(runs, chosen, summary, tuned),
    )


def by_data(results: Results) -> dict[str, Results]:
    """The results apart for each data set, named by its option, as accuracies on different data do not compare.

    Where one option has brought different data, its name is followed by the digest's first digits.
    """
    data, digest = results.runs["data"], results.runs["digest"]
    digest = digest.fillna(digest.groupby(data).transform("first"))  # a run that failed early has none of its own
    several = digest.groupby(data).transform("nunique") > 1
    name = data.where(~several, data + " " + digest.str[:8])
    parts = {}
    for part, runs in results.runs.groupby(name):
        metrics = results.metrics[results.metrics["run"].isin(runs.index)]
        parts[str(part)] = Results(runs, metrics, results.problems)
    return parts


def varying_keys(runs: pd.DataFrame) -> list[str]:
    """Configuration keys with several values that the choice of their group's option does not explain."""

    def varies(key: str) -> bool:
        group = key.partition(".")[0]
        frames = [part for _, part in runs.groupby(group)] if group in schema.GROUPS and group != key else [runs]
        return any(frame[key].nunique(dropna=False) > 1 for frame in frames)

    keys = ["model", *(key for key in runs.columns if key not in FACTS and schema.affects_result(key))]
    return [key for key in keys if varies(key)]


def tuned_keys(runs: pd.DataFrame, varying: Sequence[str]) -> list[str]:
    """Those of the varying keys, other than the seed, that take several values within one cell."""
    cells = [cell for _, cell in runs.groupby(CELL)]
    keys = [key for key in varying if key != REPLICATE]
    return [key for key in keys if any(cell[key].nunique(dropna=False) > 1 for cell in cells)]


def mean_interval(values: pd.Series) -> tuple[float, float, float, float]:
    """Mean, standard deviation (n - 1) and the ends of Student's 95 % interval of the mean; NaN where n < 2."""
    n, mean = values.count(), float(values.mean())
    if n < 2:
        return mean, np.nan, np.nan, np.nan
    std = float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / np.sqrt(n)
    return mean, std, mean - half, mean + half


def _final_and_best(metrics: pd.DataFrame) -> pd.DataFrame:
    """Per run: loss and accuracy of every split after its last epoch, and those of its best epoch by validation."""
    wide = metrics.pivot(index=["run", "epoch"], columns="split", values=["loss", "accuracy"])
    wide.columns = wide.columns.map(lambda column: f"{column[1]}_{column[0]}")
    wide = wide.reindex(columns=[f"{split}_{m}" for split in ("train", "val", "test") for m in ("loss", "accuracy")])
    wide = wide.reset_index("epoch").sort_values("epoch")
    final = wide.groupby("run").last().drop(columns="epoch")
    ranked = wide[wide["val_accuracy"].notna()].sort_values("val_accuracy", kind="stable", ascending=False)
    best = ranked.groupby("run").first()[["epoch", "val_accuracy", "test_accuracy"]]
    best.columns = pd.Index(["best_epoch", "best_epoch_val_accuracy", "best_epoch_test_accuracy"])
    return final.join(best)


def _to_target(metrics: pd.DataFrame, target: float) -> pd.DataFrame:
    """Per run: epoch and seconds at which validation (test, where there is none) first reached the target."""
    validated = metrics["run"].isin(metrics.loc[metrics["split"] == "val", "run"])
    judged = metrics["split"] == pd.Series("test", index=metrics.index).mask(validated, "val")
    reached = metrics[judged & (metrics["accuracy"] >= target)].sort_values("epoch").groupby("run").first()
    reached = reached[["epoch", "seconds"]].astype(float).reindex(metrics["run"].unique(), fill_value=np.inf)
    reached.columns = pd.Index(["epochs_to_target", "seconds_to_target"])
    return reached


def _choose(runs: pd.DataFrame, tuned: Sequence[str]) -> list[str]:
    """The runs of each cell's chosen setting: the best mean accuracy on validation.

    A diverged run counts as accuracy 0. Without a validation split the training accuracy decides, never the test's.
    """
    judge = "val_accuracy" if runs["val_accuracy"].notna().any() else "train_accuracy"
    score = runs[judge].where(runs["status"] != DIVERGED, 0.0).where(runs["status"] != FAILED, np.nan)
    chosen: list[str] = []
    for _, cell in runs.groupby(CELL):
        settings = [part for _, part in cell.groupby(list(tuned), dropna=False)] if tuned else [cell]
        means = [score.loc[part.index].mean() for part in settings]
        best = int(np.nanargmax(means)) if np.isfinite(means).any() else 0
        chosen += list(settings[best].index)
    return chosen


def _summarise(runs: pd.DataFrame, chosen: pd.DataFrame, tuned: Sequence[str]) -> pd.DataFrame:
    rows = []
    for cell, of_cell in runs.groupby(CELL):
        ours = chosen.loc[chosen.index.isin(of_cell.index)]
        done = ours[ours["status"] == COMPLETED]
        row = dict(zip(CELL, cell, strict=True)) | {key: ours[key].iloc[0] for key in tuned}
        row |= {
            "n": len(done),
            "diverged": int((of_cell["status"] == DIVERGED).sum()),
            "failed": int((of_cell["status"] == FAILED).sum()),
        }
        for measure in MEASURES:
            names = [f"{measure}_{name}" for name in ("mean", "std", "ci_low", "ci_high")]
            row |= dict(zip(names, mean_interval(done[measure]), strict=True))
        # The median, as a run that misses the target took infinitely long and must not be left out.
        row |= {key: done[key].median() if len(done) else np.nan for key in ("epochs_to_target", "seconds_to_target")}
        row["seconds_mean"] = done["seconds"].mean()
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("test_accuracy_mean", ascending=False, na_position="last", kind="stable")
    return table.reset_index(drop=True)


def _curves(metrics: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    joined = metrics.join(runs[CELL], on="run", how="inner")
    for key, part in joined.groupby([*CELL, "split", "epoch"]):
        row = dict(zip([*CELL, "split", "epoch"], key, strict=True)) | {"n": len(part)}
        for measure in ("loss", "accuracy"):
            mean, _, low, high = mean_interval(part[measure])
            row |= {measure: mean, f"{measure}_low": low, f"{measure}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _runs_table(runs: pd.DataFrame, tuned: Sequence[str], others: Sequence[str]) -> pd.DataFrame:
    keys = dict.fromkeys([*CELL, *tuned, *others, REPLICATE])
    metrics = [f"{split}_{measure}" for split in ("test", "val", "train") for measure in ("accuracy", "loss")]
    best = [
        "best_epoch",
        "best_epoch_val_accuracy",
        "best_epoch_test_accuracy",
        "epochs_to_target",
        "seconds_to_target",
    ]
    columns = [*keys, "status", "reason", *metrics, *best, "seconds", "config_hash"]
    runs = runs.copy()
    runs.loc[runs["status"] != COMPLETED, [*metrics, *best]] = (
        np.nan
    )  # it has no final numbers, as it did not get there
    return runs[columns].sort_values([*CELL, *tuned, REPLICATE])


def _notes(runs: pd.DataFrame, chosen: pd.DataFrame, summary: pd.DataFrame, tuned: Sequence[str]) -> list[str]:
    notes = []
    if chosen[REPLICATE].nunique() == 1:
        notes.append("One seed a cell: a difference may be chance. Several seeds (seed=0,1,2,3,4) give intervals.")
    elif summary["n"].nunique() > 1:
        notes.append("The cells have unequal numbers of seeds.")
    if "optim.lr" not in tuned:
        notes.append(
            "Learning rates are not tuned: each optimizer ran at one value, so this ranks settings, not optimizers. "
            "Several values (optim.lr=1e-3,1e-2,1e-1) are tuned on validation."
        )
    judge = (
        "training accuracy, as there is no validation split,"
        if runs["val_accuracy"].isna().all()
        else "validation accuracy"
    )
    for key in tuned:
        values = ", ".join(sorted(map(as_typed, runs[key].unique())))
        notes.append(f"{key} was chosen in each cell among {values}, by {judge}; runs.csv has them all.")
    if (count := int((runs["status"] == DIVERGED).sum())) > 0:
        notes.append(
            f"{count} of {len(runs)} runs diverged. They are counted over all settings of their cell; the means and n "
            "are of the completed runs at the chosen setting."
        )
    if (count := int((runs["status"] == FAILED).sum())) > 0:
        notes.append(f"{count} of {len(runs)} runs failed and have no numbers.")
    return notes


def as_typed(value: object) -> str:
    """A configuration value as one types it; NaN stands for null in a column of numbers."""
    if isinstance(value, float):
        return "null" if np.isnan(value) else f"{value:g}"
    return "null" if value is None else str(value)
