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
    """

    epoch: int
    step: int
    split: str
    loss: float
    accuracy: float
    lr: float
    seconds: float


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
    """Recorder of further outputs of a run, such as its weights."""

    def add(self, record: Metrics) -> None:
        """Handle a row of `metrics.csv` that has been written. The model is in the state of this row."""

    def facts(self) -> Mapping[str, Any]:
        """Return entries of `run.json`."""


def weights_name(epoch: int) -> str:
    """Return the name of the file with the weights after an epoch."""
    return f"epoch_{epoch:02}.safetensors"


class Recorder:
    """Records of one run, in memory.

    Attributes:
        rows: Records by type.
        facts: Entries of `run.json`.
        final: Last loss, accuracy and epoch of each split.
        seconds: Training time so far.
        observers: Recorders of further outputs, which get each row of `metrics.csv`.
    """

    def __init__(self) -> None:
        self.rows: dict[type[Record], list[Record]] = {kind: [] for kind in FILES}
        self.facts: dict[str, Any] = {}
        self.final: dict[str, dict[str, float]] = {}
        self.seconds = 0.0
        self.observers: list[Observer] = []

    def describe(self, **facts: Any) -> None:
        """Add entries to the `run.json` of the run."""
        self.facts |= facts

    def write(self, record: Record) -> None:
        """Add a record."""
        self.rows[type(record)].append(record)
        if isinstance(record, Metrics):
            self.final[record.split] = {"loss": record.loss, "accuracy": record.accuracy, "epoch": record.epoch}
            self.seconds = record.seconds
            self._flush()
            for observer in self.observers:
                observer.add(record)

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
    """

    def __init__(self, directory: str | Path, sharing: int = 1) -> None:
        super().__init__()
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (RUN_FILE, *FILES.values()):
            (self.directory / name).unlink(missing_ok=True)
        for path in (self.directory / WEIGHTS).glob("epoch_*.safetensors"):
            path.unlink()
        for kind in FILES:
            self._append(kind, [kind._fields])
        self._started, self._sharing = time.perf_counter(), sharing

    def _flush(self) -> None:
        for kind, rows in self.rows.items():
            if rows:
                self._append(kind, rows)
                rows.clear()

    def _append(self, kind: type[Record], rows: Sequence[Iterable[object]]) -> None:
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
