"""One-line messages for configurations that Hydra rejects, in the form of this project's messages."""

import os
import re
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hydra
import omegaconf
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, QuotedString
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import MISSING
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from mnist_mlp.base import configuration, schema
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.provenance import STANDARD_LIBRARY, extra_with

SWEEPER_KEYS = tuple(
    f"hydra.sweeper.{key}"
    for key in ("grids", "trials", "compare", "confirm", "select", "until_decided", "max_seeds", "batch", "margin")
)
PARAMS = "hydra.sweeper.params"
CHOSEN = (*schema.GROUPS, schema.EXPERIMENT, "hydra", "hydra/launcher", "hydra/sweeper")  # groups of options
LIBRARIES = tuple(str(Path(module.__file__).parent) for module in (hydra, omegaconf, yaml) if module.__file__)
HEADER = "expected top-level keys. A study in --config-dir begins with the line # @package _global_"
TRACEBACK = " (HYDRA_FULL_ERROR=1 in the environment shows the traceback)"
LONGEST = 400  # characters of a message from a library


def is_of_hydra(error: BaseException) -> bool:
    """Return whether Hydra, OmegaConf or YAML raised an exception, which may be a built-in one such as ValueError."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    others = [file for file in files if not file.startswith(("<frozen ", f"{STANDARD_LIBRARY}{os.sep}"))]
    return bool(others) and others[-1].startswith(LIBRARIES)


def check_groups(overrides: Iterable[str]) -> None:
    """Check that overrides of groups name options.

    Args:
        overrides: Overrides of a command or a job; those that Hydra cannot parse are skipped.

    Raises:
        ConfigError: A group is set to a number, a list, a file or nothing, or is added or removed.
    """
    for given in overrides:
        group, value = configuration.key_of(given), given.partition("=")[2]
        if group.startswith(PARAMS):
            raise ConfigError(
                f"{given}: expected values without {PARAMS}, as in seed=0,1. Only studies have such keys."
            )
        if group not in CHOSEN:
            continue
        if given[0] in "+~" and not value.startswith("{"):  # a mapping adds settings to the option
            raise ConfigError(f"{given}: expected {group}=OPTION. Groups cannot be added or removed.")
        try:
            parsed = OverridesParser.create().parse_override(given)
        except HydraException:
            continue
        if not all(isinstance(value, str | QuotedString | dict) for value in _values(parsed)):
            raise ConfigError(
                f"{given}: expected an option of the group {group}. python run.py --help lists the options of each "
                "group."
            )
        if value.endswith((".yaml", ".yml")):
            raise ConfigError(f"{given}: expected the name of the option, {group}={value.rpartition('.')[0]}")


def _values(parsed: Override) -> list[Any]:
    """Return the values of a parsed override; empty for a glob or an interval."""
    value = parsed.value()
    if isinstance(value, ChoiceSweep):
        return list(value.list)
    return [] if isinstance(value, Glob | IntervalSweep) else [value]


def explain(error: Exception) -> str:
    """Return a one-line message for an exception of Hydra or OmegaConf."""
    return " ".join(_explanation(error).split())


def _explanation(error: Exception) -> str:
    text = str(error)
    if missing := re.search(r"Unknown plugin class : 'hydra_plugins\.hydra_(\w+?)_(launcher|sweeper)\.", text):
        extra, kind = missing.groups()
        return f"hydra/{kind}: {extra} is not installed. Install it with pip install -e '.[{extra}]'"
    if "Only one of --run, --multirun, --cfg, --info" in text:
        return (
            "--cfg, --info: expected a single run, without -m and with one value per key, as in "
            "python run.py --cfg job init=he. dry_run=true lists the jobs of a sweep."
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, option = _group_and_option(error.missing_cfg_file)
        plugin = f"hydra-{option.partition('_')[0]}-{group.removeprefix('hydra/')}"
        if extra := extra_with(plugin):
            return f"{group}={option}: it is not installed. Install it with pip install -e '.[{extra}]'"
        hint = schema.nearest(option, error.options)
        return f"{group}={option}: unknown option.{hint} Known options: {', '.join(error.options)}"
    if wrong := re.match(r"Sweeping over Hydra's configuration is not supported : '([^=]+)=(.*)'", text):
        key, value = wrong.groups()
        return f"{key}={value}: expected one value. A list is written in brackets, as in '{key}=[{value}]'"
    if wrong := re.match(r"Ambiguous value for argument '([^=]*)=(.*)'", text):
        key, value = wrong.groups()
        return (
            f"{key}={value}: expected one value, or -m for a sweep. A list is written as {key}=[{value}], a string "
            f"with a comma as {key}=\\'{value}\\'. --help, --cfg and --info accept one value per key."
        )
    if re.match(r"(mismatched|extraneous|no viable alternative at) input|token recognition error", text):
        subject = getattr(error, "override", None) or text.splitlines()[0]
        return (
            f"{subject}: expected an override in Hydra's syntax. Quote arguments with braces, brackets, parentheses "
            "or spaces, as in 'hydra.sweeper.grids={sgd:{optim.lr:[0.1,1]}}'"
        )
    if wrong := re.match(r"(?:Error parsing override '|LexerNoViableAltException: )(.*?)'?\n", text):
        return f"{wrong.group(1)}: expected KEY=VALUE without spaces around the =. Quote arguments that contain spaces."
    if not isinstance(error, ConfigCompositionException):
        return _shortened(error)
    if wrong := re.match(r"Error merging override \+*([^=]+)=(.*)", text):
        key, value = wrong.groups()
        if setting := schema.find_setting(key):
            values = value[1:-1] if value.startswith("[") and setting.type != list[int] else ""
            hint = f". Several values to sweep over are written as {key}={values}" if values else ""
            return f"{key}={value}: expected {schema.expectation(setting)}{hint}"
        if error.__cause__:
            why = str(error.__cause__).splitlines()[0]
            why = why.replace("Cannot merge DictConfig with ListConfig", "expected {key:value}, not a list")
            return f"{key}={value}: {why}"
    if wrong := re.match(r"Could not override '(hydra\.launcher\.[^']+)'", text):
        key = wrong.group(1)
        return f"{key}: unknown key of this launcher. python run.py --cfg hydra -p hydra.launcher lists the known keys."
    if wrong := re.match(r"Could not override '([^'@]+)'\.\nTo append to your config use \+[^=]*=(.*)", text):
        key, value = wrong.groups()
        return _unknown(key, value)
    if wrong := re.match(rf"In '({schema.EXPERIMENT}/\S+)': Could not override '\S+@{schema.EXPERIMENT}\.", text):
        return f"{wrong.group(1).replace('/', '=', 1)}: {HEADER}"
    if wrong := re.match(r"In '(\S+)': .*\n(.*)\n +full_key: (\S*)", text):  # in a study or an option of a group
        place, why, key = wrong.groups()
        if setting := schema.find_setting(key):
            why = f"{key}: expected {schema.expectation(setting)}"
        elif key.partition(".")[0] == schema.EXPERIMENT:
            why = HEADER
        elif re.match("Key '.*' not in", why):
            why = _unknown(key, MISSING)
        elif key and key not in why:
            why = f"{key}: {why}"
        return f"{place.replace('/', '=')}: {why}"
    return _shortened(error)


def _group_and_option(name: str) -> tuple[str, str]:
    """Split the name of a missing file of a group: `optim/mine/fast` into `optim` and `mine/fast`."""
    groups = [group for group in (*schema.GROUPS, schema.EXPERIMENT) if name.startswith(f"{group}/")]
    group = groups[0] if groups else name.rpartition("/")[0]
    return group, name.removeprefix(f"{group}/")


def _shortened(error: Exception) -> str:
    """Shorten a library's message to the key or override concerned and its first line."""
    lines = str(error).splitlines() or [type(error).__name__]
    first = " ".join(lines) if isinstance(error, yaml.YAMLError) else lines[0]  # YAML's last line has the position
    if isinstance(error, InterpolationResolutionError) and isinstance(error.__cause__, KeyError):
        first = str(error.__cause__.args[0])  # from a resolver such as oc.env
    about = getattr(error, "full_key", None) or getattr(error, "override", None) or _subject(error)
    cause = str(error.__cause__ or "").partition("\n")[0] if isinstance(error, HydraException) else ""
    parts = [about if about not in first else "", first, cause if cause not in first else ""]
    is_odd = not isinstance(error, HydraException | OmegaConfBaseException | yaml.YAMLError)
    return ": ".join(part for part in parts if part)[:LONGEST] + (TRACEBACK if is_odd else "")


def _subject(error: BaseException) -> str:
    """Return the override or file that Hydra was processing when it raised an exception; empty if unknown."""
    variables = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    for found in reversed([of_frame.get("override") for of_frame in variables]):
        if isinstance(found, Override):
            return str(found.input_line)
    files = [of_frame.get("config_path") for of_frame in variables]
    return next((file for file in reversed(files) if isinstance(file, str) and not Path(file).is_absolute()), "")


def _unknown(key: str, value: str) -> str:
    if key.startswith("hydra."):
        given = key if value == MISSING else f"{key}={value}"
        hint = schema.nearest(key, SWEEPER_KEYS)
        return f"{given}: unknown key.{hint} python run.py --cfg hydra lists the known keys."
    return schema.unknown_key(key, value, _beside(key))


def _beside(key: str) -> Sequence[str]:
    """Return the known keys to list for an unknown key: the keys of its group; without a group, the top-level keys."""
    head = key.partition(".")[0]
    return [path for path, _ in schema.describe() if path.startswith(f"{head}.")] or [*schema.KEYS, schema.EXPERIMENT]
