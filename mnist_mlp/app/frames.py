"""Results of sweeps as data frames: runs, curves and step losses, and their comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnist_mlp.analysis import compare_sweeps
from mnist_mlp.analysis import load as runs_below
from mnist_mlp.analysis.outcomes import additional_metrics, final_and_best
from mnist_mlp.analysis.roles import varying_keys
from mnist_mlp.base import schema
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.record import COMPLETED, STEPS_FILE, StepLoss
from mnist_mlp.report import tables
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.headline import headline

if TYPE_CHECKING:  # PyTorch is imported only to load a model
    from torch import nn

    from mnist_mlp.analysis.comparison import Comparison as Section

FINAL = [f"{split}_{measure}" for split in ("test", "val", "train") for measure in ("accuracy", "loss")]


@dataclass(frozen=True)
class Runs:
    """Runs of sweeps as tidy tables.

    Attributes:
        directories: Sweep or run directories.
        runs: One row per run, indexed by its directory: the options of all groups, `seed`, every other key that varies,
            `status` (completed, diverged, failed), `reason`, `seconds` (training), and after the last epoch
            `test_accuracy`, `test_loss`, `val_accuracy`, `val_loss`, `train_accuracy`, `train_loss`, and `test_` and
            `val_` of each additional metric.
        curves: One row per run, epoch and split: `run`, the columns of `metrics.csv`, and the keys of `runs`.
        steps: One row per `log_interval` steps of a run: `run`, the columns of `steps.csv`, and the keys of `runs`.
        left_out: Reason for each directory whose run has no readable result.
    """

    directories: tuple[Path, ...]
    runs: pd.DataFrame
    curves: pd.DataFrame
    steps: pd.DataFrame
    left_out: dict[str, str]

    def model(self, run: "str | Path | pd.Series", epoch: int | str = schema.LAST) -> "nn.Module":
        """Return the trained model of a run (see `load_model`).

        Args:
            run: Run directory, or a row of `runs`.
            epoch: See `load_model`.
        """
        from mnist_mlp.build.stored import load_model

        return load_model(str(run.name) if isinstance(run, pd.Series) else run, epoch)


def load(*directories: str | Path) -> Runs:
    """Load the runs in or below directories.

    Args:
        *directories: Sweep or run directories.

    Raises:
        UserError: A directory does not exist, or there is no run.

    Example:
        >>> results = load("multirun/small")
        >>> results.runs.groupby("optim")["test_accuracy"].count().to_dict()
        {'adam': 3, 'sgd': 3}
    """
    places = tuple(map(Path, directories))
    if gone := [str(place) for place in places if not place.is_dir()]:
        raise UserError(f"{', '.join(gone)}: there is no such directory")
    results = runs_below.load(places)
    if results.runs.empty:
        raise UserError(f"{', '.join(map(str, places))}: expected at least one run")
    others = [key for key in varying_keys(results.runs) if key not in (*schema.GROUPS, "seed")]
    keys = results.runs[[*schema.GROUPS, "seed", *others]]
    additional = [f"{split}_{name}" for name in additional_metrics(results.metrics) for split in ("test", "val")]
    final = final_and_best(results.metrics).reindex(columns=[*FINAL, *additional])
    runs = keys.join(results.runs[["status", "reason", "seconds"]]).join(final)
    runs.loc[runs["status"] != COMPLETED, final.columns] = float("nan")  # an incomplete run has no final metrics
    steps = [_steps(str(run)) for run in runs.index]
    return Runs(
        directories=places,
        runs=runs,
        curves=results.metrics.join(keys, on="run"),
        steps=pd.concat(steps, ignore_index=True).join(keys, on="run"),
        left_out={problem.run: problem.why for problem in results.problems},
    )


def _steps(run: str) -> pd.DataFrame:
    """Return the step losses of a run; empty if the file is missing or damaged."""
    try:
        table = pd.read_csv(Path(run) / STEPS_FILE)[list(StepLoss._fields)]
    except (OSError, ValueError, KeyError):
        table = pd.DataFrame(columns=list(StepLoss._fields))
    return table.assign(run=run)[["run", *StepLoss._fields]]


@dataclass(frozen=True)
class Comparison:
    """Comparison of the cells of sweeps, as in the report. `print` gives its words.

    Attributes:
        headline: What differs, in one or two sentences; empty if no difference was tested.
        facts: Facts below the headline.
        leaderboard: One row per cell, the best first, as in `summary.csv`.
        pairs: One row per pair of cells, as in `pairs.csv`.
        effects: One row per main effect and interaction, as in `effects.csv`.
        effect_differences: One row per difference behind the effects, as in `effect_differences.csv`.
        notes: Caveats.
    """

    headline: str
    facts: tuple[str, ...]
    leaderboard: pd.DataFrame
    pairs: pd.DataFrame
    effects: pd.DataFrame
    effect_differences: pd.DataFrame
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.headline, *(f"- {fact}" for fact in self.facts), *(f"note: {note}" for note in self.notes)]
        return "\n".join(line for line in lines if line)


def compare(
    results: "Runs | str | Path",
    by: Sequence[str] | None = None,
    margin: float | None = None,
    target: float | None = None,
    where: Sequence[str] = (),
    at: str = schema.LAST,
    metric: str = ACCURACY.name,
) -> Comparison:
    """Compare the cells of a sweep by the tests of the report.

    For a table of your own, use `mnist_mlp.stats.compare_pairs`.

    Args:
        results: Result of `load` or `sweep`, or a sweep directory.
        by: Compared keys; None for those that the sweep recorded.
        margin: Equivalence margin in percentage points; None for that of the sweep.
        target: Accuracy in (0, 1] to compare times to; None for 0.97 on MNIST.
        where: Conditions such as `"optim=adam,sgd"`, for a part of the runs.
        at: Epoch whose scores are compared: "last"; or "best", the epoch of each run with the highest validation
            accuracy.
        metric: Metric of the test images that is compared: the accuracy, or an additional metric of the runs.

    Raises:
        UserError: An argument is invalid, or the runs have several data sets or evaluation conditions, which are not
            comparable.

    Example:
        >>> comparison = compare("multirun/small")
        >>> comparison.pairs[["optim_a", "optim_b", "n"]].to_numpy().tolist()
        [['adam', 'sgd', 3]]
        >>> print(comparison.facts[0].partition(":")[0])
        he / adam scored highest
    """
    return _as_frames(section_of(results, margin, at, target=target, by=by, where=where, metric=metric))


def section_of(
    results: "Runs | str | Path", margin: float | None = None, at: str = schema.LAST, **how: Any
) -> "Section":
    """Return the comparison of a sweep that has a single section. Arguments and errors are those of `compare`."""
    directories = results.directories if isinstance(results, Runs) else (Path(results),)
    if at not in (schema.LAST, schema.BEST):
        raise UserError(f"at={at}: expected {schema.LAST} or {schema.BEST}")
    points = None if margin is None else margin / 100
    _, sections = compare_sweeps(directories, margin=points, at=at, **how)
    if len(sections) > 1:
        raise UserError(f"expected runs of one section, not {'; '.join(sections)}. Pass where=[...] to select one.")
    (section,) = sections.values()
    return section


def _as_frames(section: "Section") -> Comparison:
    return Comparison(
        headline=headline(section),
        facts=tuple(answer(section)),
        leaderboard=tables.summary_csv(section),
        pairs=tables.pairs_csv(section),
        effects=tables.effects_csv(section),
        effect_differences=tables.effect_differences_csv(section),
        notes=tuple(map(str, section.notes)),
    )
