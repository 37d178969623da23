"""Composition of the jobs of a sweep, with a cache of configurations that differ only in numbers.

Hydra takes 0.1 s to compose a job. Jobs whose overrides differ only in numbers therefore share one composed
configuration, in which the numbers are replaced. Launchers compose each job a second time. Launchers in this process
use such a cache, too (`CachingLoader`).
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

MAX_CACHED = 100  # size of the cache; a configuration takes up to a megabyte
SEED = re.compile(rf"(seed|seeds\.(?:{'|'.join(SOURCES)}))=(\d+)")  # an override that sets a seed to a plain number
SUBDIR = "${job_name:}"  # default of hydra.sweep.subdir

# An override that sets a key to a number, as in Hydra's grammar. Settings of Hydra itself do not match.
NUMBER = re.compile(
    r"(?!hydra\.)([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)=([+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)",
    flags=re.ASCII,
)
CHOICE = re.compile(r"[\w/-]+")  # name of an option; Hydra selects options before it overrides keys


def compose(
    loader: "ConfigLoader | ConfigCache", config: DictConfig, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[int, DictConfig]]:
    """Compose the jobs of a sweep, without job numbers (see `as_job`).

    Args:
        loader: Hydra's config loader, or a cache that is shared with other calls.
        config: Configuration of the sweep.
        jobs: Overrides of each job.

    Yields:
        Index of a job in `jobs`, and its configuration. The next job may overwrite the configuration. Jobs that differ
        only in seeds follow each other.
    """
    cells: dict[tuple[str, ...], list[int]] = {}
    for number, overrides in enumerate(jobs):
        cells.setdefault(_without_seeds(overrides), []).append(number)
    compositions = loader if isinstance(loader, ConfigCache) else ConfigCache(loader)
    for numbers in cells.values():
        for number in numbers:
            yield number, compositions.of(config, jobs[number])


class ConfigCache:
    """Cache of configurations, composed once for all jobs whose overrides differ only in plain numbers.

    Args:
        loader: Hydra's config loader.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._configs: OrderedDict[tuple[str, ...], DictConfig | None] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._configs)

    def of(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a job. The next call may overwrite it.

        Args:
            sweep: Configuration of the sweep.
            overrides: Overrides of the job.

        Raises:
            HydraException: Hydra rejects the overrides.
        """
        pattern = _pattern(overrides)
        known = pattern in self._configs
        config = self._configs.get(pattern)
        if config is not None:
            try:
                _set_numbers(config, overrides)
            except OmegaConfBaseException:  # compose with Hydra for its error message
                return self._compose(sweep, overrides)
            self._configs.move_to_end(pattern)
            OmegaConf.copy_cache(from_config=sweep, to_config=config)
            return config
        composed = self._compose(sweep, overrides)
        if not known:
            self._configs[pattern] = composed if _has_numbers(composed, overrides) else None
            if len(self._configs) > MAX_CACHED:
                self._configs.popitem(last=False)
        return composed

    def _compose(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        was_enabled = gc.isenabled()
        gc.disable()  # composition creates many objects but hardly any garbage; this saves a tenth of the time
        try:
            return self._loader.load_sweep_config(sweep, list(overrides))
        except ValueError:  # Hydra's error for a number as the option of a group does not name the group
            check_groups(overrides)
            raise
        finally:
            if was_enabled:
                gc.enable()


class CachingLoader:
    """Config loader with a cache of configurations, for launchers in this process."""

    def __init__(self, loader: ConfigLoader) -> None:
        """Wrap Hydra's config loader."""
        self._loader = loader
        self._configs = ConfigCache(loader)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Return a new configuration of a job, like Hydra's loader."""
        return copy.deepcopy(self._configs.of(master_config, sweep_overrides))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def unresolved(config: DictConfig, key: str) -> Any:
    """Return the value of a key without resolving interpolations."""
    content = OmegaConf.to_container(config, resolve=False)
    assert isinstance(content, dict)
    return content[key]


def has_default_name(config: DictConfig) -> bool:
    """Return whether `hydra.sweep.subdir` has its default, the name from `mnist_mlp.sweeps.job_id`."""
    return bool(unresolved(config.hydra.sweep, "subdir") == SUBDIR)


def sweep_directory(config: DictConfig) -> str:
    """Return `hydra.sweep.dir` of a sweep or of one of its jobs.

    Raises:
        ConfigError: The value is empty, or depends on the job number.
    """
    try:
        directory = str(config.hydra.sweep.dir)
    except InterpolationToMissingValueError as error:
        raise _several_directories(config, "one depends on a job's number") from error
    if not directory:
        raise ConfigError("hydra.sweep.dir=: expected a directory, such as multirun/mine")
    return directory


def check_sweep_directory(job: DictConfig, directory: str) -> None:
    """Check that the configuration of a job has the sweep directory of the sweep.

    Raises:
        ConfigError: The sweep directory depends on keys that vary between the jobs.
    """
    if (of_job := sweep_directory(job)) != directory:
        raise _several_directories(job, f"{directory} and {of_job}")


def _several_directories(config: DictConfig, found: str) -> ConfigError:
    pattern = unresolved(config.hydra.sweep, "dir")
    return ConfigError(
        f"hydra.sweep.dir={pattern}: expected one directory for all jobs ({found}). Run one sweep per directory, or "
        "name a directory that no varying key is part of."
    )


def directory_name(config: DictConfig) -> str:
    """Return `hydra.sweep.subdir` of a configuration from `compose`.

    Raises:
        ConfigError: The name depends on the job number.
    """
    try:
        return str(config.hydra.sweep.subdir)
    except InterpolationToMissingValueError as error:
        pattern = unresolved(config.hydra.sweep, "subdir")
        raise ConfigError(
            f"hydra.sweep.subdir={pattern}: expected a name that depends only on the configuration. Job numbers "
            "change when the sweep is resumed or extended."
        ) from error


def as_job(config: DictConfig, number: int) -> DictConfig:
    """Return a copy of a configuration from `compose` with the job number set."""
    config = copy.deepcopy(config)
    with open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
    return config


def _without_seeds(overrides: Sequence[str]) -> tuple[str, ...]:
    return tuple(given[1] if (given := SEED.fullmatch(o)) else o for o in overrides)


def _pattern(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the cache key of a job: its overrides, with `#` for numbers that can be set after composition."""
    fixed = [o for o in overrides if not NUMBER.fullmatch(o)]
    return tuple(
        f"{given[1]}=#" if (given := NUMBER.fullmatch(o)) and not any(_concerns(f, given[1]) for f in fixed) else o
        for o in overrides
    )


def _concerns(override: str, key: str) -> bool:
    """Return whether an override may set or delete a key. Setting the key's number afterward would undo that."""
    other, _, value = override.partition("=")
    other = other.partition("@")[0].lstrip("+~").replace("/", ".")
    if key.startswith(f"{other}."):
        return override[:1] in "+~" or not CHOICE.fullmatch(value)
    return other == key or other.startswith(f"{key}.")


def _has_numbers(config: DictConfig, overrides: Sequence[str]) -> bool:
    """Return whether a configuration holds the numbers of its overrides unchanged.

    Only then can the numbers of another job replace them.
    """
    numbers = dict(_numbers(overrides))
    return all(_number_at(config, key) == number for key, number in numbers.items())


def _number_at(config: DictConfig, key: str) -> Any:
    """Return the number at a dotted key; None if there is no number, or an interpolation."""
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
    """Set the numbers of a job in a configuration of its pattern, and its overrides in the `hydra` node."""
    for key, number in _numbers(overrides):
        OmegaConf.update(config, key, number)
    hydra = config.hydra
    task = [parsed for parsed in map(_parsed, overrides) if not parsed.is_hydra_override()]
    hydra.overrides.task = [override.input_line for override in task]
    hydra.job.override_dirname = get_overrides_dirname(overrides=task, **hydra.job.config.override_dirname)


def _parsed(override: str) -> Override:
    """Parse an override; for a number, skip Hydra's slow parser and keep the value as text."""
    if given := NUMBER.fullmatch(override):
        return Override(OverrideType.CHANGE, given[1], ValueType.ELEMENT, given[2], input_line=override)
    return _parsed_by_hydra(override)


@lru_cache(maxsize=1000)
def _parsed_by_hydra(override: str) -> Override:
    return OverridesParser.create().parse_override(override)
