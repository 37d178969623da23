"""Files of a run directory: `metrics.csv`, `steps.csv`, `run.json`, their columns and keys."""

import csv
import io
import json
import math
import os
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

METRICS_FILE = "metrics.csv"
STEPS_FILE = "steps.csv"
RUN_FILE = "run.json"
WEIGHTS = "weights"  # folder of the saved weights

SPLITS = ("train", "val", "test")

COMPLETED = "completed"
DIVERGED = "diverged"
FAILED = "failed"
STATUSES = (COMPLETED, DIVERGED, FAILED)


class Diverged(Exception):
    """A loss that is not finite, which ends the run and counts as its result."""


class Metrics(NamedTuple):
    """One row of `metrics.csv`: an epoch on a split.

    Attributes:
        epoch: Number of epochs completed; 0 is the network before training.
        step: Number of training steps so far.
        split: Data split: train, val or test.
        loss: Mean cross-entropy in nats.
        accuracy: Fraction of correct predictions, in [0, 1].
        lr: Learning rate of the optimizer's first parameter group.
        seconds: Training time so far, without evaluation.
        metrics: Values of the additional metrics, in their order; NaN if undefined. Empty without such metrics.
    """

    epoch: int
    step: int
    split: str
    loss: float
    accuracy: float
    lr: float
    seconds: float
    metrics: tuple[float, ...] = ()


COLUMNS = Metrics._fields[:-1]  # of `metrics.csv`; a column per additional metric follows


def validation_rank(row: Metrics) -> tuple[float, float]:
    """Return the rank of an epoch by its row on the validation split; the best epoch is the first of the largest."""
    return row.accuracy, -row.loss


class StepLoss(NamedTuple):
    """One row of `steps.csv`: the loss of one training batch, in nats."""

    step: int
    epoch: int
    loss: float
    lr: float


Record = Metrics | StepLoss
FILES: dict[type[Record], str] = {Metrics: METRICS_FILE, StepLoss: STEPS_FILE}


class Observer(Protocol):
    """Source of further outputs of a run, such as its weights or additional metrics."""

    def add(self, record: Metrics) -> Metrics:
        """Handle a row of `metrics.csv`, and return it with the observer's metrics. The model is in its state."""

    def facts(self) -> Mapping[str, Any]:
        """Return entries of `run.json`."""


WEIGHTS_FILES = "epoch_*.safetensors"  # pattern of the names


def weights_name(epoch: int) -> str:
    """Return the name of the file with the weights after an epoch."""
    return f"epoch_{epoch:02}.safetensors"


class Recorder:
    """Records of one run, in memory.

    Attributes:
        columns: Names of the columns by type of record.
        rows: Rows by type of record.
        facts: Entries of `run.json`.
        final: Last loss, accuracy and epoch of each split.
        seconds: Training time so far.
        observers: Sources of further outputs, which get each row of `metrics.csv` in turn.

    Args:
        metrics: Names of the additional metrics.
    """

    def __init__(self, metrics: Sequence[str] = ()) -> None:
        self.columns: dict[type[Record], tuple[str, ...]] = {
            Metrics: (*COLUMNS, *metrics),
            StepLoss: StepLoss._fields,
        }
        self.rows: dict[type[Record], list[tuple[Any, ...]]] = {kind: [] for kind in FILES}
        self.facts: dict[str, Any] = {}
        self.final: dict[str, dict[str, float]] = {}
        self.seconds = 0.0
        self.observers: list[Observer] = []

    def describe(self, **facts: Any) -> None:
        """Add entries to the `run.json` of the run."""
        self.facts |= facts

    def write(self, record: Record) -> None:
        """Add a record."""
        if isinstance(record, Metrics):
            for observer in self.observers:
                record = observer.add(record)
            *values, additional = record
            names = self.columns[Metrics][len(COLUMNS) :]
            # A split without additional metrics, such as train, has empty columns.
            additional = additional or (math.nan,) * len(names)
            self.rows[Metrics].append((*values, *additional))
            measured = {"loss": record.loss, "accuracy": record.accuracy, "epoch": record.epoch}
            self.final[record.split] = measured | dict(zip(names, additional, strict=True))
            self.seconds = record.seconds
            self._flush()
        else:
            self.rows[StepLoss].append(tuple(record))

    def _flush(self) -> None:
        """Keep the rows."""


