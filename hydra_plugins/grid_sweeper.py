"""Hydra's basic sweeper, made safe: every job is checked first, finished ones are skipped, none is lost."""

import gc
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import II, DictConfig, OmegaConf


@dataclass
class GridSweeperConf(BasicSweeperConf):
    """`hydra/sweeper: grid`; `max_batch_size` is how many jobs a launcher gets at a time, null for all."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: int | None = II("launch_size:")


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="mnist_mlp")


def _seed(overrides: Sequence[str]) -> int | None:
    """The seed among a job's overrides, if it is a plain number."""
    found = [override for override in overrides if re.fullmatch(r"seed=\d+", override)]
    return int(found[-1].partition("=")[2]) if found else None


def _without_seed(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if not re.fullmatch(r"seed=\d+", override)]


class GridSweeper(BasicSweeper):
    """Sweeps over the product of all values given; `mnist_mlp.sweep` has what is special about it."""

    def sweep(self, arguments: list[str]) -> None:
        """Compose every job, and have those run that have no result yet."""
        from mnist_mlp.jobs import Job
        from mnist_mlp.sweep import run_sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        directory = Path(config.hydra.sweep.dir)
        parser = OverridesParser.create(config_loader=loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(parsed, max_batch_size=None)

        def composed() -> Iterator[tuple[Sequence[str], DictConfig]]:
            gc.disable()  # composing makes many objects and no garbage to speak of: a tenth of the time, for each job
            try:
                cells: dict[tuple[str, ...], list[list[str]]] = {}
                for overrides in combinations:
                    cells.setdefault(tuple(_without_seed(overrides)), []).append(overrides)
                for cell in cells.values():
                    # Composing takes Hydra 0.08 s; jobs that differ in their seed alone need it once.
                    job_config = loader.load_sweep_config(config, cell[0])
                    for overrides in cell:
                        if (seed := _seed(overrides)) is not None:
                            OmegaConf.update(job_config, "seed", seed)
                        yield overrides, job_config
            finally:
                gc.enable()

        def launch(jobs: Sequence[Job]) -> None:
            OmegaConf.save(config, directory / "multirun.yaml")
            size = self.max_batch_size or len(jobs)
            for first in range(0, len(jobs), size):
                batch = jobs[first : first + size]
                for result in launcher.launch([list(job.overrides) for job in batch], initial_job_idx=first):
                    _ = result.return_value  # raises what kept a job from starting

        run_sweep(directory, composed(), launch, config)
