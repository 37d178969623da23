"""A sweep: those of its jobs that have no result yet are launched, watched, and launched again where a worker died."""

import logging
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import mean

from omegaconf import DictConfig

import mnist_mlp
from mnist_mlp.app.register import EXPERIMENT
from mnist_mlp.run.record import RUN_FILE
from mnist_mlp.sweeps.holding import holding
from mnist_mlp.sweeps.jobs import STOP_FILE, Job, finished_jobs, interruptible, refuse_other_versions
from mnist_mlp.sweeps.progress import Progress

log = logging.getLogger(__name__)

ATTEMPTS = 2  # a job whose worker was killed is tried this often in one sweep

planned: list[Job] = []  # of the sweep that has just ended; the callback that sums it up is another object


def run_sweep(
    directory: Path,
    phases: Iterable[list[Job]],
    launch: Callable[[Sequence[Job]], object],
    settings: DictConfig,
    begin: Callable[[Sequence[Job]], None] = lambda jobs: None,
) -> None:
    """Train those jobs of a sweep that have no result yet, whatever happens to some of them.

    Args:
        directory: of the sweep.
        phases: the jobs, those that depend on the results of others after these; the next are asked for once the last
            have been run.
        launch: runs jobs and returns when all have ended.
        settings: the sweep's configuration; `force`, `fail_fast`, `dry_run` and `progress` count.
        begin: is given the first jobs once the directory is held, before any of them is trained.

    Raises:
        UserError: a job could not work, another sweep writes there, or the results there are of another making.
    """
    planned.clear()
    coming = iter(phases)
    jobs = next(coming)  # checked before the directory is touched
    todo: list[Job] = []
    with nullcontext() if settings.dry_run else holding(directory):  # held before looking at what is finished
        if not settings.dry_run:
            begin(jobs)
        while jobs:
            planned.extend(jobs)
            undone = _run_phase(directory, jobs, launch, settings)
            todo += undone
            if settings.dry_run and undone:
                return
            jobs = next(coming, [])
    if without_result := [job for job in todo if job.status() is None]:
        log.error("%d jobs have no result. To go on: %s", len(without_result), resume_command(directory))


def _run_phase(
    directory: Path, jobs: list[Job], launch: Callable[[Sequence[Job]], object], settings: DictConfig
) -> list[Job]:
    """Train those jobs that have no result yet; return them."""
    done = []
    if not settings.force:
        refuse_other_versions(planned, directory, mnist_mlp.__version__)
        done = finished_jobs(jobs, mnist_mlp.__version__)
    has_result = set(done)
    todo = [job for job in jobs if job not in has_result]
    log.info("%s: %d jobs, %d skipped as they have a result, %d to do", directory, len(jobs), len(done), len(todo))
    if settings.dry_run:
        print("\n".join(_dry_run(done, todo)))
        return todo
    (directory / STOP_FILE).unlink(missing_ok=True)
    for job in todo:
        (job.directory / RUN_FILE).unlink(missing_ok=True)
    if settings.hydra.runtime.choices["hydra/launcher"] != "stacked" and (hint := stacking_hint(todo)):
        log.info("%s", hint)
    progress = Progress(todo, len(done), settings.progress)
    with interruptible(lambda: f"{progress.line()}.\nTo go on: {resume_command(directory)}"), progress:
        _launch_until_ended(todo, launch)
    log.info("%s", progress.line())
    return todo


def stacking_hint(jobs: Sequence[Job]) -> str | None:
    """What a GPU's user would gain from another launcher, in one line; None where it is nothing."""
    together = [count for stack, count in Counter(job.stack for job in jobs).items() if stack and count > 1]
    if not together:
        return None
    return (
        f"one network leaves this GPU mostly idle: with hydra/launcher=stacked, {sum(together)} of these {len(jobs)} "
        f"jobs would train together, up to {max(together)} in each step"
    )


def _launch_until_ended(jobs: Sequence[Job], launch: Callable[[Sequence[Job]], object]) -> None:
    """Launch, and launch again what a dead worker has taken down with it."""
    # Workers that are started as plain Python processes must find what the user keeps beside run.py.
    path = [str(Path(sys.argv[0]).absolute().parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    for attempt in range(1, ATTEMPTS + 1):
        todo = [job for job in jobs if job.status() is None]
        if not todo:
            return
        if attempt > 1:
            log.warning("%d jobs did not finish; trying them again", len(todo))
        try:
            launch(todo)
        except Exception as error:  # a launcher may raise whatever its library does when a worker dies
            log.error("the launcher stopped: %s: %s", type(error).__name__, error)
        else:
            return


def resume_command(directory: Path) -> str:
    """The command line that goes on with this sweep."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("force=")]
    if not any(a.startswith((f"{EXPERIMENT}=", "hydra.sweep.dir=")) for a in arguments):
        arguments.append(f"hydra.sweep.dir={directory}")
    return shlex.join(["python", sys.argv[0], *arguments])


def _dry_run(done: Sequence[Job], todo: Sequence[Job]) -> Iterable[str]:
    for what, jobs in (("done ", done), ("to do", todo)):
        for job in jobs:
            overrides = " ".join(one for one in job.overrides if not one.startswith("dry_run="))
            yield f"{what}  {job.directory.name}  {overrides}"
    seconds = [summary["wall_seconds"] for job in done if "wall_seconds" in (summary := job.summary())]
    if not seconds:
        yield f"{len(todo)} to do; no finished run to estimate the time from"
    else:
        yield f"{len(todo)} to do; about {mean(seconds) * len(todo):.0f} s of one worker, by {len(done)} finished runs"
