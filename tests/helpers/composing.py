"""Configurations that Hydra composes from a command line, without running a job."""

import copy
import functools
from collections.abc import Iterable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from mnist_mlp.app.register import register
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.build import trial
from mnist_mlp.sweeps import job_id
from tests.helpers.paths import ROOT

register(ROOT / "experiments")


def composed(*overrides: str) -> DictConfig:
    """Return a copy of the configuration for these overrides, which is composed once."""
    return copy.deepcopy(_composed(*overrides))


@functools.cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", list(overrides), return_hydra_config=True)


def job_name(*overrides: str) -> str:
    return job_id.job_name(composed(*overrides))


def refused(config: dict[str, Any], words: Iterable[str]) -> None:
    """Assert that the check before training refuses this configuration, in one line with all these words."""
    with pytest.raises(ConfigError) as caught:
        trial.check(config)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message
