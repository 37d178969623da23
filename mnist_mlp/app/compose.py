"""Composes the jobs of a sweep, a cell at a time: Hydra takes 0.1 s a job, and most differ in their seeds alone.

A launcher composes each job once more. One that does so in this process is given what was composed for the checks.
"""

import copy
import gc
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError

from mnist_mlp.run.errors import ConfigError
from mnist_mlp.run.schema import SOURCES

MOST_KEPT = 100  # cells whose configuration is kept for a launcher; each takes up to a megabyte
SEED = re.compile(rf"(seed|seeds\.(?:{'|'.join(SOURCES)}))=(\d+)")  # an override that gives a seed as a plain number
SUBDIR = "${job_name:}"  # hydra.sweep.subdir unless the user names another


def compose(
    loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[int, DictConfig]]:
    """Compose the jobs of a sweep, but for what Hydra records of each job's own seeds (see `as_job`).

    Args:
        loader: Hydra's.
        config: the sweep's.
        jobs: their overrides.

    Yields:
        The number of a job, and its configuration, which the next job may change.
    """
    cells: dict[tuple[str, ...], list[int]] = {}
    for number, overrides in enumerate(jobs):
        cells.setdefault(_whatever_seed(overrides), []).append(number)
    gc.disable()  # composing makes many objects and no garbage to speak of: a tenth of the time, for each job
    try:
        for numbers in cells.values():
            job_config = loader.load_sweep_config(config, list(jobs[numbers[0]]))
            for number in numbers:
                _set_seed(job_config, jobs[number])
                yield number, job_config
    finally:
        gc.enable()


class Kept:
    """Hydra's loader, of one sweep, for a launcher in this process: no cell is composed twice."""

    def __init__(self, loader: ConfigLoader) -> None:
        """Stand in for Hydra's own."""
        self._loader = loader
        self._configs: dict[tuple[str, ...], DictConfig] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """A job's configuration, as Hydra's loader gives it; kept for all that differ from it in their seeds alone."""
        cell = _whatever_seed(sweep_overrides)
        if cell in self._configs:
            return as_job(self._configs[cell], sweep_overrides, number=None)
        config = self._loader.load_sweep_config(master_config, sweep_overrides)
        if len(self._configs) < MOST_KEPT:
            self._configs[cell] = copy.deepcopy(config)
        return config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def directory_name(config: DictConfig, overrides: Sequence[str]) -> str:
    """What `hydra.sweep.subdir` is for a job; the same whatever other jobs there are.

    Args:
        config: that `compose` gave.
        overrides: the job's.

    Raises:
        ConfigError: it depends on the job's number in its sweep.
    """
    pattern = OmegaConf.to_container(config.hydra.sweep)["subdir"]  # type: ignore[call-overload, index]
    if pattern != SUBDIR:  # ours looks at nothing that `compose` leaves out
        config = as_job(config, overrides, number=None)
    try:
        return str(config.hydra.sweep.subdir)
    except InterpolationToMissingValueError as error:
        raise ConfigError(
            f"hydra.sweep.subdir={pattern}: allowed is a name that depends on the job's configuration alone; a "
            "job's number changes when the sweep is resumed or widened"
        ) from error


def as_job(config: DictConfig, overrides: Sequence[str], number: int | None) -> DictConfig:
    """A configuration that `compose` gave, as Hydra itself would have composed it for this job.

    Args:
        config: it is left as it is.
        overrides: the job's.
        number: of the job in its sweep; None leaves it open.
    """
    config = copy.deepcopy(config)
    seeds = [o for o in overrides if SEED.fullmatch(o)]
    _set_seed(config, overrides)
    hydra = config.hydra
    with open_dict(config):
        hydra.overrides.task = [seeds.pop(0) if SEED.fullmatch(o) else o for o in hydra.overrides.task]
        task = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
        hydra.job.override_dirname = get_overrides_dirname(overrides=task, **hydra.job.config.override_dirname)
        if number is not None:
            hydra.job.id = hydra.job.num = number
    return config


def _whatever_seed(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(given[1] if (given := SEED.fullmatch(o)) else o for o in overrides)


def _set_seed(config: DictConfig, overrides: Sequence[str]) -> None:
    for given in filter(None, map(SEED.fullmatch, overrides)):
        OmegaConf.update(config, given[1], int(given[2]))
