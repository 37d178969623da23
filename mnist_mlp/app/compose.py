"""Composes the jobs of a sweep, a cell at a time: Hydra takes 0.1 s a job, and most differ in their seed alone."""

import copy
import gc
import re
from collections.abc import Iterator, Sequence

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError

from mnist_mlp.run.schema import ConfigError

SEED = re.compile(r"seed=(\d+)")  # an override that gives one seed as a plain number
SUBDIR = "${job_name:}"  # hydra.sweep.subdir unless the user names another


def compose(
    loader: ConfigLoader, config: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[int, DictConfig]]:
    """Compose the jobs of a sweep, but for what Hydra records of each job's own seed (see `as_job`).

    Args:
        loader: Hydra's.
        config: the sweep's.
        jobs: their overrides.

    Yields:
        The number of a job, and its configuration, which the next job may change.
    """
    cells: dict[tuple[str, ...], list[int]] = {}
    for number, overrides in enumerate(jobs):
        cells.setdefault(tuple(o for o in overrides if not SEED.fullmatch(o)), []).append(number)
    gc.disable()  # composing makes many objects and no garbage to speak of: a tenth of the time, for each job
    try:
        for numbers in cells.values():
            job_config = loader.load_sweep_config(config, list(jobs[numbers[0]]))
            for number in numbers:
                if seeds := list(filter(None, map(SEED.fullmatch, jobs[number]))):
                    OmegaConf.update(job_config, "seed", int(seeds[-1][1]))
                yield number, job_config
    finally:
        gc.enable()


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
    hydra = config.hydra
    with open_dict(config):
        hydra.overrides.task = [seeds.pop(0) if SEED.fullmatch(o) else o for o in hydra.overrides.task]
        task = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
        hydra.job.override_dirname = get_overrides_dirname(overrides=task, **hydra.job.config.override_dirname)
        if number is not None:
            hydra.job.id = hydra.job.num = number
    return config
