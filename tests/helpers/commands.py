"""Commands of the program: usual arguments, types of the fixtures that run them, and their results."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.helpers.paths import DATA, ROOT
from tests.helpers.warm import Started

IN_PROCESS = "hydra/launcher=basic"  # avoids the start of worker processes

NO_REPORT = "~hydra.callbacks.checks_and_report"  # skips the report of a sweep

SMALL = ("data.train_size=200", "data.val_size=100")  # a few hundred real images

SMALLER = ("data=digits", *SMALL)  # 299 test images instead of 10,000

MINE = ("model._target_=mine.MLP", "data._target_=mine.few")  # quick to load, with the fixture `user_module`

Command = Callable[..., subprocess.CompletedProcess[str]]

Run = Callable[..., subprocess.CompletedProcess[str]]

Start = Callable[..., Started]

StartFresh = Callable[..., subprocess.Popen[str]]


def running(run: Run, tmp_path: Path) -> Command:
    """Return a function that runs `python ARGUMENTS` with the project's scripts, in a new directory and with MNIST."""

    def call(*arguments: str, status: int = 0, top: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        done = run(
            [str(top / a) if a in ("run.py", "report.py") else a for a in arguments],
            cwd=tmp_path,
            env=environment | {"MNIST_MLP_DATA": str(DATA)},
            timeout=300,
        )
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return call
