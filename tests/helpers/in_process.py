"""Plans of `run.py` commands, made in this process: no process is started, and nothing is trained."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from mnist_mlp.app import cli
from mnist_mlp.app.job import run_job
from mnist_mlp.app.register import register
from tests.helpers.paths import DATA, ROOT


class Answer(NamedTuple):
    """Output and exit status of a command."""

    status: int
    out: str
    err: str


def planned(*arguments: str, directory: Path, experiments: Path = ROOT / "experiments") -> Answer:
    """Return the output of `python run.py ARGUMENTS dry_run=true`, run in a directory.

    Raises:
        Exception: The command would end with a traceback.
    """
    out, err = io.StringIO(), io.StringIO()
    main = hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")(run_job)
    with _as_program(["run.py", *arguments, "dry_run=true"], directory), redirect_stdout(out), redirect_stderr(err):
        broken_studies = register(experiments)
        try:
            cli.call(main, broken_studies)
        except SystemExit as error:
            if isinstance(error.code, str):
                return Answer(1, out.getvalue(), f"{err.getvalue()}{error.code}\n")
            return Answer(error.code or 0, out.getvalue(), err.getvalue())
    return Answer(0, out.getvalue(), err.getvalue())


@contextmanager
def _as_program(arguments: list[str], directory: Path) -> Iterator[None]:
    """Give this process a command line, and restore all that Hydra changes."""
    root = logging.getLogger()
    handlers, level, path = root.handlers[:], root.level, sys.path[:]
    with pytest.MonkeyPatch.context() as patch, chdir(directory):
        patch.setattr(sys, "argv", arguments)
        patch.setenv("MNIST_MLP_DATA", str(DATA))
        try:
            yield
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            for handler in root.handlers:
                if handler not in handlers:
                    handler.close()
            root.handlers[:], sys.path[:] = handlers, path
            root.setLevel(level)
