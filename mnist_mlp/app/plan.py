"""Checks of all jobs of a sweep before any is trained."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from mnist_mlp.app.compose import directory_name, has_default_name
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.provenance import code_digests
from mnist_mlp.base.startup import importing
from mnist_mlp.sweeps.job_id import choices, config_hash, name_of
from mnist_mlp.sweeps.jobs import Job, drop_duplicates
from mnist_mlp.sweeps.progress import count_items

if TYPE_CHECKING:  # slow imports; functions import them on demand
    from mnist_mlp.build.kind_check import KindCheck


class Kind(NamedTuple):
    """Properties shared by all jobs of a kind (see `mnist_mlp.base.configuration.kind`).

    Attributes:
        check: Checker of additional configurations of this kind.
        on_gpu: Whether the jobs run on a CUDA device.
        code: Digests of the user-defined modules (see `Job`).
        test_images: Number of test images.
        steps: Number of training steps of a job.
        step_seconds: Measured time of a training step on the CPU in seconds; None if not measured.
    """

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
    """Check and return the jobs of a sweep. Configurations that cannot differ in their results become one job.

    Jobs of one kind differ only in seeds and numbers. The first job of a kind is built and tried in full. For the
    others, only the numbers that differ are tried. A job that fails this is tried in full, too, for its message (see
    `mnist_mlp.build.kind_check`).

    Args:
        directory: Sweep directory.
        configs: Overrides and composed configuration of each job.
        count: Number of jobs; None if unknown.
        progress: Whether to show the number of checked jobs.
        timed: Whether to measure the time of a training step of each kind on the CPU.
        kinds: Cache of checked kinds, shared by several calls; None for no sharing.

    Raises:
        UserError: A job is invalid, or two jobs have the same directory.
    """
    with importing():
        from mnist_mlp.build import from_config
        from mnist_mlp.build.kind_check import KindCheck, parts_like
        from mnist_mlp.build.stack_plan import stack_key

    jobs: list[Job] = []
    kinds = {} if kinds is None else kinds
    for overrides, config in count_items(configs, count, "jobs checked", progress):
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
                code=code_digests(plain),
                test_images=len(check.parts.data.test),
                steps=from_config.total_steps(plain, len(check.parts.data.train)),
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
    _check_outputs(jobs)
    return drop_duplicates(jobs, directory)


def _check_outputs(jobs: Sequence[Job]) -> None:
    """Check that each output key has one value in a sweep: it changes no result, so its values make no jobs.

    Raises:
        UserError: An output key has several values.
    """
    for key in (key for key in schema.KEYS if schema.role_of(key) is schema.Role.OUTPUT):
        values = list(dict.fromkeys(json.dumps(job.config[key]) for job in jobs))
        if len(values) > 1:
            hint = ", such as metrics=[top2,macro_f1]" if key == "metrics" else ""
            raise UserError(f"{key}: expected one value in a sweep{hint}, since {key} changes no result")
