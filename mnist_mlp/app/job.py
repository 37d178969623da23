"""Execution of one job that Hydra has prepared: training, logging, and the record of its end."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from mnist_mlp.base import configuration
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interrupts import ignore_interrupts
from mnist_mlp.base.provenance import environment, find_modules_in
from mnist_mlp.base.record import RUN_FILE, Diverged, Metrics, Record, Recorder, RunWriter
from mnist_mlp.base.startup import importing
from mnist_mlp.sweeps.job_id import choices, config_hash
from mnist_mlp.sweeps.jobs import STOP_FILE, Assignment
from mnist_mlp.sweeps.lock import LockCheck

if TYPE_CHECKING:  # slow imports; functions import them on demand
    import torch
    from torch import nn

    from mnist_mlp.build.from_config import Parts

log = logging.getLogger(__name__)


class JobFailed(UserError):
    """A run that raised an exception; its traceback has been logged already."""


def run_job(config: DictConfig) -> float | None:
    """Run one job in Hydra's output directory, and record its end.

    In a sweep with `hydra/sweeper=grid`, a failure is recorded but not raised, so that the other jobs continue.

    Args:
        config: Composed configuration.

    Returns:
        Objective that a sweeper such as Optuna's maximizes (see `RunWriter.end`).

    Raises:
        JobFailed: The job failed, and is not part of a sweep with `hydra/sweeper=grid`.
    """
    if config.dry_run:  # under another sweeper or without the callback; otherwise no job gets this far
        return None
    hydra, job = HydraConfig.get(), assignment(config)
    # `cli.call` did this too, but the job may run in another process.
    find_modules_in(hydra.runtime.cwd)
    ignore_interrupts()
    given_in = Path(hydra.runtime.cwd)  # hydra.job.chdir=true has changed the working directory
    sweep = given_in / hydra.sweep.dir
    stop = sweep / STOP_FILE
    in_sweep = hydra.mode == RunMode.MULTIRUN
    logging.raiseExceptions = False  # otherwise a full disk prints a traceback for each line of the log
    if in_sweep:
        _silence_console()
        if stop.exists():
            return None
    log.info("%s", job.directory)
    writer = job.writer()
    try:
        held = LockCheck(sweep, hydra.sweeper.get("holder")) if in_sweep else None
        located = job.config if Path.cwd() == given_in else configuration.located(job.config, given_in)
        _train({**located, "progress": config.progress and not in_sweep}, writer, held)
    except Diverged as error:
        log.warning("diverged: %s", error)
        return writer.end(error)
    except (Exception, SystemExit) as error:  # sys.exit in user-defined code must not end the sweep
        log.exception("failed")
        if in_sweep and config.fail_fast:
            stop.touch()
        value = writer.end(error)
        if not (in_sweep and sweeps_by_grid(hydra)):
            raise JobFailed(f"the run failed; see {log_file() or job.directory / RUN_FILE}") from error
        return value
    return writer.end()


def assignment(config: DictConfig) -> Assignment:
    """Return the assignment of the job that Hydra has prepared.

    Args:
        config: Composed configuration without the `hydra` node.
    """
    hydra = HydraConfig.get()
    plain, chosen = configuration.plain(config), choices(hydra)
    return Assignment(
        config=plain,
        directory=Path(hydra.runtime.output_dir),
        choices=chosen,
        overrides=tuple(hydra.overrides.task),
        config_hash=config_hash(plain, chosen),
    )


def sweeps_by_grid(hydra: Any) -> bool:
    """Return whether the sweeper is `grid`, which reads the status of jobs from their directories."""
    return bool(hydra.runtime.choices["hydra/sweeper"] == "grid")


def _train(config: Mapping[str, Any], writer: RunWriter, held: LockCheck | None) -> None:
    """Train the run of a plain configuration, and write its records.

    If another sweep has taken over the directory (see `LockCheck`), the process exits immediately without writing.

    Raises:
        mnist_mlp.base.record.Diverged: A loss was not finite.
    """
    with importing():  # takes seconds, which `--help` should not
        import torch

        from mnist_mlp.build.from_config import build, find_device
        from mnist_mlp.data.batches import batch_sizes
        from mnist_mlp.sweeps.progress import show_progress

    device = find_device(config["device"])
    writer.describe(environment=environment(str(device), config["threads"]))
    parts = build(config, torch.device("cpu"))
    steps = config["epochs"] * len(batch_sizes(len(parts.data.train), config["batch_size"]))
    _, records = start(config, parts, device, writer)
    for record in show_progress(records, config["epochs"], steps, config["progress"]):
        if held and isinstance(record, Metrics) and held.by_another():
            log.error("another sweep uses the directory now; this worker of a killed sweep exits")
            os._exit(1)
        writer.write(record)


def start(
    config: Mapping[str, Any], parts: "Parts", device: "torch.device", recorder: Recorder
) -> "tuple[nn.Module, Iterator[Record]]":
    """Prepare the training of a run by the fastest method for its device, and note the method in its facts.

    Args:
        config: Plain configuration.
        parts: Parts of the run, built on the CPU.
        device: Device to train on.
        recorder: Recorder of the run.

    Returns:
        The model, and the records, which train it as they are drawn.
    """
    with importing():
        from mnist_mlp.build.from_config import build
        from mnist_mlp.build.outputs import observe
        from mnist_mlp.build.stack_members import facts, run_of, train_alone
        from mnist_mlp.network.matmul import library
        from mnist_mlp.training.loop import train
        from mnist_mlp.training.stack.loop import supports
        from mnist_mlp.training.step import StepPath, path

    if device.type == "cuda" and supports(parts.model, parts.optimizer):
        recorder.describe(**parts.facts(), **facts(run_of(parts), 1))
        observe(recorder, config, parts)
        return parts.model, train_alone(parts, config, device)
    if device.type != "cpu":
        parts = build(config, device)
    observe(recorder, config, parts)
    step = path(parts.model, parts.optimizer)
    if step is StepPath.AUTOGRAD and device.type == "cpu":
        log.info("trained by autograd: there are no fused kernels for this network or optimizer")
    recorder.describe(
        **parts.facts(), step=str(step) if step is StepPath.AUTOGRAD else f"{step}, matmul by {library()}"
    )
    return parts.model, train(
        parts.model,
        parts.optimizer,
        parts.data,
        epochs=config["epochs"],
        batch_size=config["batch_size"],
        seeds=parts.seeds,
        log_interval=config["log_interval"],
        threads=config["threads"],
        tf32=config["tf32"],
        schedule=parts.schedule,
    )


def _silence_console() -> None:
    """Keep logs of jobs off the console, which shows the progress of the sweep; the job's run.log has them."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.CRITICAL)


class _ClosingHandler(logging.FileHandler):
    """File handler that closes its file after each record, since one process may log to hundreds of files."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if self.stream is not None:
            self.stream.close()
            self.stream = None  # reopened by the next record, as with `delay`


def log_file() -> Path | None:
    """Return the log file that Hydra has set up for the current job; None if it does not exist."""
    files = (Path(handler.baseFilename) for handler in _file_handlers())
    return next((file for file in files if file.exists()), None)


def log_of_job() -> logging.Logger:
    """Return a logger to the log files of the current job, which stays valid when Hydra sets up the next job."""
    own = logging.Logger("job", logging.INFO)
    for handler in _file_handlers():
        writer = _ClosingHandler(handler.baseFilename, delay=True, encoding=handler.encoding)
        writer.setFormatter(handler.formatter)
        own.addHandler(writer)
    return own


def _file_handlers() -> list[logging.FileHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
