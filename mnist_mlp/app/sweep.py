"""Main loop of a sweep: launch jobs without a result, round by round, until all have been tried."""

import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

from omegaconf import DictConfig

import mnist_mlp
from mnist_mlp.app import confirm, dry_run, records, sequential
from mnist_mlp.app.cells import check_compared
from mnist_mlp.app.state import Request, State, state_of
from mnist_mlp.base import schema
from mnist_mlp.base.configuration import key_of
from mnist_mlp.base.environ import prepend_path
from mnist_mlp.base.margin import check_margin
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import SEARCH
from mnist_mlp.sweeps.jobs import STOP_FILE, Job, find_results, interruptible, refuse_other_versions
from mnist_mlp.sweeps.lock import hold
from mnist_mlp.sweeps.progress import Progress
from mnist_mlp.sweeps.set_aside import set_aside, settle_all, settled

log = logging.getLogger(__name__)

ATTEMPTS = 2  # number of launches of a job if the launcher raises, as when a worker is killed
Launch = Callable[[Sequence[Job]], object]


def run_sweep(request: Request, launch: Launch, settings: DictConfig) -> None:
    """Train the jobs of a sweep that have no result yet. A failed job does not stop the others.

    Each round derives the jobs of the sweep from the results so far, records them, and launches the jobs to do: those
    without a result that no earlier round has launched. The sweep ends when no job is left to do.

    Args:
        request: Request of the command.
        launch: Function that runs jobs and returns when all have ended.
        settings: Composed configuration of the sweep.

    Raises:
        UserError: A job is invalid, another sweep uses the directory, or a stored result is not comparable.
    """
    check(request, settings.force)
    results = Results(settings.force)
    state = State(phases={})
    with nullcontext() if settings.dry_run else hold(request.directory):
        if not settings.dry_run:
            settle_all(request.directory)
        while True:
            before, state = state, state_of(request, results.are_complete)
            records.check_selection(request, state)
            tried = results.launched | results.finished(state.jobs)
            todo = [job for job in state.jobs if job not in tried]
            again = [job for job in todo if job in results.lacking]
            _log_news(request, before, state, todo)
            if again:
                log.info("%s", _of_lacking(again))
            if settings.dry_run:
                print("\n".join(dry_run.describe(request, state, todo)))
                return
            records.write(request, state, command_line())
            if not todo:
                break
            _train(request.directory, todo, again, launch, settings, skipped=len(state.jobs) - len(todo))
            results.add_launched(todo)
    _log_what_is_missing(request, state, results)


class Results:
    """Cache of the jobs that have a valid result. A job is looked up once, and again after it was launched.

    Args:
        force: Value of the setting `force`. With True, a result is valid only if this command launched its job.

    Attributes:
        launched: Jobs that this command has launched.
        lacking: Jobs whose result lacks only outputs that are asked for.
    """

    def __init__(self, force: bool | str) -> None:
        self.launched: set[Job] = set()
        self.lacking: set[Job] = set()
        self._force = force
        self._known: dict[Job, bool] = {}

    def finished(self, jobs: Sequence[Job]) -> set[Job]:
        """Return the jobs that have a valid result.

        Raises:
            UserError: A result is not comparable with what the job would produce now.
        """
        unknown = [job for job in jobs if job not in self._known]
        counting = [job for job in unknown if job in self.launched or self._force is not True]
        finished, lacking = find_results(counting, mnist_mlp.__version__, self._force == schema.CHANGED)
        found = {*finished, *(job for job in lacking if job in self.launched)}  # weights may be lost, as on a full disk
        self.lacking |= {*lacking} - found
        self._known |= {job: job in found for job in unknown}
        return {job for job in jobs if self._known[job]}

    def are_complete(self, jobs: Sequence[Job]) -> bool:
        """Return whether all jobs have a valid result."""
        return len(self.finished(jobs)) == len(set(jobs))

    def add_launched(self, jobs: Sequence[Job]) -> None:
        """Register jobs as launched, whether or not they have a result now."""
        self.launched |= {*jobs}
        self._known = {job: known for job, known in self._known.items() if job not in self.launched or known}


def check(request: Request, force: bool | str) -> None:
    """Check a request before anything is written.

    Raises:
        UserError: The request is invalid, or conflicts with records or results in the sweep directory.
    """
    records.check(request)
    check_compared(request.search, request.compare)
    if request.confirmation:
        confirm.check(
            request.directory,
            request.search,
            request.confirmation,
            request.make_jobs,
            request.compare,
            request.select,
        )
    announcement = ""
    check_margin(request.margin, min(job.test_images for job in request.search), f"{sequential.SWEEPER}.margin=")
    if request.sequential:
        announcement = sequential.check(
            request.directory,
            request.search,
            request.confirmation,
            request.sequential,
            request.compare,
            request.select,
        )
    if force is not True:
        refuse_other_versions(request.search, request.directory, mnist_mlp.__version__)
    if announcement:
        log.info("%s", announcement)


