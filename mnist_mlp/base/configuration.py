"""Composed configurations as plain containers, and the part of them that decides a result."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from mnist_mlp.base.schema import EXPERIMENT, SOURCES, Config, Role

NUMBERED = ("init", "optim", "schedule")  # groups whose numbers change no type and no shape of what a run builds


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed configuration as resolved plain containers, without Hydra's part and keys that no option has set."""

    def present(node: Any) -> Any:
        return {k: present(v) for k, v in node.items() if v != MISSING} if isinstance(node, dict) else node

    return {
        str(key): present(OmegaConf.to_container(value, resolve=True)) if OmegaConf.is_config(value) else value
        for key, value in config.items()
        if key not in ("hydra", EXPERIMENT)
    }


def key_of(override: str) -> str:
    """Return the key of an override, without what Hydra allows around a key (`+`, `++`, `~`, `@package`)."""
    return override.partition("=")[0].partition("@")[0].lstrip("+~")


def located(config: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return a plain configuration whose data directory does not depend on the working directory.

    Args:
        config: Plain configuration.
        directory: Directory that a relative `data.root` is relative to.
    """
    root = config["data"].get("root")
    return (
        {**config, "data": {**config["data"], "root": str(directory / root)}} if isinstance(root, str) else {**config}
    )


def shown(tree: Any, key: str) -> str:
    """The value of a dotted key in a plain configuration as one would type it; empty where it has none."""
    for part in key.split("."):
        if part not in tree:
            return ""
        tree = tree[part]
    return json.dumps(tree).strip('"')


def seeds(config: Mapping[str, Any]) -> dict[str, int]:
    """The seed that each random stream of a run comes from: its own, or that of the run.

    Args:
        config: Plain configuration; seeds that are left out are those of the run.
    """
    own = config.get("seeds") or {}
    return {source: config["seed"] if own.get(source) is None else own[source] for source in SOURCES}


def kind(config: Mapping[str, Any]) -> str:
    """Return what plain configurations have in common that differ in seeds and in numbers of some groups alone.

    They build objects of the same types and shapes. The groups are those of `NUMBERED`.
    """
    numberless = {key: _numberless(value) if key in NUMBERED else value for key, value in _seedless(config).items()}
    return json.dumps(numberless, sort_keys=True)


def _numberless(node: Any) -> Any:
    """Return a node with NaN, which no text equals, in place of each number."""
    if isinstance(node, dict):
        return {key: _numberless(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_numberless(value) for value in node]
    return math.nan if isinstance(node, int | float) and not isinstance(node, bool) else node


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a plain configuration that decides what a run computes: all but the irrelevant keys.

    Its `seeds` are those of the streams, however they were given, as the same streams make the same run.
    """
    return _decisive(_seedless(config), Config) | {"seeds": canonical(seeds(config))}


def _seedless(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("seed", "seeds")}


def _decisive(config: Mapping[str, Any], schema: type) -> dict[str, Any]:
    idle = {f.name for f in fields(schema) if f.metadata.get("role") is Role.IRRELEVANT}
    groups: dict[str, Any] = {f.name: f.default_factory for f in fields(schema) if is_dataclass(f.default_factory)}
    return {
        key: _decisive(value, groups[key]) if key in groups else canonical(value)
        for key, value in config.items()
        if key not in idle
    }


def canonical(value: Any) -> Any:
    """The same for numbers that are equal, such as 0 and 0.0."""
    if isinstance(value, list):
        return [canonical(element) for element in value]
    if isinstance(value, dict):
        return {key: canonical(element) for key, element in value.items()}
    is_small_int = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return float(value) if is_small_int else value