class RunWriter(Recorder):
    """Writer of one run directory.

    Rows are written once per epoch, so a killed run keeps its completed epochs. Step losses wait for the next
    `Metrics`. Files are not kept open, since one process may write hundreds of runs. `run.json` is written last and
    atomically: if it exists, the run has ended. Files of an earlier run in the directory are replaced.

    Args:
        directory: Run directory, created if missing.
        sharing: Number of runs that the process trains at once; `wall_seconds` is divided by it.
        metrics: Names of the additional metrics.
    """

    def __init__(self, directory: str | Path, sharing: int = 1, metrics: Sequence[str] = ()) -> None:
        super().__init__(metrics)
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (RUN_FILE, *FILES.values()):
            (self.directory / name).unlink(missing_ok=True)
        for path in (self.directory / WEIGHTS).glob(WEIGHTS_FILES):
            path.unlink()
        for kind in FILES:
            self._append(kind, [self.columns[kind]])
        self._written = dict.fromkeys(FILES, 0)
        self._started, self._sharing = time.perf_counter(), sharing

    def _flush(self) -> None:
        for kind, rows in self.rows.items():
            if new := rows[self._written[kind] :]:
                self._append(kind, map(_with_gaps, new) if kind is Metrics else new)
                self._written[kind] = len(rows)

    def _append(self, kind: type[Record], rows: Iterable[Iterable[object]]) -> None:
        """Append rows to a file; if that fails, restore its previous content and raise."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with (self.directory / FILES[kind]).open("ab", buffering=0) as file:
            before, left = file.tell(), memoryview(text.getvalue().encode())
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError:
                file.truncate(before)
                raise

    def end(self, error: BaseException | None = None) -> float | None:
        """Write `run.json`, which marks the run as ended.

        Args:
            error: Exception that ended the run: `Diverged` counts as a result, any other as a failure. None if the run
                is completed.

        Returns:
            Objective that a sweeper maximizes. This is the final accuracy on validation (or on training, without a
            validation split); 0 if the run diverged, None if it failed.
        """
        if error is None:
            self._flush()
            self._finish(COMPLETED, None)
            return self.final["val" if "val" in self.final else "train"]["accuracy"]
        if isinstance(error, Diverged):
            self._flush()
            self._finish(DIVERGED, str(error))
            return 0.0
        self.describe(traceback="".join(traceback.format_exception(error)))
        with suppress(OSError):  # a full disk may be why the run failed
            self._flush()
        self._finish(FAILED, f"{type(error).__name__}: {error}")
        return None

    def _finish(self, status: str, reason: str | None) -> None:
        summary = {
            "status": status,
            "reason": reason,
            "ended": datetime.now(UTC).isoformat(timespec="microseconds"),
            "final": self.final,
            "seconds": self.seconds,
            # includes evaluation
            "wall_seconds": (time.perf_counter() - self._started) / self._sharing,
            **self.facts,
            **{key: value for observer in self.observers for key, value in observer.facts().items()},
        }
        write_atomically(self.directory / RUN_FILE, json.dumps(finite(summary), indent=2, allow_nan=False) + "\n")


def _with_gaps(row: Sequence[Any]) -> Iterable[Any]:
    """Return a row of `metrics.csv` whose undefined additional metrics are empty."""
    return [*row[: len(COLUMNS)], *("" if math.isnan(value) else value for value in row[len(COLUMNS) :])]


def finite(content: Any) -> Any:
    """Replace NaN and infinities by None, for JSON."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically: a reader sees the new content or the previous one, even after a crash."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