def _log_news(request: Request, before: State, state: State, todo: Sequence[Job]) -> None:
    """Log interim analyses and jobs that are new in this round."""
    known = before.looks.looks if before.looks else []
    looks = state.looks.looks if state.looks else []
    for number, look in enumerate(looks[len(known) :], start=len(known) + 1):
        assert request.sequential is not None
        is_decided = state.is_decided and number == len(looks)
        log.info("%s", sequential.describe(look, request.sequential.max_seeds, is_decided))
    if state.choices and before.choices is None:
        for cell in (cell for cell, of in state.choices.items() if not all(one.confirmed for one in of.values())):
            log.info(
                "%s: an earlier, wider search has selected a configuration that this one lacks; nothing to confirm",
                cell,
            )
    for phase, jobs in state.phases.items():
        earlier = {*before.phases.get(phase, ())}
        if new := [job for job in jobs if job not in earlier]:
            undone = len({*new} & {*todo})
            log.info(
                "%s: %d jobs, %d skipped as they have a result, %d to do",
                request.directory if phase == SEARCH else f"{request.directory}, {phase}",
                len(new),
                len(new) - undone,
                undone,
            )


def _log_what_is_missing(request: Request, state: State, results: Results) -> None:
    """Log the number of jobs without a result, what depends on them, and the command that resumes the sweep."""
    finished = results.finished(state.jobs)
    without = [job for job in state.jobs if job not in finished]
    if without and request.confirmation and state.choices is None:
        log.error("%d jobs of the search have no result; the selection needs all of them", len(without))
    elif without and request.sequential:
        log.error("%d jobs have no result; the interim analysis needs all of them", len(without))
    if unended := [job for job in without if job.status() is None]:
        log.error("%d jobs have no result. To resume: %s", len(unended), resume_command(request.directory))


def _of_lacking(jobs: Sequence[Job]) -> str:
    """Say why jobs with a result are trained again."""
    config = jobs[0].config
    asked = [f"save={config['save']}"] * (config["save"] != schema.NO_WEIGHTS)
    asked += [f"metrics=[{','.join(config['metrics'])}]"] * bool(config["metrics"])
    return (
        f"jobs with a result, but without all outputs of {' '.join(asked)}: {len(jobs)}. They are trained again. Their "
        "results must come out equal; otherwise the earlier ones stay"
    )


def _train(
    directory: Path, todo: Sequence[Job], again: Sequence[Job], launch: Launch, settings: DictConfig, skipped: int
) -> None:
    """Launch jobs, with a progress line and a handler of Ctrl-C.

    Earlier results in their directories are deleted, except for those of jobs that are trained again.
    """
    (directory / STOP_FILE).unlink(missing_ok=True)
    for job in again:
        set_aside(job.directory)
    for job in todo:
        (job.directory / RUN_FILE).unlink(missing_ok=True)

    def settle() -> None:
        for place in settled(job.directory for job in again):
            log.error("%s: trained again, but with another result, as on another machine; the earlier one stays", place)

    def farewell() -> str:
        settle()
        return f"{progress.line()}.\nTo resume: {resume_command(directory)}"

    if settings.hydra.runtime.choices["hydra/launcher"] != "stacked" and (hint := stacking_hint(todo)):
        log.info("%s", hint)
    progress = Progress(todo, skipped, settings.progress)
    with interruptible(farewell), progress:
        _launch_with_retry(todo, launch)
    settle()
    log.info("%s", progress.line())


def stacking_hint(jobs: Sequence[Job]) -> str | None:
    """Return a hint to use the launcher `stacked`; None if no two jobs could be stacked."""
    together = [count for stack, count in Counter(job.stack for job in jobs).items() if stack and count > 1]
    if not together:
        return None
    return (
        f"one network leaves this GPU mostly idle: with hydra/launcher=stacked, {sum(together)} of these {len(jobs)} "
        f"jobs would train together, up to {max(together)} per step"
    )


def _launch_with_retry(jobs: Sequence[Job], launch: Launch) -> None:
    """Launch jobs; if the launcher raises, relaunch those that have not ended, up to `ATTEMPTS` launches in total."""
    # Workers that are plain Python processes must find user-defined modules beside run.py.
    with prepend_path("PYTHONPATH", Path(sys.argv[0]).absolute().parent):
        for attempt in range(1, ATTEMPTS + 1):
            todo = [job for job in jobs if job.status() is None]
            if not todo:
                return
            if attempt > 1:
                log.warning("%d jobs did not finish; trying them again", len(todo))
            try:
                launch(todo)
            except Exception as error:  # launchers raise different exceptions when a worker dies
                log.error("the launcher stopped: %s: %s", type(error).__name__, error)
            else:
                return


def command_line() -> str:
    """Return the command line of this process as a user would type it."""
    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])


def resume_command(directory: Path) -> str:
    """Return the command line that resumes this sweep."""
    repeatable = f"={schema.CHANGED}"  # force=true would train all jobs again; force=changed skips retrained ones
    arguments = [one for one in sys.argv[1:] if key_of(one) != "force" or one.endswith(repeatable)]
    if {schema.EXPERIMENT, "hydra.sweep.dir"}.isdisjoint(map(key_of, arguments)):
        arguments.append(f"hydra.sweep.dir={directory}")
    return shlex.join(["python", sys.argv[0], *arguments])
