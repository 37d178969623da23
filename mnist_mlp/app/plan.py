"""Check of every job of a sweep before any is trained."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from mnist_mlp.app.compose import directory_name, has_default_name
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.provenance import code
from mnist_mlp.base.startup import importing
from mnist_mlp.sweeps.job_id import choices, config_hash, name_of
from mnist_mlp.sweeps.jobs import Job, distinct
from mnist_mlp.sweeps.progress import counted

if TYPE_CHECKING:  # else what takes long to import is left until it is needed
    from mnist_mlp.build.kinds import KindCheck


class Kind(NamedTuple):
    """What jobs of one kind have in common; attributes except for `check` and `on_gpu` are those of `Job`."""

    check: "KindCheck"
    on_gpu: bool
    code: dict[str, str]
    test_images: int
    steps: int
    step_seconds: float | None


def plan(
    directory: Path,
    configs: Iterable[tuple[Sequence[str], DictConfig]],
    *,
    count: int | None = None,
    progress: bool = False,
    timed: bool = False,
    kinds: "dict[str, Kind] | None" = None,
) -> list[Job]:
    """Check and return the jobs of a sweep; configurations that cannot give different results are one job.

    The first job of each kind is tried as a whole, others by their numbers (see `mnist_mlp.build.kinds`).

    Args:
        directory: Sweep directory.
        configs: Overrides and composed configuration of each job.
        count: Number of jobs; None if unknown.
        progress: Whether to show how many jobs have been checked.
        timed: Whether to measure how long a training step of each kind takes on the CPU.
        kinds: Kinds that have been checked by other calls, to which those of this call are added; None for none.

    Raises:
        UserError: A job could not work, or two would write into one directory.
    """
    with importing():
        from mnist_mlp.build import from_config
        from mnist_mlp.build.kinds import KindCheck, parts_like
        from mnist_mlp.build.stack_plan import stack_key

    jobs: list[Job] = []
    kinds = {} if kinds is None else kinds
    for overrides, config in counted(configs, count, "jobs checked", progress):
        plain, chosen = configuration.plain(config), choices(config.hydra)
        schema.check(plain)
        key = configuration.kind(plain)
        if key in kinds:
            kinds[key].check.check(plain)
        else:
            check = KindCheck(plain)
            kinds[key] = Kind(
                check=check,
                on_gpu=from_config.find_device(plain["device"]).type == "cuda",
                code=code(plain),
                test_images=len(check.parts.data.test),
                steps=from_config.steps_of(plain, len(check.parts.data.train)),
                step_seconds=check.step_seconds(plain) if timed else None,
            )
        kind = kinds[key]
        of = config_hash(plain, chosen)
        name = name_of(plain, chosen, of) if has_default_name(config) else directory_name(config)
        job = Job(
            overrides=tuple(overrides),
            directory=directory / name,
            config_hash=of,
            data_digest=from_config.data_digest(plain["data"]),
            epochs=plain["epochs"],
            stack=stack_key(plain, parts_like(kind.check.parts, plain)) if kind.on_gpu else None,
            code=kind.code,
            choices=chosen,
            config=plain,
            test_images=kind.test_images,
            steps=kind.steps,
            step_seconds=kind.step_seconds,
        )
        jobs.append(job)
    return distinct(jobs, directory)
