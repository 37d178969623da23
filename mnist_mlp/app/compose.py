"""Composition of a sweep's jobs: one per set of options, into which the numbers of the other jobs are put.

Hydra composes one job of each set of overrides; the numbers of the others are put into that configuration. A launcher
composes each job once more. One that does so in this process is given what was composed for the checks.
"""

import copy
import gc
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from mnist_mlp.app.hydra_internals import get_overrides_dirname
from mnist_mlp.app.messages import check_groups
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.schema import SOURCES

MOST_KEPT = 100  # compositions that are kept; each takes up to a megabyte
SEED = re.compile(rf"(seed|seeds\.(?:{'|'.join(SOURCES)}))=(\d+)")  # an override that gives a seed as a plain number
SUBDIR = "${job_name:}"  # hydra.sweep.subdir unless the user names another

# An override of a key by a number, as Hydra's grammar has both; those of Hydra's own settings are left to Hydra.
NUMBER = re.compile(
    r"(?!hydra\.)([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=([+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)",
    flags=re.ASCII,
)
CHOICE = re.compile(r"[\w/-]+")  # the option of a group, which is chosen before any key is overridden


def compose(
    loader: "ConfigLoader | Compositions", config: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[int, DictConfig]]:
    """Compose the jobs of a sweep; a job's number is left open (see `as_job`).

    Args:
        loader: Hydra's, or compositions that are shared with other calls.
        config: Configuration of the sweep.
        jobs: Overrides of each job.

    Yields:
        The number of a job, and its configuration, which the next job may change.
    """
    cells: dict[tuple[str, ...], list[int]] = {}
    for number, overrides in enumerate(jobs):
        cells.setdefault(_without_seeds(overrides), []).append(number)
    compositions = loader if isinstance(loader, Compositions) else Compositions(loader)
    for numbers in cells.values():
        for number in numbers:
            yield number, compositions.of(config, jobs[number])


