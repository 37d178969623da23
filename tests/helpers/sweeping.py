"""Sweeps in this process: planned by the sweeper's code, with given accuracies instead of training."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mnist_mlp import __version__
from mnist_mlp.app.compose import ConfigCache, compose
from mnist_mlp.app.confirm import MakeJobs, read
from mnist_mlp.app.plan import Kind, plan
from mnist_mlp.app.register import register
from mnist_mlp.app.state import Request, State, state_of
from mnist_mlp.app.sweep import run_sweep
from mnist_mlp.base.interim import SequentialPlan
from mnist_mlp.base.record import SPLITS, Metrics
from mnist_mlp.base.schema import COMPARED
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.sweeps.jobs import FINISHED, Assignment, Job
from tests.helpers.hydra_config import config_loader, sweep_config
from tests.helpers.paths import ROOT

register(ROOT / "experiments")


@contextmanager
def planning(top: Path, *given: str) -> Iterator[MakeJobs]:
    """Yield a function that makes jobs of overrides, on digits, for a sweep in this directory with these arguments."""
    with config_loader() as loader:
        config = sweep_config(loader, *given)
        compositions, kinds = ConfigCache(loader), dict[str, Kind]()

        @functools.cache  # as the sweeper does
        def made(jobs: tuple[tuple[str, ...], ...]) -> list[Job]:
            on_digits = [[*overrides, "data=digits"] for overrides in jobs]
            composed = compose(compositions, config, on_digits)
            return plan(top, ((jobs[number], job_config) for number, job_config in composed), kinds=kinds)

        def make_jobs(jobs: Sequence[Sequence[str]]) -> list[Job]:
            return made(tuple(map(tuple, jobs)))

        yield make_jobs


def requested(
    top: Path,
    make_jobs: MakeJobs,
    search: Sequence[Sequence[str]],
    confirmation: Any = None,
    sequential: SequentialPlan | None = None,
    select: str = EACH,
    compare: Sequence[str] = COMPARED,
) -> Request:
    """Return the request of a sweep for these jobs; `make_jobs` comes from `planning`."""
    return Request(
        directory=top,
        search=make_jobs(search),
        confirmation=read(confirmation),
        sequential=sequential,
        make_jobs=make_jobs,
        compare=compare,
        select=select,
        margin=sequential.margin if sequential else None,
    )


def state_by_disk(request: Request) -> State:
    """Return the state of a sweep from the results on disk."""
    return state_of(request, lambda jobs: all(job.status() in FINISHED for job in jobs))


def swept(request: Request, accuracy: Callable[[Job], float | None], **settings: object) -> list[list[str]]:
    """Run a sweep with given final accuracies, None for no result; return the job names of each launch."""
    launched = []

    def launch(jobs: Sequence[Job]) -> None:
        launched.append([job.directory.name for job in jobs])
        write_results(jobs, accuracy)

    usual = {"force": False, "fail_fast": False, "dry_run": False, "progress": False}
    hydra = {"runtime": {"choices": {"hydra/launcher": "basic"}}}
    run_sweep(request, launch, OmegaConf.create({**usual, **settings, "hydra": hydra}))
    return launched


def write_results(jobs: Sequence[Job], accuracy: Callable[[Job], float | None]) -> None:
    """Write the result of each job with its final accuracy; None writes no result."""
    for job in jobs:
        if (final := accuracy(job)) is not None:
            write_result(job, final, 1 - final)


def write_result(job: Job, accuracy: float, loss: float, error: BaseException | None = None) -> None:
    """Write the result of a job with this final accuracy and loss, or with this error."""
    writer = Assignment(job.config, job.directory, job.choices, job.overrides, job.config_hash).writer()
    writer.describe(environment={"package": __version__}, data={"digest": job.data_digest})
    for epoch in range(job.epochs + 1):
        reached, lost = (accuracy, loss) if epoch == job.epochs else (0.1, 0.9)
        for split in SPLITS:
            writer.write(Metrics(epoch, 10 * epoch, split, lost, reached, 0.01, 2.0 * epoch))
    writer.end(error) if error else writer.end()
