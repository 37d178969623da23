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
from mnist_mlp.app.compose import written
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
from mnist_mlp.sweeps.lock import InUse, holding

OF_SWEEPS = (PLACE, TRIALS, COMPARE, confirm.PLACE, confirm.SELECT, *sequential.KEYS, "hydra.sweep.")  # keys


class ChecksAndReport(Callback):
    """Checks a single run before anything is written; sums up a sweep after its last job."""

    def __init__(self) -> None:
        self.held = ExitStack()

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """End at once, with a message, where the configuration cannot work or a result would be overwritten."""
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
        """Hold, and return, the first directory that no other process holds.

        Raises:
            UserError: Another process holds the only one, or has just left a run there.
        """
        why = UserError("no directory is left")
        for place in places:
            try:
                self.held.enter_context(holding(place))
            except InUse as error:
                why = error
                continue
            if force or not (place / RUN_FILE).exists():
                return place
            self.held.close()
            why = UserError(f"{place}: another command has just finished a run there")
        raise why

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Let go of the run's directory."""
        self.held.close()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the report, print the leaderboard, and end with status 1 where a job did not."""
        if config.dry_run:
            return
        with _ending_on_errors():
            with importing():
                from mnist_mlp.report import report_on

            directory = Path(config.hydra.sweep.dir)
            jobs = records.jobs_of(directory, command_line()) if sweeps_by_grid(config.hydra) else []
            report = report_on([directory], about=jobs)
        # Other runs in the directory are not this command's. The jobs of other sweepers are unknown.
        if any(status_of(job) not in FINISHED for job in jobs) if jobs else report.unfinished:
            sys.exit(1)


def _check_single(config: DictConfig) -> None:
    """Check that nothing in the configuration of a single run is meant for a sweep.

    Raises:
        UserError: Something is.
    """
    for given in config.hydra.overrides.hydra:
        if (key := configuration.key_of(given)).startswith(OF_SWEEPS):
            raise UserError(f"{key}: this makes a sweep, by -m")
    study = config.hydra.runtime.choices.get(EXPERIMENT)
    if study and "hydra.mode" not in map(configuration.key_of, sys.argv):
        raise UserError(
            f"{EXPERIMENT}={study}: expected -m, as a study from --config-dir is a sweep that does not say so"
        )
    if config.force == CHANGED:
        raise UserError(f"force={CHANGED}: expected true or false, as only a sweep keeps some of its runs")


def _places(config: DictConfig) -> Iterator[Path]:
    """Yield the directories that a single run may go to, the first one first.

    A directory that is named by the time has numbered ones after it, for commands given within the same second.

    Raises:
        UserError: The directory that the user has named holds a run.
    """
    directory = Path(config.hydra.run.dir)
    is_dated = "${now:" in str(written(config.hydra.run, "dir"))
    if not config.hydra.run.dir:
        raise UserError("hydra.run.dir=: expected a directory, such as outputs/mine")
    if is_dated and not config.force:
        numbered = (directory.with_name(f"{directory.name}_{number}") for number in count(2))
        yield from (place for place in chain([directory], numbered) if not (place / RUN_FILE).exists())
    elif (directory / RUN_FILE).exists() and not config.force:
        raise UserError(f"{directory} holds a run; force=true replaces it, or name another hydra.run.dir")
    yield directory


@contextmanager
def _ending_on_errors() -> Iterator[None]:
    """End the program on an exception, which Hydra would turn into a warning, and go on."""
    try:
        yield
    except (UserError, OSError) as error:  # also a path that cannot be written
        sys.exit(f"error: {in_words(error)}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {explain(error)}")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
