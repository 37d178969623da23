"""Jobs of a sweep as directories: their status, and the work that is left.

The state of a sweep is only in the files that its jobs write. It is therefore valid under every launcher and on every
host, and survives the death of any process.
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
from mnist_mlp.base.interrupts import INTERRUPTED, shield_workers
from mnist_mlp.base.provenance import code_digests, file_of
from mnist_mlp.base.reading import Unreadable, defect, read_metrics, read_summary
from mnist_mlp.base.record import COMPLETED, DIVERGED, RUN_FILE, WEIGHTS, RunWriter

log = logging.getLogger(__name__)

FINISHED = (COMPLETED, DIVERGED)  # statuses that count as results
STOP_FILE = ".stop"


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: Hydra overrides of the job.
        directory: Run directory.
        config_hash: Hash of the configuration (see `mnist_mlp.sweeps.job_id.config_hash`).
        data_digest: Digest of the data set.
        epochs: Number of epochs.
        stack: Text that is equal for jobs that can be trained as one stack on a GPU (see
            `mnist_mlp.build.stack_plan`); None if the job cannot be stacked or runs on the CPU.
        code: Digests of the user-defined modules of the job (see `mnist_mlp.base.provenance.code_digests`).
        choices: Selected option of each group, such as `adam` for `optim`.
        config: Plain configuration (see `mnist_mlp.base.configuration.plain`).
        test_images: Number of test images.
        steps: Number of training steps.
        step_seconds: Measured time of a training step on the CPU in seconds; None if not measured.
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
    step_seconds: float | None = field(default=None, compare=False)  # a measurement is not part of a job's identity

    def summary(self) -> Any:
        """Return the content of the job's `run.json`, unchecked; None if it is missing or not JSON."""
        return read_summary(self.directory / RUN_FILE)

    def status(self) -> str | None:
        """Return the job's status: completed, diverged or failed; None if it has not ended."""
        return status_of(self.directory)


def status_of(directory: Path) -> str | None:
    """Return the status of a run directory: completed, diverged or failed; None if the run has not ended."""
    summary = read_summary(directory / RUN_FILE)
    return summary.get("status") if isinstance(summary, dict) else None


def is_current(directory: Path, version: str) -> bool:
    """Return whether a run has a result of the current code: this version and unchanged user-defined modules.

    Args:
        directory: Run directory.
        version: Version of this package.
    """
    summary = _result_of(directory)
    if summary is None or summary["environment"]["package"] != version:
        return False
    return bool(summary["code"] == code_digests(summary["config"]))


@dataclass(frozen=True)
class Assignment:
    """Configuration and directory of a job that is about to run.

    Attributes:
        config: Plain configuration (see `mnist_mlp.base.configuration.plain`).
        directory: Run directory.
        choices: Selected option of each group.
        overrides: Hydra overrides of the job.
        config_hash: Hash of the configuration (see `mnist_mlp.sweeps.job_id.config_hash`).
    """

    config: Mapping[str, Any]
    directory: Path
    choices: Mapping[str, str]
    overrides: tuple[str, ...]
    config_hash: str

    def writer(self, sharing: int = 1) -> RunWriter:
        """Return a writer that has created the files of the run.

        Args:
            sharing: Number of runs that the process trains at once (see `RunWriter`).
        """
        writer = RunWriter(self.directory, sharing, list(self.config.get("metrics", {})))
        writer.describe(
            config_hash=self.config_hash,
            choices=dict(self.choices),
            config=dict(self.config),
            overrides=list(self.overrides),
            code=code_digests(self.config),
        )
        return writer


def drop_duplicates(jobs: Iterable[Job], top: Path) -> list[Job]:
    """Return the jobs without duplicates. Of several jobs with the same configuration and data, the first is kept.

    Args:
        jobs: Jobs of a sweep.
        top: Sweep directory.

    Raises:
        UserError: A job's directory is not below the sweep directory, is that of another job, or contains it.
    """
    unique: dict[tuple[str, str], Job] = {}
    for job in jobs:
        unique.setdefault((job.config_hash, job.data_digest), job)
    places: dict[Path, Job] = {}
    for job in unique.values():
        place = Path(os.path.normpath(job.directory))
        if Path(os.path.normpath(top)) not in place.parents:
            raise UserError(
                f"hydra.sweep.subdir: {job.directory}: expected a directory below the sweep directory {top}"
            )
        if (other := places.setdefault(place, job)) is not job:
            raise UserError(_collision(other, job, f"the same directory, {place}"))
    for place, job in places.items():
        for outer in set(place.parents) & places.keys():
            raise UserError(_collision(places[outer], job, f"nested directories, {outer} and {place}"))
    return list(unique.values())


def _collision(one: Job, two: Job, what: str) -> str:
    words = "\n".join(f"  {' '.join(job.overrides) or '(no overrides)'}" for job in (one, two))
    return (
        f"hydra.sweep.subdir: two different jobs have {what}:\n{words}\n"
        "Expected a unique name for each job, like the default."
    )


