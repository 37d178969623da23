"""Jobs of a sweep: combinations of values, extended by the grids of single optimizers and the trials of a search.

A grid applies to one optimizer only. It lists values to try or ranges to search, in `hydra.sweeper.grids`.
"""

import json
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, product
from types import MappingProxyType
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString, RangeSweep, Transformer
from hydra.errors import HydraException

from mnist_mlp.app.search import Dimension, check_trials, dimension, places
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.schema import Role

log = logging.getLogger(__name__)

PLACE = "hydra.sweeper.grids"
GROUP = "optim"  # group whose options have grids
MAX_JOBS = 1_000_000
EXAMPLE = f"{PLACE}={{sgd:{{optim.lr:[0.1,1]}}}}"

Grid = Mapping[str, Sequence[Any] | Dimension]  # values to try or a range to search, by dotted key


def expand(
    combinations: Sequence[Sequence[str]],
    tree: Any,
    default: str,
    options: Collection[str],
    searched: Mapping[str, Dimension] = MappingProxyType({}),
    trials: Any = None,
    compare: Sequence[str] = schema.COMPARED,
) -> list[list[str]]:
    """Cross each combination of overrides with the grid of its optimizer and the trials of a search.

    Args:
        combinations: Overrides of each job so far.
        tree: `hydra.sweeper.grids` in plain containers: `{OPTIM: {KEY: VALUE or [VALUE, …]}}`, or None.
        default: Optimizer of combinations that do not set one.
        options: All optimizers.
        searched: Ranges to search with all optimizers, by key as given (such as `+optim.lr`).
        trials: Number of trials; None if nothing is searched.
        compare: Compared keys, which cannot be searched.

    Returns:
        Overrides of each job, beginning with those of its combination.

    Raises:
        ConfigError: The tree or the number of trials is invalid, or a key is in both a combination and its grid.
    """
    grids = read(tree, options, compare)
    for optimizer, grid in grids.items():
        _refuse_given_twice([f"{key}=interval" for key in searched], optimizer, grid)
    is_search = bool(searched) or any(map(_is_searched, chain.from_iterable(grid.values() for grid in grids.values())))
    check_trials(trials, is_search)
    settings = {optimizer: list(_settings({**searched, **grid}, trials)) for optimizer, grid in grids.items()}
    usual = list(_settings(searched, trials))
    used, jobs = set(), []
    for combination in combinations:
        optimizer = _optimizer(combination) or default
        used.add(optimizer)
        _refuse_given_twice(combination, optimizer, grids.get(optimizer, {}))
        jobs += [[*combination, *setting] for setting in settings.get(optimizer, usual)]
    if idle := sorted(grids.keys() - used):
        log.info("%s: not in this sweep: %s", PLACE, ", ".join(idle))
    return jobs


def check_counts(crossed: Iterable[Override]) -> None:
    """Check that overrides have at least one and at most `MAX_JOBS` combinations of values.

    Raises:
        ConfigError: An override has no value, or there are too many jobs.
    """
    jobs = 1
    for given in crossed:
        sweep = given.value() if given.is_sweep_override() else None
        if isinstance(sweep, RangeSweep):
            number = _range_length(sweep)
        elif isinstance(sweep, ChoiceSweep):
            number = len(sweep.list)
        else:
            number = len(list(given.sweep_iterator())) if isinstance(sweep, Glob) else 1
        jobs *= number
        if number < 1:
            raise ConfigError(f"{given.input_line}: expected at least one value, but found none")
        if jobs > MAX_JOBS:
            raise ConfigError(f"{given.input_line}: expected a sweep of at most {MAX_JOBS:,} jobs")


def _range_length(sweep: RangeSweep) -> int:
    """Return the number of values of a range; 0 for an infinite end or a step of 0."""
    assert sweep.start is not None
    assert sweep.stop is not None
    try:
        return max(0, math.ceil((sweep.stop - sweep.start) / sweep.step))
    except (ZeroDivisionError, ValueError, OverflowError):
        return 0


def options_of(loader: ConfigLoader, group: str) -> list[str]:
    """Return the options of a group, including those in subdirectories (`mine/fast`)."""
    nested = (
        f"{name}/{option}"
        for name in loader.get_group_options(group, ObjectType.GROUP)
        for option in options_of(loader, f"{group}/{name}")
    )
    return [*loader.get_group_options(group, ObjectType.CONFIG), *nested]


def read(tree: Any, options: Collection[str], compare: Sequence[str] = schema.COMPARED) -> dict[str, Grid]:
    """Parse and check the grid of each optimizer; for arguments and errors, see `expand`."""
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{PLACE}={tree}: expected a grid for each optimizer, as in {EXAMPLE}")
    for optimizer, grid in tree.items():
        if optimizer not in options:
            raise ConfigError(f"{PLACE}: {schema.unknown_key(str(optimizer), grid, sorted(options), 'optimizer')}")
        if not isinstance(grid, Mapping) or not grid:
            raise ConfigError(f"{PLACE}.{optimizer}={grid}: expected keys with values, as in {EXAMPLE}")
    return {
        optimizer: {key: _values(f"{PLACE}.{optimizer}", key, value, compare) for key, value in grid.items()}
        for optimizer, grid in tree.items()
    }