class Compositions:
    """Configurations of jobs, composed once for all jobs whose overrides differ in plain numbers alone.

    Args:
        loader: Hydra's.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._configs: OrderedDict[tuple[str, ...], DictConfig | None] = OrderedDict()  # the last one used comes last

    def __len__(self) -> int:
        return len(self._configs)

    def of(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a job, which the next call may change.

        Args:
            sweep: Configuration of the sweep.
            overrides: Overrides of the job.

        Raises:
            HydraException: Hydra refuses them.
        """
        pattern = _pattern(overrides)
        known = pattern in self._configs
        config = self._configs.get(pattern)
        if config is not None:
            try:
                _set_numbers(config, overrides)
            except OmegaConfBaseException:  # which Hydra's own composition explains
                return self._composed(sweep, overrides)
            self._configs.move_to_end(pattern)
            OmegaConf.copy_cache(from_config=sweep, to_config=config)
            return config
        composed = self._composed(sweep, overrides)
        if not known:
            self._configs[pattern] = composed if _has_numbers(composed, overrides) else None
            if len(self._configs) > MOST_KEPT:
                self._configs.popitem(last=False)
        return composed

    def _composed(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        was_enabled = gc.isenabled()
        gc.disable()  # composing makes many objects and no garbage to speak of: a tenth of the time
        try:
            return self._loader.load_sweep_config(sweep, list(overrides))
        except ValueError:  # by which Hydra refuses a number in place of a group's option, without naming it
            check_groups(overrides)
            raise
        finally:
            if was_enabled:
                gc.enable()


class Kept:
    """Config loader that keeps compositions, for launchers in this process."""

    def __init__(self, loader: ConfigLoader) -> None:
        """Stand in for Hydra's own."""
        self._loader = loader
        self._configs = Compositions(loader)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return the configuration of a job, as Hydra's loader does; each call gives a new one."""
        return copy.deepcopy(self._configs.of(master_config, sweep_overrides))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def written(config: DictConfig, key: str) -> Any:
    """Return a value as it is written, interpolations not resolved."""
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return content[key]


def has_default_name(config: DictConfig) -> bool:
    """Return whether `hydra.sweep.subdir` is what `mnist_mlp.sweeps.job_id` calls a job."""
    return bool(written(config.hydra.sweep, "subdir") == SUBDIR)


def sweep_directory(config: DictConfig) -> str:
    """Return `hydra.sweep.dir` of a sweep or of one of its jobs.

    Raises:
        ConfigError: It is empty, or depends on a job's number.
    """
    try:
        directory = str(config.hydra.sweep.dir)
    except InterpolationToMissingValueError as error:
        raise _several_directories(config, "one depends on a job's number") from error
    if not directory:
        raise ConfigError("hydra.sweep.dir=: expected a directory, such as multirun/mine")
    return directory


def check_sweep_directory(job: DictConfig, directory: str) -> None:
    """Check that the configuration of a job has the directory of its sweep.

    Raises:
        ConfigError: The directory depends on what sets jobs apart.
    """
    if (of_job := sweep_directory(job)) != directory:
        raise _several_directories(job, f"{directory} and {of_job}")


def _several_directories(config: DictConfig, found: str) -> ConfigError:
    pattern = written(config.hydra.sweep, "dir")
    return ConfigError(
        f"hydra.sweep.dir={pattern}: expected one directory for all jobs ({found}). Run one sweep per directory, or "
        "name a directory that no varying key is part of."
    )


def directory_name(config: DictConfig) -> str:
    """Return `hydra.sweep.subdir` of a configuration that `compose` gave; it does not depend on other jobs.

    Raises:
        ConfigError: The name depends on the job's number in its sweep.
    """
    try:
        return str(config.hydra.sweep.subdir)
    except InterpolationToMissingValueError as error:
        pattern = written(config.hydra.sweep, "subdir")
        raise ConfigError(
            f"hydra.sweep.subdir={pattern}: allowed is a name that depends on the job's configuration alone; a "
            "job's number changes when the sweep is resumed or widened"
        ) from error


def as_job(config: DictConfig, number: int) -> DictConfig:
    """Return a copy of a configuration that `compose` gave, with the job's number in its sweep."""
    config = copy.deepcopy(config)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    return config


def _without_seeds(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(given[1] if (given := SEED.fullmatch(o)) else o for o in overrides)


def _pattern(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return what jobs have in common whose configurations differ in numbers alone: overrides, numbers left out."""
    fixed = [o for o in overrides if not NUMBER.fullmatch(o)]
    return tuple(
        f"{given[1]}=#" if (given := NUMBER.fullmatch(o)) and not any(_concerns(f, given[1]) for f in fixed) else o
        for o in overrides
    )


def _concerns(override: str, key: str) -> bool:
    """Return whether an override that is no number may give, or take away, what this key is given."""
    other, _, value = override.partition("=")
    other = other.partition("@")[0].lstrip("+~").replace("/", ".")
    if key.startswith(f"{other}."):
        return override[:1] in "+~" or not CHOICE.fullmatch(value)
    return other == key or other.startswith(f"{key}.")


def _has_numbers(config: DictConfig, overrides: Sequence[str]) -> bool:
    """Return whether a configuration has the numbers of its overrides as such, so that others can be put there."""
    numbers = dict(_numbers(overrides))
    return all(_number_at(config, key) == number for key, number in numbers.items())


def _number_at(config: DictConfig, key: str) -> Any:
    """Return the number that a dotted key has in a configuration; None if it has none, or an interpolation gives it."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, DictConfig) or part not in node or OmegaConf.is_interpolation(node, part):
            return None
        node = node[part]
    return node if isinstance(node, int | float) else None


def _numbers(overrides: Sequence[str]) -> Iterator[tuple[str, int | float]]:
    for given in filter(None, map(NUMBER.fullmatch, overrides)):
        key, text = given.groups()
        yield key, int(text) if text.lstrip("+-").isdigit() else float(text)


def _set_numbers(config: DictConfig, overrides: Sequence[str]) -> None:
    """Put the numbers of a job into a configuration of its pattern, and its overrides into Hydra's records."""
    for key, number in _numbers(overrides):
        OmegaConf.update(config, key, number)
    hydra = config.hydra
    task = [parsed for parsed in map(_parsed, overrides) if not parsed.is_hydra_override()]
    hydra.overrides.task = [override.input_line for override in task]
    hydra.job.override_dirname = get_overrides_dirname(overrides=task, **hydra.job.config.override_dirname)


def _parsed(override: str) -> Override:
    """Return an override as Hydra parses it; of one by a number, which takes long to parse, key and text alone."""
    if given := NUMBER.fullmatch(override):
        return Override(OverrideType.CHANGE, given[1], ValueType.ELEMENT, given[2], input_line=override)
    return _parsed_by_hydra(override)


@lru_cache(maxsize=1000)
def _parsed_by_hydra(override: str) -> Override:
    return OverridesParser.create().parse_override(override)
