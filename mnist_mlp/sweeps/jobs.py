"""Jobs of a sweep as directories: their states, and the work that is left.

All state is in the files that the jobs write, so it is right under every launcher, in this process or on another host,
and survives whatever kills a process. There is no Hydra here.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from mnist_mlp.base import schema
from mnist_mlp.base.directories import find_runs
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interrupts import INTERRUPTED, kept_from_workers
from mnist_mlp.base.provenance import code, file_of
from mnist_mlp.base.reading import Unreadable, defect, read_metrics, read_summary
from mnist_mlp.base.record import COMPLETED, DIVERGED, RUN_FILE, RunWriter

log = logging.getLogger(__name__)

FINISHED = (COMPLETED, DIVERGED)  # statuses that are results
STOP_FILE = ".stop"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: what sets it apart on the command line.
        directory: where it writes.
        config_hash: of its configuration.
        data_digest: of its data.
        epochs: that it trains for.
        stack: jobs with the same could be trained together on a GPU (see `mnist_mlp.build.stack_plan`); None for one
            that could not, or has no GPU.
        code: the user's own that it runs (see `mnist_mlp.base.provenance.code`).
        choices: group to option.
        config: plain (see `mnist_mlp.base.configuration.plain`).
        test_images: that its accuracy will be measured on.
        steps: Number of training steps of the run.
        step_seconds: Time of a training step on the CPU, as measured; None if unknown.
    """

    overrides: tuple[str, ...]
    directory: Path
    config_hash: str
    data_digest: str
    epochs: int = 1
    stack: str | None = None
    code: Mapping[str, str] = field(default_factory=dict, hash=False)
    choices: Mapping[str, str] = field(default_factory=dict, hash=False)
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    test_images: int = 0
    steps: int = 0
    step_seconds: float | None = field(default=None, compare=False)  # no two measurements are equal

    def summary(self) -> Any:
        """The content of its `run.json`, whatever that is; None where there is none that can be read."""
        return read_summary(self.directory / RUN_FILE)

    def status(self) -> str | None:
        """How it ended; None where it has not."""
        return status_of(self.directory)


def status_of(directory: Path) -> str | None:
    """Return how the run of a directory has ended; None if it has not."""
    summary = read_summary(directory / RUN_FILE)
    return summary.get("status") if isinstance(summary, dict) else None


def is_current(directory: Path, version: str) -> bool:
    """Return whether a run has a result that its configuration would have today, as far as code is concerned.

    Args:
        directory: Directory of the run.
        version: Version of this package.
    """
    summary = _result_of(directory)
    if summary is None or summary["environment"]["package"] != version:
        return False
    return bool(summary["code"] == code(summary["config"]))


@dataclass(frozen=True)
class Assignment:
    """What one job is to do, and where.

    Attributes:
        config: plain (see `mnist_mlp.base.configuration.plain`).
        directory: of the run.
        choices: group to option.
        overrides: what sets it apart on the command line.
        config_hash: of the configuration (see `mnist_mlp.sweeps.job_id.config_hash`).
    """

    config: Mapping[str, Any]
    directory: Path
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    config_hash: str

    def writer(self, sharing: int = 1) -> RunWriter:
        """Begin the run's directory; `sharing` as in `RunWriter`."""
        writer = RunWriter(self.directory, sharing)
        writer.describe(
            config_hash=self.config_hash,
            choices=dict(self.choices),
            config=dict(self.config),
            overrides=list(self.overrides),
            code=code(self.config),
        )
        return writer


def distinct(jobs: Iterable[Job], top: Path) -> list[Job]:
    """Those jobs that can give different results, once each.

    Args:
        jobs: of a sweep.
        top: the sweep's directory.

    Raises:
        UserError: two of them would write into one directory, or one into a directory inside the other's.
    """
    unique: dict[tuple[str, str], Job] = {}
    for job in jobs:
        unique.setdefault((job.config_hash, job.data_digest), job)
    places: dict[Path, Job] = {}
    for job in unique.values():
        place = Path(os.path.normpath(job.directory))
        if Path(os.path.normpath(top)) not in place.parents:
            raise UserError(f"hydra.sweep.subdir: {job.directory} is not below the sweep's directory {top}")
        if (other := places.setdefault(place, job)) is not job:
            raise UserError(_collision(other, job, f"one directory, {place}"))
    for place, job in places.items():
        for outer in set(place.parents) & places.keys():
            raise UserError(_collision(places[outer], job, f"directories one inside the other, {outer} and {place}"))
    return list(unique.values())


def _collision(one: Job, two: Job, what: str) -> str:
    words = "\n".join(f"  {' '.join(job.overrides) or '(no overrides)'}" for job in (one, two))
    return (
        f"hydra.sweep.subdir: two different jobs have {what}:\n{words}\n"
        "allowed is a name that tells every two jobs apart, as the default does"
    )


