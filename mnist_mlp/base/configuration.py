"""Composed configurations as plain containers, and the part of a configuration that determines the result of its run.

A plain configuration consists of Python's dicts, lists and basic types, with interpolations resolved.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from mnist_mlp.base.schema import EXPERIMENT, SOURCES, Config

NUMBERED = ("init", "optim", "schedule")  # groups whose numbers do not change the types or shapes of built objects


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a composed configuration as a plain one, without the `hydra` node and without keys that have no value."""

    def present(node: Any) -> Any:
        return {k: present(v) for k, v in node.items() if v != MISSING} if isinstance(node, dict) else node

    return {
        str(key): present(OmegaConf.to_container(value, resolve=True)) if OmegaConf.is_config(value) else value
        for key, value in config.items()
        if key not in ("hydra", EXPERIMENT)
    }


def key_of(override: str) -> str:
    """Return the key of an override without Hydra's affixes (`+`, `++`, `~`, `@package`)."""
    return override.partition("=")[0].partition("@")[0].lstrip("+~")


def located(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a plain configuration with `data.root` relative to a given directory instead of the working directory.

    Args:
        config: Plain configuration.
        directory: Directory that a relative `data.root` refers to.
    """
    root = config["data"].get("root")
    return (
        {**config, "data": {**config["data"], "root": str(directory / root)}} if isinstance(root, str) else {**config}
    )


def shown(tree: Any, key: str) -> str:
    """Return the value of a dotted key as a user types it; empty if the plain configuration lacks the key."""
    for part in key.split("."):
        if part not in tree:
            return ""
        tree = tree[part]
    return json.dumps(tree).strip('"')


def seeds(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the seed of each random stream of a run: `seeds.<stream>` if set, otherwise `seed`.

    Args:
        config: Plain configuration; `seeds` and its keys may be missing.
    """
    own = config.get("seeds") or {}
    return {source: config["seed"] if own.get(source) is None else own[source] for source in SOURCES}


def kind(config: Mapping[str, Any]) -> str:
    """Return a text that is equal for configurations of one kind.

    These differ only in seeds and in numbers of the groups `NUMBERED`. Their objects have the same types and shapes.

    Args:
        config: Plain configuration.
    """
    numberless = {key: _numberless(value) if key in NUMBERED else value for key, value in _seedless(config).items()}
    return json.dumps(numberless, sort_keys=True)


def _numberless(node: Any) -> Any:
    """Replace each number by NaN, which no value of a configuration serializes to."""
    if isinstance(node, dict):
        return {key: _numberless(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_numberless(value) for value in node]
    return math.nan if isinstance(node, int | float) and not isinstance(node, bool) else node


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a plain configuration that determines a run's result: all keys except irrelevant ones.

    `seeds` has the seed of each random stream, whether it was set by `seed` or by `seeds.<stream>`.
    """
    return _decisive(_seedless(config), Config) | {"seeds": canonical(seeds(config))}


def _seedless(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("seed", "seeds")}


def _decisive(config: Mapping[str, Any], schema: type) -> dict[str, Any]:
    idle = {f.name for f in fields(schema) if (role := f.metadata.get("role")) and not role.is_decisive}
    groups: dict[str, Any] = {f.name: f.default_factory for f in fields(schema) if is_dataclass(f.default_factory)}
    return {
        key: _decisive(value, groups[key]) if key in groups else canonical(value)
        for key, value in config.items()
        if key not in idle
    }


def canonical(value: Any) -> Any:
    """Return a value in which equal numbers, such as 0 and 0.0, are identical."""
    if isinstance(value, list):
        return [canonical(element) for element in value]
    if isinstance(value, dict):
        return {key: canonical(element) for key, element in value.items()}
    is_small_int = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if is_small_int else value
