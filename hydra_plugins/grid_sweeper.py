"""Hydra's basic sweeper, made safe: every job is checked first, finished ones are skipped, none is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import II, OmegaConf


@dataclass
class GridSweeperConf(BasicSweeperConf):
    """`hydra/sweeper: grid`; `max_batch_size` is how many jobs a launcher gets at a time, null for all."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: int | None = II("launch_size:")


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="mnist_mlp")


class GridSweeper(BasicSweeper):
    """Sweeps over the product of all values given; `mnist_mlp.app.sweep` has what is special about it."""

    def sweep(self, arguments: list[str]) -> None:
        """Compose every job, and have those run that have no result yet."""
        from mnist_mlp.app.compose import compose
        from mnist_mlp.app.sweep import run_sweep
        from mnist_mlp.sweeps.jobs import Job

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        loader, config, launcher = self.hydra_context.config_loader, self.config, self.launcher
        directory = Path(config.hydra.sweep.dir)
        parser = OverridesParser.create(config_loader=loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(parsed, max_batch_size=None)

        def launch(jobs: Sequence[Job]) -> None:
            OmegaConf.save(config, directory / "multirun.yaml")
            size = self.max_batch_size or len(jobs)
            for first in range(0, len(jobs), size):
                batch = jobs[first : first + size]
                for result in launcher.launch([list(job.overrides) for job in batch], initial_job_idx=first):
                    _ = result.return_value  # raises what kept a job from starting

        configs = ((combinations[number], job_config) for number, job_config in compose(loader, config, combinations))
        run_sweep(directory, configs, launch, config)
