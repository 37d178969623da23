"""Progress display of runs and sweeps."""

import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Self, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mnist_mlp.base.record import COMPLETED, DIVERGED, FAILED, METRICS_FILE, Metrics, Record
from mnist_mlp.sweeps.jobs import Job

log = logging.getLogger(__name__)

RUNNING = "running"
POLL_SECONDS = 0.5
PLAIN_SECONDS = 30.0  # between progress lines of a sweep if the output is not a terminal
DELAY_SECONDS = 1.0  # before `count_items` draws a progress bar
LINE_SECONDS = 10.0  # between lines of `count_items` if the output is not a terminal
T = TypeVar("T")


class EpochLines:
    """Log of a run with one line per epoch.

    Args:
        epochs: Number of epochs of the run.
        log: Logger that gets the lines.
    """

    def __init__(self, epochs: int, log: logging.Logger = log) -> None:
        self.epochs, self.log = epochs, log
        self._line: list[str] = []

    def add(self, record: Record) -> None:
        """Add the next record of the run. The last record of an epoch logs the line."""
        if not isinstance(record, Metrics):
            return
        self._line.append(f"{record.split} {record.loss:.4f} ({record.accuracy:.2%})")
        if record.split == "test":  # the last split of an epoch
            line = "  ".join(self._line)
            self.log.info("epoch %d/%d  %s  %.1f s", record.epoch, self.epochs, line, record.seconds)
            self._line.clear()


def show_progress(records: Iterable[Record], epochs: int, steps: int, bar: bool) -> Iterator[Record]:
    """Yield the records of a run, and show their progress.

    Args:
        records: Records from `mnist_mlp.training.loop.train`.
        epochs: Number of epochs of the run.
        steps: Number of training steps of the run.
        bar: Whether to draw a progress bar if the output is a terminal.
    """
    lines = EpochLines(epochs)
    on_terminal = bar and sys.stderr.isatty()
    with (
        logging_redirect_tqdm() if on_terminal else nullcontext(),
        tqdm(total=steps, unit="step", disable=not on_terminal, leave=False) as meter,
    ):
        for record in records:
            meter.update(record.step - meter.n)
            lines.add(record)
            yield record


def count_items(items: Iterable[T], total: int | None, what: str, shown: bool) -> Iterator[T]:
    """Yield items, and show their count on standard error.

    A terminal gets a progress bar after `DELAY_SECONDS`; other output gets a line every `LINE_SECONDS`.

    Args:
        items: Items.
        total: Number of items; None if unknown.
        what: Label of the count, such as "jobs checked".
        shown: Whether to show anything.
    """
    on_terminal = shown and sys.stderr.isatty()
    said = time.monotonic()
    with (
        logging_redirect_tqdm() if on_terminal else nullcontext(),
        tqdm(total=total, desc=what, unit="job", delay=DELAY_SECONDS, disable=not on_terminal, leave=False) as meter,
    ):
        for number, item in enumerate(items, start=1):
            yield item
            meter.update()
            if shown and not on_terminal and time.monotonic() - said >= LINE_SECONDS:
                said = time.monotonic()
                print(f"{number} of {total} {what}" if total else f"{number} {what}", file=sys.stderr, flush=True)


class Progress:
    """Status line of a running sweep; a context manager.

    Args:
        jobs: Jobs to train.
        skipped: Number of other jobs of the sweep, which are finished.
        shown: Whether to show anything.
    """

    def __init__(self, jobs: Sequence[Job], skipped: int, shown: bool) -> None:
        self.jobs = jobs
        self.skipped = skipped
        self.shown = shown
        self.started = time.time()
        self.ended: dict[Job, str] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self.shown and self.jobs:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def counts(self) -> Counter[str]:
        """Return the number of jobs in each state (running, completed, diverged, failed), from their files."""
        for job in self.jobs:
            if job not in self.ended and (status := job.status()):
                self.ended[job] = status
        running = sum(job not in self.ended and self._has_started(job) for job in self.jobs)
        return Counter(self.ended.values()) + Counter({RUNNING: running})

    def line(self) -> str:
        """Return the state of the sweep in one line, with the time left if it can be estimated."""
        counts = self.counts()
        total = len(self.jobs)
        elapsed = time.time() - self.started
        done = len(self.ended) + sum(map(self._share_done, self.jobs))
        left = f", about {_clock(elapsed / done * (total - done))} left" if 0 < done < total else ""
        states = ", ".join(f"{counts[state]} {state}" for state in (RUNNING, FAILED, DIVERGED))
        finished = self.skipped + counts[COMPLETED] + counts[DIVERGED]
        return f"{finished} of {self.skipped + total} finished ({states}), {_clock(elapsed)} elapsed{left}"

    def _has_started(self, job: Job) -> bool:
        try:
            return (job.directory / METRICS_FILE).stat().st_mtime >= self.started
        except OSError:
            return False

    def _share_done(self, job: Job) -> float:
        """Return the completed fraction of a running job's epochs; 0 for other jobs."""
        if job in self.ended or not self._has_started(job):
            return 0.0
        try:
            last_row = (job.directory / METRICS_FILE).read_text(encoding="utf-8").splitlines()[-1]
            return int(last_row.partition(",")[0]) / max(job.epochs, 1)
        except (OSError, ValueError, IndexError):  # the file is being written, or has only its header
            return 0.0

    def _watch(self) -> None:
        if not sys.stderr.isatty():
            while not self._done.wait(PLAIN_SECONDS):
                log.info("%s", self.line())
            return
        with tqdm(total=len(self.jobs), bar_format="{desc}", leave=False) as bar:
            while not self._done.wait(POLL_SECONDS):
                bar.set_description_str(self.line())


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
