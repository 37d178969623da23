"""Hydra callback: checks before a single run, the report after a sweep."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write
from omegaconf.errors import OmegaConfBaseException

from mnist_mlp.app import confirm, records, sequential
from mnist_mlp.app.cells import COMPARE
from mnist_mlp.app.compose import unresolved
from mnist_mlp.app.grids import PLACE
from mnist_mlp.app.job import sweeps_by_grid
from mnist_mlp.app.messages import explain
from mnist_mlp.app.search import TRIALS
from mnist_mlp.app.sweep import command_line
from mnist_mlp.base import configuration
from mnist_mlp.base.errors import UserError, in_words
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.schema import CHANGED, EXPERIMENT
from mnist_mlp.base.startup import importing
from mnist_mlp.sweeps.jobs import FINISHED, status_of
from mnist_mlp.sweeps.lock import InUse, hold

# Beginnings of the keys that only sweeps use.
OF_SWEEPS = (PLACE, TRIALS, COMPARE, confirm.PLACE, confirm.SELECT, *sequential.KEYS, "hydra.sweep.")


class ChecksAndReport(Callback):
    """Callback that checks a single run before anything is written, and reports on a sweep after its last job."""

    def __init__(self) -> None:
        self.held = ExitStack()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Check a single run, and lock its directory.

        Exits with a message if a setting is invalid or the directory holds a run already.
        """
        with _ending_on_errors():
            with importing():
                from mnist_mlp.build import trial

            _check_single(config)
            trial.check(configuration.plain(config))
            places = _places(config)
            if config.dry_run:
                print(f"would train into {next(places)}")
                sys.exit()
            with read_write(config):
                config.hydra.run.dir = str(self._hold_first(places, config.force))

    def _hold_first(self, places: Iterator[Path], force: bool) -> Path:
        """Lock and return the first free directory.

        Args:
            places: Directories in order of preference.
            force: Whether a directory that holds a run counts as free.

        Raises:
            UserError: No directory is free.
        """
        why = UserError("no directory is left")
        for place in places:
            try:
                self.held.enter_context(hold(place))
            except InUse as error:
                why = error
                continue
            if force or not (place / RUN_FILE).exists():
                return place
            self.held.close()
            why = UserError(f"{place}: another command has just finished a run there")
        raise why

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Release the lock of the run directory."""
        self.held.close()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the report, print the leaderboard, and exit with status 1 if a job has no result."""
        if config.dry_run:
            return
        with _ending_on_errors():
            with importing():
                from mnist_mlp.report import report_on

            directory = Path(config.hydra.sweep.dir)
            jobs = records.jobs_of(directory, command_line()) if sweeps_by_grid(config.hydra) else []
            report = report_on([directory], about=jobs)
        # Only jobs of this command determine the exit status; under other sweepers, all runs in the directory do.
        if any(status_of(job) not in FINISHED for job in jobs) if jobs else report.unfinished:
            sys.exit(1)


def _check_single(config: DictConfig) -> None:
    """Check that a single run was given no settings of sweeps.

    Raises:
        UserError: A setting applies to sweeps only.
    """
    for given in config.hydra.overrides.hydra:
        if (key := configuration.key_of(given)).startswith(OF_SWEEPS):
            raise UserError(f"{key}: expected -m, since this setting is for sweeps only")
    study = config.hydra.runtime.choices.get(EXPERIMENT)
    if study and "hydra.mode" not in map(configuration.key_of, sys.argv):
        raise UserError(
            f"{EXPERIMENT}={study}: expected -m. Studies are sweeps, but those from --config-dir do not set hydra.mode."
        )
    if config.force == CHANGED:
        raise UserError(f"force={CHANGED}: expected true or false for a single run")


def _places(config: DictConfig) -> Iterator[Path]:
    """Yield possible directories of a single run, in order of preference.

    A directory that is named by the time is followed by numbered ones (`NAME_2`, ...): another command may start within
    the same second.

    Raises:
        UserError: `hydra.run.dir` is empty, or names a directory that holds a run and `force` is false.
    """
    directory = Path(config.hydra.run.dir)
    is_dated = "${now:" in str(unresolved(config.hydra.run, "dir"))
    if not config.hydra.run.dir:
        raise UserError("hydra.run.dir=: expected a directory, such as outputs/mine")
    if is_dated and not config.force:
        numbered = (directory.with_name(f"{directory.name}_{number}") for number in count(2))
        yield from (place for place in chain([directory], numbered) if not (place / RUN_FILE).exists())
    elif (directory / RUN_FILE).exists() and not config.force:
        raise UserError(f"hydra.run.dir={directory}: expected a directory without a run. force=true replaces the run.")
    yield directory


@contextmanager
def _ending_on_errors() -> Iterator[None]:
    """Exit with a message on any exception; Hydra would only warn and continue."""
    try:
        yield
    except (UserError, OSError) as error:  # OSError: such as a path that is not writable
        sys.exit(f"error: {in_words(error)}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain(error)}")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
