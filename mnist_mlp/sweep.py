"""How jobs are planned, guarded and summed up: the module that knows Hydra."""

import json
import logging
import os
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf

import mnist_mlp
from mnist_mlp import config as schema
from mnist_mlp.cli import usage
from mnist_mlp.composing import directory_name
from mnist_mlp.config import UserError
from mnist_mlp.environment import code, find_modules_in
from mnist_mlp.holding import holding
from mnist_mlp.interrupts import leave_interrupts_to_the_parent
from mnist_mlp.jobs import (
    STOP_FILE,
    Assignment,
    Job,
    Progress,
    distinct,
    finished_jobs,
    interruptible,
)
from mnist_mlp.naming import choices, config_hash, job_name
from mnist_mlp.record import RUN_FILE, Diverged, RunWriter
from mnist_mlp.startup import importing

log = logging.getLogger(__name__)

# Our launcher files have the names of the plugins' schemas, so that `hydra/launcher=ray` means ours; Hydra 1.3 matches
# the two, as it should, and warns that 1.4 will want it spelt out.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

ATTEMPTS = 2  # a job whose worker was killed is tried this often in one sweep
EXPERIMENT = "experiment"

planned: list[Job] = []  # of the sweep that has just ended; the callback that sums it up is another object


class JobFailed(UserError):
    """A run raised; its traceback has been logged already."""