def _values(place: str, key: Any, value: Any, compare: Sequence[str]) -> list[Any] | Dimension:
    """Parse and check the values to try for a key, or the range to search."""
    _check_key(place, key, value)
    if isinstance(value, str) and re.match(r"(tag|int|interval)\(", value):
        try:
            given = OverridesParser.create().parse_override(f"{key}={value}")
        except HydraException as error:
            why = str(error).splitlines()[0]
            raise ConfigError(f"{place}: {key}={value}: {why}. Expected a range such as interval(0.1,1)") from error
        if (found := dimension(given, f"{place}: ", compare)) is not None:
            return found
    values = value if isinstance(value, list) else [value]
    if not values or not all(map(_is_value, values)):
        raise ConfigError(f"{place}: {key}={value}: expected a value, or a list of at least one")
    canonical = [json.dumps(configuration.canonical(element)) for element in values]
    for number, element in enumerate(canonical):
        if element in canonical[:number]:
            raise ConfigError(
                f"{place}: {key}={value}: expected different values, but {values[number]} is listed twice"
            )
    return values


def check_known(place: str, key: Any, value: Any) -> None:
    """Check that a text is a dotted key whose first part the schema knows.

    Args:
        place: Setting that contains the key, for the message.
        key: Key as given.
        value: Value of the key, for the message.

    Raises:
        ConfigError: The key is unknown.
    """
    if not re.fullmatch(r"\w+(\.\w+)*", str(key)) or str(key).partition(".")[0] not in schema.KEYS:
        raise ConfigError(f"{place}: {schema.unknown_key(str(key), value, schema.KEYS)}")


def _check_key(place: str, key: Any, value: Any) -> None:
    if key == GROUP:
        raise ConfigError(f"{place}: {key}={value}: expected settings of the optimizer, such as {key}.lr: [0.1,1]")
    check_known(place, key, value)
    # Cells are compared by common seeds and under equal conditions, so no grid may set a seed or a condition. Several
    # values of an irrelevant key would give the same job twice.
    if schema.role_of(key) is not Role.TUNABLE:
        raise ConfigError(
            f"{place}: {key}={value}: expected a key to tune. {key} must be the same for all optimizers; set it "
            f"outside of {PLACE}."
        )


def _is_value(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_value, value))
    return value is None or isinstance(value, bool | int | float | str)


def _settings(grid: Grid, trials: Any) -> Iterator[list[str]]:
    """Yield the overrides of each configuration of a grid: the product of its values and the trials of its ranges.

    Args:
        grid: Grid of one optimizer; keys as given.
        trials: Number of trials; unused if nothing is searched.
    """
    crossed, searched = [], {}
    for key, values in grid.items():
        if isinstance(values, Sequence):
            crossed.append([[override(key, value)] for value in values])
        else:
            searched[key] = values
    keys = {given: configuration.key_of(given) for given in searched}
    points = places({*keys.values()}, trials) if searched else []
    tried = [[override(given, range_.at(point[keys[given]])) for given, range_ in searched.items()] for point in points]
    for parts in product(*crossed, tried if searched else [[]]):
        yield [given for part in parts for given in part]


def _is_searched(values: Sequence[Any] | Dimension) -> bool:
    return not isinstance(values, Sequence)


def _refuse_given_twice(combination: Sequence[str], optimizer: str, grid: Grid) -> None:
    for given in combination:
        if (key := configuration.key_of(given)) in grid:
            raise ConfigError(
                f"{PLACE}.{optimizer}: {key}={grid[key]}: expected a key that the sweep does not set, not {given}. "
                f"~{PLACE}.{optimizer} removes the grid."
            )


def override(key: str, value: Any) -> str:
    """Return the override that sets a key to a value: `optim.betas=[0.9,0.98]`, `model.activation=relu`.

    Args:
        key: Dotted key.
        value: None, a boolean, a number, a string, or a list of these; an interpolation is kept.
    """
    return f"{key}={Transformer.str(_quoted(value))}"


def _quoted(value: Any) -> Any:
    if isinstance(value, list):
        return [_quoted(element) for element in value]
    return QuotedString(value, Quote.single) if isinstance(value, str) and not _is_bare(value) else value


def _is_bare(text: str) -> bool:
    """Return whether a text needs no quotes: it is a word, and Hydra parses it as text (unlike `null` or `true`)."""
    return bool(re.fullmatch(r"[A-Za-z_]\w*", text, flags=re.ASCII)) and _value(f"text={text}") == text


@cache
def _value(given: str) -> Any:
    return OverridesParser.create().parse_override(given).value()


def _optimizer(combination: Sequence[str]) -> str | None:
    """Return the optimizer of a combination; None for the default."""
    chosen = [_value(given) for given in combination if configuration.key_of(given) == GROUP]
    return str(chosen[-1]) if chosen else None