def finished_jobs(jobs: Sequence[Job], version: str, replace_changed: bool = False) -> list[Job]:
    """Return the jobs that have a result already, which need not be trained again.

    A result does not count as that of its job if it comes from another version of the package, another text of
    user-defined code, other data, or a configuration whose hash merely begins alike.

    Args:
        jobs: All jobs of a sweep.
        version: Version of this package.
        replace_changed: Whether jobs with such a result count as unfinished.

    Raises:
        UserError: There is such a result, which is neither mixed in silently nor replaced without being asked.
    """
    finished, foreign = [], []
    for job in jobs:
        if not (job.directory / RUN_FILE).exists():
            continue
        summary = job.summary()
        if why := _no_result(summary):
            log.warning("%s: its %s is damaged (%s), so it will be trained again", job.directory, RUN_FILE, why)
            continue
        if summary["status"] not in FINISHED:
            continue
        try:
            read_metrics(job.directory, summary)
        except Unreadable as error:  # no report would count it
            log.warning("%s: %s, so it will be trained again", job.directory, error)
            continue
        if different := _differences(job, summary, version):
            foreign.append(f"{job.directory}: {'; '.join(different)}")
            if replace_changed:
                continue
        finished.append(job)
    if foreign and not replace_changed:
        raise UserError(
            f"{len(foreign)} of {len(finished)} finished results there are not comparable with what this command would "
            f"add, such as\n  {foreign[0]}\nforce={schema.CHANGED} trains these again and replaces them, force=true "
            "trains all again; another hydra.sweep.dir=DIR keeps them"
        )
    return finished


def refuse_other_versions(jobs: Sequence[Job], top: Path, version: str) -> None:
    """See that a sweep's directory holds no results of another version under names that no job has today.

    The names end in a hash of the configuration, which holds within one version: those results would be trained again
    beside the old ones, and be reported on together.

    Args:
        jobs: all of the sweep.
        top: the sweep's directory.
        version: this package's.

    Raises:
        UserError: there is one.
    """
    ours = {job.directory for job in jobs}
    for directory in find_runs(top, is_sweep=True).runs:
        if directory in ours:
            continue
        summary = _result_of(directory)
        if summary and (theirs := summary["environment"]["package"]) != version:
            raise UserError(
                f"{top} holds results of version {theirs}, such as {directory.name}; this is version {version}, "
                "which names its jobs differently and would train them all again. To resume, install that version; "
                "to start again, give another hydra.sweep.dir=DIR or force=true"
            )


def _result_of(directory: Path) -> Mapping[str, Any] | None:
    """Return the `run.json` of a run that has a result; None if it has no result."""
    summary = read_summary(directory / RUN_FILE)
    return None if _no_result(summary) or summary["status"] not in FINISHED else summary


def _no_result(summary: Any) -> str | None:
    """What the content of a `run.json` lacks to be compared with today's jobs; None where that is nothing."""
    if why := defect(summary):
        return why
    if summary["status"] not in FINISHED:
        return None
    for key, fact in (("environment", "package"), ("data", "digest")):
        if not isinstance(summary.get(key, {}).get(fact), str):
            return f"it has no {key}.{fact}"
    return None


def _differences(job: Job, summary: Mapping[str, Any], version: str) -> list[str]:
    """In what a result is of another making than the job would be today."""
    theirs = {
        "version": summary["environment"]["package"],
        "data": summary["data"]["digest"],
        "configuration": summary["config_hash"],
    }
    ours = {"version": version, "data": job.data_digest, "configuration": job.config_hash}
    different = [f"{name} {theirs[name]} instead of {ours[name]}" for name in ours if theirs[name] != ours[name]]
    before = summary["code"]
    return different + [
        f"the code of {name} ({file_of(name)}) has changed since"
        for name in sorted(before.keys() | job.code.keys())
        if before.get(name) != job.code.get(name)
    ]


@contextmanager
def interruptible(farewell: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, kill every process that this one has started, say something, and end with status 130.

    Killing is safe, as results are written atomically; asking politely is not, as a launcher's own way to wind down can
    outlast anyone's patience. For the same reason the process ends at once, without the libraries' exit hooks.

    Args:
        farewell: gives the last words.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                # joblib's tracker ends by itself when this process has, and removes what its workers have left behind.
                if not any("resource_tracker" in word for word in child.cmdline()):
                    child.kill()
        print(f"\n{signal.Signals(number).name}: every worker has been stopped. {farewell()}", flush=True)
        os._exit(INTERRUPTED)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with kept_from_workers(lambda: leave(signal.SIGINT, None)):
            yield
    except SystemExit:  # Ray puts a handler of its own in place of ours, which does this
        leave(signal.SIGTERM, None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
