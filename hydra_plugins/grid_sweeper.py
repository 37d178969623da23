"""Hydra's basic sweeper, except that every job is checked before the first one starts."""

from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser


@dataclass
class GridSweeperConf(BasicSweeperConf):
    """`hydra/sweeper: grid`."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="mnist_mlp")


class GridSweeper(BasicSweeper):
    """Sweeps over the product of all values given; refuses the whole sweep where one job could not work."""

    def sweep(self, arguments: list[str]) -> object:
        """Check every job, then run them all."""
        from mnist_mlp.sweep import check

        assert self.hydra_context is not None
        assert self.config is not None
        loader = self.hydra_context.config_loader
        overrides = OverridesParser.create(config_loader=loader).parse_overrides([*self._parse_config(), *arguments])
        for batch in self.split_arguments(overrides, self.max_batch_size):
            for job in batch:
                check(loader.load_sweep_config(self.config, job))
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: object) -> None:
        """Nothing: `sweep` has composed and checked every job already."""