def find_results(jobs: Sequence[Job], version: str, replace_changed: bool = False) -> tuple[list[Job], list[Job]]:
    """Return the jobs that already have a result, and those whose result lacks only outputs that are asked for.

    A stored result is outdated if it comes from another version of the package, other user-defined code, other data, or
    a configuration with another hash. (The directory may match all the same: its name has eight digits of the hash.)

    Args:
        jobs: All jobs of a sweep.
        version: Version of this package.
        replace_changed: Whether jobs with an outdated result count as unfinished.

    Raises:
        UserError: A result is outdated, and `replace_changed` is false.
    """
    finished: list[Job] = []
    lacking: list[Job] = []
    foreign = []
    for job in jobs:
        if not (job.directory / RUN_FILE).exists():
            continue
        summary = job.summary()
        if why := _no_result(summary):
            log.warning("%s: its %s is damaged (%s); the job will be trained again", job.directory, RUN_FILE, why)
            continue
        if summary["status"] not in FINISHED:
            continue
        try:
            read_metrics(job.directory, summary)
        except Unreadable as error:  # the report would not count this run
            log.warning("%s: %s; the job will be trained again", job.directory, error)
            continue
        if different := _differences(job, summary, version):
            foreign.append(f"{job.directory}: {'; '.join(different)}")
            if replace_changed:
                continue
        lacks = lacks_weights(job.directory, job.config.get("save", schema.NO_WEIGHTS), summary)
        lacks = lacks or lacks_metrics(job.config.get("metrics", {}), summary)
        (lacking if lacks else finished).append(job)
    if foreign and not replace_changed:
        raise UserError(
            f"{len(foreign)} of {len(finished)} finished results there are not comparable with those that this command "
            f"would add, such as\n  {foreign[0]}\nforce={schema.CHANGED} retrains and replaces these, force=true "
            "retrains all; another hydra.sweep.dir=DIR keeps them."
        )
    return finished, lacking


def lacks_weights(directory: Path, save: str, summary: Mapping[str, Any]) -> bool:
    """Return whether a result lacks weights that are asked for. It has them if it lists them, and the files exist.

    A result with the weights of all epochs has those of the last and of the best epoch, too. A run that diverged may
    have none.

    Args:
        directory: Run directory.
        save: Value of the key `save`.
        summary: Content of the `run.json` of a run with a result.
    """
    if save == schema.NO_WEIGHTS:
        return False
    saved = summary.get("weights", {})
    files = saved.get("files")
    if saved.get("save") not in (save, schema.EPOCHS) or saved.get("lost") is not None or not isinstance(files, list):
        return True
    return not all(isinstance(name, str) and (directory / WEIGHTS / name).is_file() for name in files)


def lacks_metrics(metrics: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """Return whether a result lacks additional metrics that are asked for.

    It has a metric if that was evaluated with the same configuration and the same user-defined code, even if the
    function failed: it would fail again.

    Args:
        metrics: Value of the key `metrics`.
        summary: Content of the `run.json` of a run with a result.
    """
    configured, evaluated = summary["config"].get("metrics", {}), summary.get("metrics", {})
    return any(
        configured.get(name) != node
        or not isinstance(found := evaluated.get(name), Mapping)
        or found.get("code") != code_digests(node)
        for name, node in metrics.items()
    )


def refuse_other_versions(jobs: Sequence[Job], top: Path, version: str) -> None:
    """Check that all results of other versions in a sweep directory belong to jobs of this sweep.

    The name of a job's directory contains a hash of its configuration, which may change between versions. Jobs would
    then be trained again beside their old results, and the report would include both.

    Args:
        jobs: All jobs of the sweep.
        top: Sweep directory.
        version: Version of this package.

    Raises:
        UserError: A result of another version belongs to none of the jobs.
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
                "to start over, use another hydra.sweep.dir=DIR or force=true."
            )


def _result_of(directory: Path) -> Mapping[str, Any] | None:
    """Return the content of the `run.json` of a run; None if the run has no result."""
    summary = read_summary(directory / RUN_FILE)
    return None if _no_result(summary) or summary["status"] not in FINISHED else summary


def _no_result(summary: Any) -> str | None:
    """Return the reason for which the content of a `run.json` cannot be compared with a job; None if it can."""
    if why := defect(summary):
        return why
    if summary["status"] not in FINISHED:
        return None
    for key, fact in (("environment", "package"), ("data", "digest")):
        if not isinstance(summary.get(key, {}).get(fact), str):
            return f"it has no {key}.{fact}"
    return None


def _differences(job: Job, summary: Mapping[str, Any], version: str) -> list[str]:
    """List how a stored result differs from what this job would produce now."""
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
    """On Ctrl-C or SIGTERM, kill all child processes, print a message, and exit with status 130.

    Killing is safe, since results are written atomically. A graceful shutdown of the launcher and the exit hooks of
    libraries could take minutes, so both are skipped.

    Args:
        farewell: Function that returns the end of the message.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                # joblib's resource tracker must survive: it cleans up after the workers, and then exits by itself.
                if not any("resource_tracker" in word for word in child.cmdline()):
                    child.kill()
        print(f"\n{signal.Signals(number).name}: all workers have been stopped. {farewell()}", flush=True)
        os._exit(INTERRUPTED)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with shield_workers(lambda: leave(signal.SIGINT, None)):
            yield
    except SystemExit:  # raised by the handler with which Ray replaces ours
        leave(signal.SIGTERM, None)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
