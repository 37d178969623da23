"""The jobs of a sweep, each checked before any is trained."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from mnist_mlp.app.compose import directory_name
from mnist_mlp.run import configuration, schema
from mnist_mlp.run.environment import code
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import Job, distinct
from mnist_mlp.sweeps.names import choices, config_hash


class Checked(NamedTuple):
    """What jobs of one kind, which can fail in the same ways alone, have in common; attributes are those of `Job`."""

    stack: str | None
    code: dict[str, str]
    test_images: int


def plan(directory: Path, configs: Iterable[tuple[Sequence[str], DictConfig]]) -> list[Job]:
    """The jobs of a sweep, each checked; configurations that cannot give different results are one job.

    Args:
        directory: of the sweep.
        configs: overrides and composed configuration of every job.

    Raises:
        UserError: one job could not work, or two would write into one directory.
    """
    with importing():
        from mnist_mlp.training import build
        from mnist_mlp.training.stack.plan import stack_key

    jobs: list[Job] = []
    checked: dict[str, Checked] = {}
    for overrides, config in configs:
        plain, chosen = configuration.plain(config), choices(config.hydra)
        schema.check(plain)
        kind = configuration.kind(plain)
        if kind not in checked:
            parts = build.check(plain)
            on_gpu = build.find_device(plain["device"]).type == "cuda"
            checked[kind] = Checked(stack_key(plain, parts) if on_gpu else None, code(plain), len(parts.data.test))
        job = Job(
            overrides=tuple(overrides),
            directory=directory / directory_name(config),
            config_hash=config_hash(plain, chosen),
            data_digest=build.data_digest(plain["data"]),
            epochs=plain["epochs"],
            choices=chosen,
            config=plain,
            **checked[kind]._asdict(),
        )
        jobs.append(job)
    return distinct(jobs, directory)
