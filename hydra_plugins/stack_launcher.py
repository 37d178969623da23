"""Hydra launcher `stacked`: trains many jobs at once, as one batch of networks."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.callbacks import Callbacks  # see app/hydra_internals.py
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from mnist_mlp.training.stack.toolchain import Toolchain

log = logging.getLogger("mnist_mlp.training.stack.loop")  # only loggers of the package are shown


@dataclass
class StackLauncherConf:
    """Settings of `hydra/launcher=stacked`, `hydra.launcher.*`.

    Attributes:
        memory: Maximum memory of a stack in GiB; null for most of the free memory of the device.
    """

    _target_: str = "hydra_plugins.stack_launcher.StackLauncher"
    memory: float | None = None


ConfigStore.instance().store(group="hydra/launcher", name="stacked", node=StackLauncherConf, provider="mnist_mlp")


class EndsLater(Callbacks):
    """Hydra's callbacks, except that `on_job_end` is deferred: Hydra calls it before the stack is trained.

    Attributes:
        waiting: Arguments of the deferred calls.
    """

    def __init__(self, callbacks: Callbacks) -> None:
        super().__init__()
        self.callbacks = callbacks.callbacks
        self.waiting: list[tuple[DictConfig, JobReturn]] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Defer the call."""
        self.waiting.append((config, job_return))


class StackLauncher(BasicLauncher):
    """Launcher that trains jobs as stacks where possible, and the others one after another like the basic launcher."""

    def __init__(self, memory: float | None = None) -> None:
        super().__init__()
        self.memory = memory

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Set up the launcher, and check its settings before any job is launched.

        Raises:
            ConfigError: The memory limit is invalid, or a setting of `hydra.job` needs a process per job.
        """
        from mnist_mlp.base.errors import ConfigError

        if self.memory is not None and not 0 < self.memory < float("inf"):
            raise ConfigError(f"hydra.launcher.memory={self.memory}: expected null or a number of GiB greater than 0")
        if config.hydra.job.chdir or config.hydra.job.env_set:
            raise ConfigError(
                "hydra.job.chdir, hydra.job.env_set: expected neither with hydra/launcher=stacked: jobs share a process"
            )
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train the jobs; their directories are the same as under any other launcher."""
        from mnist_mlp.app.compose import as_job, compose
        from mnist_mlp.base.configuration import plain
        from mnist_mlp.base.startup import importing

        with importing():
            from mnist_mlp.build.stack_plan import pack

        setup_globals()
        assert self.config is not None
        assert self.hydra_context is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        loader = self.hydra_context.config_loader
        configs: dict[int, DictConfig] = {}
        for number, config in compose(loader, self.config, job_overrides):
            configs[number] = as_job(config, initial_job_idx + number)
        plan = pack([plain(configs[number]) for number in range(len(configs))], self.memory)
        log.info("%s", plan)
        returns: dict[int, JobReturn] = {}
        for stack in plan.stacks:
            returns |= zip(stack, self._launch_stack([configs[number] for number in stack]), strict=True)
        for number in sorted(plan.alone):
            assert self.task_function is not None
            returns[number] = self._run(configs[number], self.task_function, self.hydra_context)
        return [returns[number] for number in range(len(configs))]

    @cached_property
    def toolchain(self) -> "Toolchain":
        """Compiler and CUDA-graph capture that all stacks of a sweep share."""
        from mnist_mlp.training.stack.toolchain import Toolchain

        return Toolchain()

    def _run(self, config: DictConfig, task: TaskFunction, context: HydraContext) -> JobReturn:
        """Let Hydra prepare the directory of a job and call a function with its configuration."""
        assert self.config is not None
        result = run_job(
            hydra_context=context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return result

    def _launch_stack(self, configs: Sequence[DictConfig]) -> list[JobReturn]:
        from mnist_mlp.app.job import JobFailed, assignment, log_of_job, sweeps_by_grid
        from mnist_mlp.sweeps.jobs import STOP_FILE, Assignment
        from mnist_mlp.sweeps.stacks import train

        jobs: list[tuple[Assignment, logging.Logger]] = []

        def prepare(config: DictConfig) -> None:
            jobs.append((assignment(config), log_of_job()))

        assert self.config is not None
        assert self.hydra_context is not None
        callbacks = EndsLater(self.hydra_context.callbacks)
        context = HydraContext(config_loader=self.hydra_context.config_loader, callbacks=callbacks)
        returns = [self._run(config, prepare, context) for config in configs]
        prepared = [result for result in returns if result.status == JobStatus.COMPLETED]  # without those that failed
        stop = Path(self.config.hydra.sweep.dir) / STOP_FILE
        if prepared and not stop.exists():
            values = train(jobs, self.toolchain)
            for result, value in zip(prepared, values, strict=True):
                result.return_value = value
                if value is None and not sweeps_by_grid(self.config.hydra):
                    result.status = JobStatus.FAILED
                    result.return_value = JobFailed("a run failed; see its run.json")
            if None in values and self.config.fail_fast:
                stop.touch()
        for config, job_return in callbacks.waiting:
            self.hydra_context.callbacks.on_job_end(config=config, job_return=job_return)
        return returns
