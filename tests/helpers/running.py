"""Runs of given overrides, trained in this process."""

from pathlib import Path

from mnist_mlp.app.job import _train
from mnist_mlp.base.configuration import plain
from mnist_mlp.sweeps.job_id import choices, config_hash
from mnist_mlp.sweeps.jobs import Assignment
from tests.helpers.composing import composed


def assignment(directory: Path, *overrides: str) -> Assignment:
    """Return the assignment of a run in this directory."""
    config = composed(*overrides)
    chosen, content = choices(config.hydra), plain(config)
    return Assignment(content, directory, chosen, overrides, config_hash(content, chosen))


def train_run(directory: Path, *overrides: str) -> Path:
    """Train a run, and return its directory."""
    job = assignment(directory, *overrides)
    writer = job.writer()
    _train(job.config, writer, None)
    writer.end()
    return directory
