"""The jobs of a sweep, each checked before any is trained."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from mnist_mlp.app.compose import directory_name
from mnist_mlp.run import configuration, schema
from mnist_mlp.run.environment import code
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import Job, distinct
from mnist_mlp.sweeps.names import choices, config_hash


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
    kinds: dict[str, tuple[str | None, dict[str, str], int]] = {}
    for overrides, config in configs:
        plain, chosen = configuration.plain(config), choices(config.hydra)
        schema.check(plain)
        kind = configuration.kind(plain)
        if kind not in kinds:
            parts = build.check(plain)
            on_gpu = build.find_device(plain["device"]).type == "cuda"
            stack = stack_key(plain, parts) if on_gpu else None
            kinds[kind] = stack, code(plain), len(parts.data.test)
        stack, own_code, test_images = kinds[kind]
        jobs.append(
            Job(
                tuple(overrides),
                directory / directory_name(config, overrides),
                config_hash(plain, chosen),
                build.data_digest(plain["data"]),
                plain["epochs"],
                stack,
                own_code,
                chosen,
                plain,
                test_images,
            )
        )
    return distinct(jobs, directory)
