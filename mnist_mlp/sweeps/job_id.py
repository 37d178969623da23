"""Identity of a job: its options, the hash of its configuration, the name of its directory."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from mnist_mlp.base import configuration, schema

PREFIX_LENGTH = 80  # characters of a job's readable prefix; file systems allow 255 bytes a name


def choices(hydra: Any) -> dict[str, str]:
    """The option chosen in each group: what a report calls the run's initialization, optimizer, model and so on."""
    options = hydra.runtime.choices
    return {group: options[group] for group in schema.GROUPS}


def config_hash(config: Mapping[str, Any], chosen: Mapping[str, str]) -> str:
    """SHA-256, hexadecimal, of what decides a run's result and its place in a report.

    Two configurations share it exactly when they differ in nothing but keys that cannot change a result. The names of
    the options count, as two options of equal content are still two cells of a comparison.

    Args:
        config: plain (see `mnist_mlp.base.configuration.plain`).
        chosen: group to option.
    """
    decisive = {"choices": dict(chosen), "config": configuration.identity(config)}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def job_name(_root_: DictConfig) -> str:
    """Return the name of a job's directory, from the composed configuration and not from the overrides.

    So a default is the same job whether it is stated or left out.
    """
    chosen, config = choices(_root_.hydra), configuration.plain(_root_)
    return name_of(config, chosen, config_hash(config, chosen))


def name_of(config: Mapping[str, Any], chosen: Mapping[str, str], of: str) -> str:
    """Return the name of a job's directory: a readable prefix, and eight digits of the configuration's hash.

    Args:
        config: Plain configuration.
        chosen: Group to option.
        of: Hash of the two (see `config_hash`).
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
    """`seed3`; where streams have seeds of their own, `seeds3-0-0-0`, in the order of `schema.SOURCES`."""
    of_streams = list(map(str, configuration.seeds(config).values()))
    return f"seed{of_streams[0]}" if len(set(of_streams)) == 1 else f"seeds{'-'.join(of_streams)}"
