"""Hydra sweeper `grid`: checks all jobs first, then launches those without a result, round by round."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf  # see app/hydra_internals.py
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import configure_log
from hydra.types import HydraContext, TaskFunction
from omegaconf import II, DictConfig, OmegaConf, read_write

from mnist_mlp.base.schema import COMPARED
from mnist_mlp.base.sweep_file import EACH

HOLDER = "hydra.sweeper.holder"
HERE = ("basic", "stacked")  # launchers that run in this process, and compose configurations here


@dataclass
class GridSweeperConf(BasicSweeperConf):
    """Settings of `hydra/sweeper=grid`, `hydra.sweeper.*`.

    Attributes:
        max_batch_size: Maximum number of jobs per launch; null for all.
        grids: Values to try with single optimizers: `{OPTIM: {KEY: [VALUE, …]}}` (see `mnist_mlp.app.grids`).
        trials: Number of trials of a search, per cell and seed (see `mnist_mlp.app.search`); null without a search.
        until_decided: Whether to add seeds until all cells are worse than the best or equivalent to it (see
            `mnist_mlp.app.sequential`).
        max_seeds: Maximum number of seeds per cell with `until_decided`.
        batch: Number of seeds that `until_decided` adds at a time.
        margin: Equivalence margin in percentage points; null disables equivalence testing.
        confirm: True to retrain selected configurations with fresh seeds, or the seeds and conditions for this (see
            `mnist_mlp.app.confirm`); empty disables it.
        compare: Keys whose combinations are the cells; other keys with several values are tuned within a cell.
        select: Mode of selection: "each" selects one configuration per seed of a cell, "once" one per cell.
        holder: Identifier of the process that launches the jobs. The sweep sets it; users do not.
    """

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: int | None = II("launch_size:")
    grids: Any = field(default_factory=dict)
    trials: Any = None
    until_decided: Any = False
    max_seeds: Any = 50
    batch: Any = 5
    margin: Any = None
    confirm: Any = field(default_factory=dict)
    compare: Any = field(default_factory=lambda: list(COMPARED))
    select: Any = EACH
    holder: str | None = None


def _schema() -> DictConfig:
    typed: DictConfig = OmegaConf.structured(GridSweeperConf)
    for tree in (typed.grids, typed.confirm):
        OmegaConf.set_struct(tree, False)  # a command line may add keys to those of a study
    return typed


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=_schema(), provider="mnist_mlp")


class GridSweeper(BasicSweeper):
    """Sweeper over the product of all given values (see `mnist_mlp.app.sweep` for its loop)."""

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None = None, **_: Any) -> None:
        # Hydra passes the settings with interpolations resolved. `combinations` reads them unresolved, since an
        # interpolation in a grid refers to the values of each job.
        super().__init__(max_batch_size, params)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Set up the sweep. Launchers in this process get a config loader that caches compositions."""
        from mnist_mlp.app.compose import CachingLoader

        if config.hydra.runtime.choices["hydra/launcher"] in HERE:
            loader: Any = CachingLoader(hydra_context.config_loader)
            hydra_context = HydraContext(loader, hydra_context.callbacks)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def combinations(self, arguments: Sequence[str]) -> list[list[str]]:
        """Return the overrides of each job, from the overrides of the sweep.

        Args:
            arguments: Overrides on the command line. They follow those of a study, and the last one of a key counts.
        """
        from mnist_mlp.app.grids import GROUP, check_counts, expand, options_of
        from mnist_mlp.app.search import dimension
        from mnist_mlp.base.configuration import key_of

        assert self.hydra_context is not None
        assert self.config is not None
        loader, hydra = self.hydra_context.config_loader, self.config.hydra
        compare = self._compare
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        ranges = [(given, key_of(given.get_key_element()), dimension(given, compare=compare)) for given in parsed]
        last = {key: (given.get_key_element(), found) for given, key, found in ranges}  # the last one of a key
        searched = {as_given: found for as_given, found in last.values() if found is not None}
        crossed = [given for given, key, found in ranges if found is None and last[key][1] is None]
        check_counts({given.get_key_element(): given for given in crossed}.values())
        (combinations,) = self.split_arguments(crossed, max_batch_size=None)
        grids = self._as_written("grids")
        chosen = hydra.runtime.choices[GROUP]
        return expand(combinations, grids, chosen, options_of(loader, GROUP), searched, hydra.sweeper.trials, compare)

    @property
    def _compare(self) -> list[str]:
        from mnist_mlp.app.cells import read_compare

        return read_compare(self._as_written("compare"))

    def _as_written(self, key: str) -> Any:
        """Return a setting of the sweeper in plain containers, without resolving interpolations."""
        from mnist_mlp.app.compose import unresolved

        assert self.config is not None
        return unresolved(self.config.hydra.sweeper, key)

    def sweep(self, arguments: list[str]) -> None:
        """Compose and check all jobs, and launch those that have no result yet."""
        from mnist_mlp.app import confirm, sequential
        from mnist_mlp.app.cells import read_select
        from mnist_mlp.app.compose import ConfigCache, check_sweep_directory, compose, sweep_directory
        from mnist_mlp.app.plan import Kind, plan
        from mnist_mlp.app.state import Request
        from mnist_mlp.app.sweep import run_sweep
        from mnist_mlp.base.configuration import key_of
        from mnist_mlp.sweeps.jobs import Job
        from mnist_mlp.sweeps.lock import holder_of

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        top = sweep_directory(config)
        directory = Path(top)

        def launch(jobs: Sequence[Job]) -> None:
            given = [one for one in config.hydra.overrides.hydra if key_of(one) != HOLDER]
            with read_write(config):
                config.hydra.overrides.hydra = given
                OmegaConf.save(config, directory / "multirun.yaml")
                config.hydra.overrides.hydra = [*given, f"{HOLDER}={holder_of(directory)}"]  # for the jobs to read
            size = self.max_batch_size or len(jobs)
            for first in range(0, len(jobs), size):
                batch = jobs[first : first + size]
                try:
                    for result in launcher.launch([list(job.overrides) for job in batch], initial_job_idx=first):
                        _ = result.return_value  # re-raises an exception that kept a job from starting
                finally:  # jobs in this process silence the console
                    configure_log(config.hydra.hydra_logging, config.hydra.verbose)

        compositions, kinds = ConfigCache(loader), dict[str, Kind]()

        @cache  # each round of a sweep makes the jobs of all earlier rounds again
        def made(jobs: tuple[tuple[str, ...], ...]) -> list[Job]:
            return plan(
                directory, composed(jobs), count=len(jobs), progress=config.progress, timed=config.dry_run, kinds=kinds
            )

        def composed(jobs: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], DictConfig]]:
            for number, job_config in compose(compositions, config, jobs):
                check_sweep_directory(job_config, top)
                yield jobs[number], job_config

        def make_jobs(jobs: Sequence[Sequence[str]]) -> list[Job]:
            return made(tuple(map(tuple, jobs)))

        request = Request(
            directory=directory,
            search=make_jobs(self.combinations(arguments)),
            confirmation=confirm.read(self._as_written("confirm")),
            sequential=sequential.read(config.hydra.sweeper),
            margin=sequential.read_margin(config.hydra.sweeper.margin),
            make_jobs=make_jobs,
            compare=self._compare,
            select=read_select(config.hydra.sweeper.select),
        )
        run_sweep(request, launch, config)
