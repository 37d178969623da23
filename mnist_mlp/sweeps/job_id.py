"""Identity of a job: its option of each group, the hash of its configuration, and the name of its directory."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from mnist_mlp.base import configuration, schema

PREFIX_LENGTH = 80  # characters of the readable prefix; file systems limit names to 255 bytes


def choices(hydra: Any) -> dict[str, str]:
    """Return the selected option of each group, such as `adam` for `optim`.

    Args:
        hydra: The `hydra` node of a composed configuration.
    """
    options = hydra.runtime.choices
    return {group: options[group] for group in schema.GROUPS}


def config_hash(config: Mapping[str, Any], chosen: Mapping[str, str]) -> str:
    """Return the SHA-256 (hexadecimal) of everything that determines a run's result and its cell in a report.

    Configurations that differ only in irrelevant keys, such as paths, have the same hash. The names of the options
    count: two options with equal content are two cells of a comparison.

    Args:
        config: Plain configuration (see `mnist_mlp.base.configuration.plain`).
        chosen: Option of each group.
    """
    decisive = {"choices": dict(chosen), "config": configuration.identity(config)}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def job_name(_root_: DictConfig) -> str:
    """Return the directory name of a job, for Hydra's `${job_name:}`.

    The name depends on the composed configuration, not on the overrides. An override that repeats a default therefore
    does not change it.
    """
    chosen, config = choices(_root_.hydra), configuration.plain(_root_)
    return name_of(config, chosen, config_hash(config, chosen))


def name_of(config: Mapping[str, Any], chosen: Mapping[str, str], of: str) -> str:
    """Return the directory name of a job: a readable prefix, and eight digits of the configuration's hash.

    Args:
        config: Plain configuration.
        chosen: Option of each group.
        of: Hash of both (see `config_hash`).
    """
    schedule = [chosen["schedule"]] if chosen["schedule"] != "constant" else []
    words = [
        chosen["init"],
        chosen["optim"],
        *schedule,
        f"lr{configuration.shown(config, 'optim.lr')}",
        _seeds(config),
    ]
    prefix = re.sub(r"[^A-Za-z0-9._]+", "-", "_".join(words)).lstrip("-._")
    return f"{prefix[:PREFIX_LENGTH]}-{of[:8]}"


def _seeds(config: Mapping[str, Any]) -> str:
    """Return `seed3`, or `seeds3-0-0-0` (in the order of `schema.SOURCES`) if random streams have different seeds."""
    of_streams = list(map(str, configuration.seeds(config).values()))
    return f"seed{of_streams[0]}" if len(set(of_streams)) == 1 else f"seeds{'-'.join(of_streams)}"
