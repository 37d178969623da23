"""Hydra's configuration of the project."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.helpers.paths import ROOT

if TYPE_CHECKING:  # imported lazily otherwise: the process that distributes the tests needs no such module
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

Combinations = Callable[..., list[list[str]]]


@contextmanager
def config_loader() -> "Iterator[ConfigLoader]":
    """Initialize Hydra for this project, and yield its loader."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def sweep_config(loader: "ConfigLoader", *arguments: str) -> "DictConfig":
    """Return the configuration of `python run.py -m ARGUMENTS`, before any job."""
    from hydra.types import RunMode

    return loader.load_configuration("config", list(arguments), run_mode=RunMode.MULTIRUN)
