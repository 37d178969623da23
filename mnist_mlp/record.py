"""What a run leaves behind: `metrics.csv`, `steps.csv`, `run.json`. Their columns and keys are defined here alone."""

import csv
import json
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

METRICS_FILE = "metrics.csv"
STEPS_FILE = "steps.csv"
RUN_FILE = "run.json"

COMPLETED = "completed"
DIVERGED = "diverged"
FAILED = "failed"
STATUSES = (COMPLETED, DIVERGED, FAILED)


class Diverged(Exception):
    """A loss stopped being finite: the run has ended, and that is its result."""


class Metrics(NamedTuple):
    """One row of `metrics.csv`: one epoch, one split.

    Attributes:
        epoch: 0 is the network before training.
        step: training steps so far.
        split: train, val or test.
        loss: mean cross-entropy in nats.
        accuracy: fraction in [0, 1].
        lr: learning rate of the optimizer's first parameter group.
        seconds: training time so far, without evaluation.
    """

    epoch: int
    step: int
    split: str
    loss: float
    accuracy: float
    lr: float
    seconds: float


class StepLoss(NamedTuple):
    """One row of `steps.csv`: the loss of one training batch, in nats."""

    step: int
    epoch: int
    loss: float
    lr: float


Record = Metrics | StepLoss


class RunWriter:
    """Writes one run directory; a context manager.

    Rows are flushed with each epoch, so that a killed run leaves what it had. `run.json` comes last and by an atomic
    rename: where it is, the run has ended. An older run's files in the directory are replaced.

    Args:
        directory: made where it does not exist.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (RUN_FILE, METRICS_FILE, STEPS_FILE):
            (self.directory / name).unlink(missing_ok=True)
        names: dict[type[Record], str] = {Metrics: METRICS_FILE, StepLoss: STEPS_FILE}
        self._files = {kind: self._open(name) for kind, name in names.items()}
        self._rows = {kind: csv.writer(file, lineterminator="\n") for kind, file in self._files.items()}
        for kind, rows in self._rows.items():
            rows.writerow(kind._fields)
        self.facts: dict[str, Any] = {}
        self.final: dict[str, dict[str, float]] = {}
        self._started = time.perf_counter()
        self.seconds = 0.0

    def _open(self, name: str) -> TextIO:
        return (self.directory / name).open("w", newline="", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()

    def write(self, record: Record) -> None:
        """Append one row to the file of its kind."""
        self._rows[type(record)].writerow(record)
        if isinstance(record, Metrics):
            self.final[record.split] = {"loss": record.loss, "accuracy": record.accuracy, "epoch": record.epoch}
            self.seconds = record.seconds
            for file in self._files.values():
                file.flush()

    def describe(self, **facts: Any) -> None:
        """Add entries to the `run.json` to come."""
        self.facts |= facts

    def finish(self, status: str, reason: str | None = None) -> None:
        """Write `run.json`, after which the run counts as ended.

        Args:
            status: completed, diverged or failed.
            reason: why it is not completed.
        """
        for file in self._files.values():
            file.flush()
        summary = {
            "status": status,
            "reason": reason,
            "final": self.final,
            "seconds": self.seconds,
            "wall_seconds": time.perf_counter() - self._started,  # with evaluation and everything else
            **self.facts,
        }
        write_atomically(self.directory / RUN_FILE, json.dumps(finite(summary), indent=2, allow_nan=False) + "\n")


def finite(content: Any) -> Any:
    """The same with null for what JSON has no number for."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or, after a crash, none (or what was there before)."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