def register(experiments: Path) -> None:
    """Tell Hydra the schema, the studies, and the resolvers that `conf/` uses.

    Args:
        experiments: the folder of the studies, one YAML each.
    """
    store = ConfigStore.instance()
    typed = OmegaConf.structured(schema.Config)
    for group in schema.GROUPS:
        OmegaConf.set_struct(typed[group], False)  # open for the arguments of the group's own target
    store.store(name="schema", node=typed)
    for path in sorted(experiments.glob("*.yaml")):
        study = OmegaConf.merge(OmegaConf.load(path), {"hydra": {"mode": RunMode.MULTIRUN.name}})
        store.store(group=EXPERIMENT, name=path.stem, node=study, package="_global_", provider=str(path))
    OmegaConf.register_new_resolver("job_name", job_name, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", sweep_dir, replace=True)
    OmegaConf.register_new_resolver("cores", cpu_count, replace=True)
    OmegaConf.register_new_resolver("unless", lambda given, value: None if given else value, replace=True)
    OmegaConf.register_new_resolver("launch_size", launch_size, replace=True)
    OmegaConf.register_new_resolver("usage", usage, replace=True)


def sweep_dir(dated: str, _root_: DictConfig) -> str:
    """Where a sweep writes: a study in a directory of its name, so that it resumes by itself; others by date."""
    study = _root_.hydra.runtime.choices.get(EXPERIMENT)
    return f"multirun/{study or dated}"


def launch_size(_root_: DictConfig) -> int | None:
    """How many jobs the launcher may have at a time: submitit's local one would start every one of them at once."""
    return cpu_count() if _root_.hydra.runtime.choices["hydra/launcher"] == "submitit_local" else None


def assignment(config: DictConfig) -> Assignment:
    """What the job that Hydra has prepared is to do.

    Args:
        config: the composed configuration, without Hydra's part.
    """
    hydra = HydraConfig.get()
    plain, chosen = schema.plain(config), choices(hydra)
    return Assignment(
        config=plain,
        directory=Path(hydra.runtime.output_dir),
        choices=chosen,
        overrides=tuple(hydra.overrides.task),
        config_hash=config_hash(plain, chosen),
    )


def run_job(config: DictConfig, run: Callable[[Mapping[str, Any], RunWriter], None]) -> float | None:
    """Run one job into Hydra's output directory, and write down how it ended.

    In a sweep a failure is recorded and the other jobs go on; alone, or under another sweeper than ours, it raises.

    Args:
        config: the composed configuration.
        run: trains what a plain configuration names, and writes its records.

    Returns:
        What a sweeper that searches, such as Optuna's, maximises (see `RunWriter.end`).

    Raises:
        JobFailed: `run` raised, and nobody else would notice.
    """
    hydra, job = HydraConfig.get(), assignment(config)
    # Again, as this may be another process than the one that took the command.
    find_modules_in(hydra.runtime.cwd)
    leave_interrupts_to_the_parent()
    stop = Path(hydra.sweep.dir) / STOP_FILE
    in_sweep = hydra.mode == RunMode.MULTIRUN
    if in_sweep:
        _silence_console()
        if stop.exists():
            return None
    log.info("%s", job.directory)
    writer = job.writer()
    try:
        run({**job.config, "progress": config.progress and not in_sweep}, writer)
    except Diverged as error:
        log.warning("diverged: %s", error)
        return writer.end(error)
    except Exception as error:
        log.exception("failed")
        if in_sweep and config.fail_fast:
            stop.touch()
        value = writer.end(error)
        if not (in_sweep and looks_at_results(hydra)):
            raise JobFailed(f"the run failed; see {job.directory}/run.log") from error
        return value
    return writer.end()


def looks_at_results(hydra: Any) -> bool:
    """Whether the sweeper finds failures in the jobs' directories, as ours does; others must be told by an error."""
    return "GridSweeper" in hydra.sweeper._target_


def _silence_console() -> None:
    """Leave the console to the sweep's one line; everything is in the job's run.log."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


class _ClosingHandler(logging.FileHandler):
    """Appends to a file that is open while it writes only: one process may have hundreds."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if self.stream is not None:
            self.stream.close()
            self.stream = None  # as logging does with `delay`


def log_of_job() -> logging.Logger:
    """A logger into the files that Hydra has just set up for the current job, whatever is set up after."""
    own = logging.Logger("job", logging.INFO)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            writer = _ClosingHandler(handler.baseFilename, delay=True, encoding=handler.encoding)
            writer.setFormatter(handler.formatter)
            own.addHandler(writer)
    return own


def plan(directory: Path, configs: Iterable[tuple[Sequence[str], DictConfig]]) -> list[Job]:
    """The jobs of a sweep, each checked; configurations that cannot give different results are one job.

    Args:
        directory: of the sweep.
        configs: overrides and composed configuration of every job.

    Raises:
        UserError: one job could not work, or two would write into one directory.
    """
    with importing():
        from mnist_mlp import build, packing

    jobs: list[Job] = []
    kinds: dict[str, tuple[str | None, dict[str, str]]] = {}
    for overrides, config in configs:
        plain, chosen = schema.plain(config), choices(config.hydra)
        schema.check(plain)
        kind = json.dumps({**plain, "seed": 0}, sort_keys=True)  # whatever the seed, the same objects are built
        if kind not in kinds:
            parts = build.check(plain)
            on_gpu = build.find_device(plain["device"]).type == "cuda"
            kinds[kind] = (packing.stack_key(plain, parts) if on_gpu else None), code(plain)
        jobs.append(
            Job(
                tuple(overrides),
                directory / directory_name(config, overrides),
                config_hash(plain, chosen),
                build.data_digest(plain["data"]),
                plain["epochs"],
                *kinds[kind],
            )
        )
    return distinct(jobs, directory)


def run_sweep(
    directory: Path,
    configs: Iterable[tuple[Sequence[str], DictConfig]],
    launch: Callable[[Sequence[Job]], object],
    settings: DictConfig,
) -> None:
    """Train those jobs of a sweep that have no result yet, whatever happens to some of them.

    Args:
        directory: of the sweep.
        configs: overrides and composed configuration of every job.
        launch: runs jobs and returns when all have ended.
        settings: the sweep's configuration; `force`, `fail_fast`, `dry_run` and `progress` count.

    Raises:
        UserError: a job could not work, another sweep writes there, or the results there are of another making.
    """
    jobs = plan(directory, configs)
    with nullcontext() if settings.dry_run else holding(directory):  # held before looking at what is finished
        done = [] if settings.force else finished_jobs(jobs, mnist_mlp.__version__)
        has_result = set(done)
        todo = [job for job in jobs if job not in has_result]
        log.info("%s: %d jobs, %d skipped as they have a result, %d to do", directory, len(jobs), len(done), len(todo))
        if settings.dry_run:
            print("\n".join(_dry_run(done, todo)))
            return
        (directory / STOP_FILE).unlink(missing_ok=True)
        for job in todo:
            (job.directory / RUN_FILE).unlink(missing_ok=True)
        if settings.hydra.runtime.choices["hydra/launcher"] != "stacked" and (hint := stacking_hint(todo)):
            log.info("%s", hint)
        progress = Progress(todo, len(done), settings.progress)
        with interruptible(lambda: f"{progress.line()}.\nTo go on: {resume_command(directory)}"), progress:
            _launch_until_ended(todo, launch)
        log.info("%s", progress.line())
    planned[:] = jobs
    if without_result := [job for job in todo if job.status() is None]:
        log.error("%d jobs have no result. To go on: %s", len(without_result), resume_command(directory))


def stacking_hint(jobs: Sequence[Job]) -> str | None:
    """What a GPU's user would gain from another launcher, in one line; None where it is nothing."""
    together = [count for stack, count in Counter(job.stack for job in jobs).items() if stack and count > 1]
    if not together:
        return None
    return (
        f"one network leaves this GPU mostly idle: with hydra/launcher=stacked, {sum(together)} of these {len(jobs)} "
        f"jobs would train together, up to {max(together)} in each step"
    )


def _launch_until_ended(jobs: Sequence[Job], launch: Callable[[Sequence[Job]], object]) -> None:
    """Launch, and launch again what a dead worker has taken down with it."""
    # Workers that are started as plain Python processes must find what the user keeps beside run.py.
    path = [str(Path(sys.argv[0]).absolute().parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(path)
    for attempt in range(1, ATTEMPTS + 1):
        todo = [job for job in jobs if job.status() is None]
        if not todo:
            return
        if attempt > 1:
            log.warning("%d jobs have not ended; trying them again", len(todo))
        try:
            launch(todo)
        except Exception as error:  # a launcher may raise whatever its library does when a worker dies
            log.error("the launcher stopped: %s: %s", type(error).__name__, error)
        else:
            return


def resume_command(directory: Path) -> str:
    """The command line that goes on with this sweep."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("force=")]
    if not any(a.startswith((f"{EXPERIMENT}=", "hydra.sweep.dir=")) for a in arguments):
        arguments.append(f"hydra.sweep.dir={directory}")
    return shlex.join(["python", sys.argv[0], *arguments])


def _dry_run(done: Sequence[Job], todo: Sequence[Job]) -> Iterable[str]:
    yield from (f"done   {job.directory.name}  {' '.join(job.overrides)}" for job in done)
    yield from (f"to do  {job.directory.name}  {' '.join(job.overrides)}" for job in todo)
    seconds = [summary["wall_seconds"] for job in done if "wall_seconds" in (summary := job.summary())]
    if not seconds:
        yield f"{len(todo)} to do; no finished run to estimate the time from"
    else:
        yield f"{len(todo)} to do; about {mean(seconds) * len(todo):.0f} s of one worker, by {len(done)} finished runs"
