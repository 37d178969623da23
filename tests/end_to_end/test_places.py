"""Input and output of commands: working directories, encodings, full disks, two commands at once."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import read_write

from mnist_mlp.app.callback import ChecksAndReport
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from tests.helpers.commands import IN_PROCESS, NO_REPORT, SMALL, SMALLER, Command
from tests.helpers.composing import composed
from tests.helpers.in_process import planned
from tests.helpers.paths import DATA, ROOT

CONFIRMED = ("optim.lr=0.1,0.2", "hydra.sweeper.confirm={epochs:2}", "epochs=1")


@pytest.mark.parametrize(
    ("directory", "arguments"),
    [
        ("multirun/of_${seed}", ["seed=0,1"]),
        ("multirun/${model.activation}", ["model.activation=relu,tanh"]),
        ("multirun/of_${epochs}", [*CONFIRMED]),  # only the search has one directory
        ("multirun/of_${hydra.job.num}", ["seed=0,1"]),
    ],
)
def test_sweep_dir_that_depends_on_the_job_is_refused(tmp_path: Path, directory: str, arguments: list[str]) -> None:
    answer = planned("-m", f"hydra.sweep.dir={directory}", *arguments, *SMALLER, directory=tmp_path)
    assert answer.status == 1
    assert answer.err.startswith(f"error: hydra.sweep.dir={directory}: expected one directory for all jobs")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_sweep_dir_equal_for_all_jobs_is_resolved(tmp_path: Path) -> None:
    answer = planned("-m", "hydra.sweep.dir=of_${epochs}", "epochs=3", "seed=0,1", *SMALLER, directory=tmp_path)
    assert "of_3: 2 jobs" in answer.out


def test_sweep_chdir_finds_data_and_reports_failures(command: Command, throwing: Path, tmp_path: Path) -> None:
    (tmp_path / "images").symlink_to(DATA)
    place = ("hydra.job.chdir=true", "hydra.sweep.dir=here", "data.root=images", "fail_fast=true", "epochs=1")
    done = command("run.py", "-m", "optim=throwing", "seed=0,1", *place, *SMALL, IN_PROCESS, top=throwing, status=1)
    (failed,) = (tmp_path / "here").glob(f"*/{RUN_FILE}")  # and no second job
    assert json.loads(failed.read_text())["status"] == "failed"
    assert "RuntimeError: thrown on purpose" in done.stdout
    command("run.py", "hydra.job.chdir=true", "hydra.run.dir=alone", *place[2:], *SMALL, NO_REPORT)
    assert (tmp_path / "alone" / METRICS_FILE).exists()
    assert not list((tmp_path / "here").rglob("MNIST")) + list((tmp_path / "alone").rglob("MNIST"))


def test_run_number_from_environment_is_refused_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPS", "1e-8")
    answer = planned("optim.eps=${oc.env:EPS}", *SMALLER, directory=tmp_path)
    assert answer.err.startswith("error: optim.eps=1e-8: expected a finite number. '1e-8' is text. \"optim.eps=")
    recommended = re.findall(r'"(optim.eps=.*?)"', answer.err.replace("NAME", "EPS"))
    assert planned(*recommended, *SMALLER, directory=tmp_path).status == 0


def test_run_python_without_assertions_is_refused() -> None:
    done = subprocess.run([sys.executable, "-O", ROOT / "run.py"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: PYTHONOPTIMIZE, python -O: expected neither")


def test_escape_unencodable_output_without_utf8_escapes_output() -> None:
    program = "from mnist_mlp.base import startup\nstartup.escape_unencodable_output()\nprint('\\xe9 \\ud800')"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | plain, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"\\xe9 \\ud800\n")


def test_on_run_start_within_the_same_second_gives_new_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands, tops = [ChecksAndReport() for _ in range(4)], list[str]()
    for command in commands:
        config = composed("data=digits", "hydra.mode=RUN", f"force={len(tops) == 3}")
        with read_write(config):
            config.hydra.run.dir = "outputs/${now:%Y-%m-%d}"  # without the time, as for commands within the same second
        command.on_run_start(config)
        tops.append(config.hydra.run.dir)
        if len(tops) == 2:
            (tmp_path / tops[1] / RUN_FILE).touch()
            command.on_run_end(config)
        if len(tops) == 3:
            commands[0].on_run_end(config)
            (tmp_path / tops[0] / RUN_FILE).touch()
    # The first run is still training when the second and third begin; the fourth, with force, replaces it.
    assert tops == [tops[0], f"{tops[0]}_2", f"{tops[0]}_3", tops[0]]


def test_run_failure_without_log_points_to_files_written(command: Command, throwing: Path, tmp_path: Path) -> None:
    failing = ("run.py", "optim=throwing", "epochs=1", *SMALLER, "hydra.run.dir=here")
    done = command(*failing, "hydra/job_logging=none", top=throwing, status=1)
    assert done.stderr.splitlines()[-1] == f"error: the run failed; see {tmp_path}/here/run.json"
    done = command(*failing, "force=true", "hydra.job.name=mine", top=throwing, status=1)
    assert done.stderr.splitlines()[-1].endswith("/here/mine.log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_run_log_on_full_disk_prints_no_traceback(command: Command, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/run.log").symlink_to("/dev/full")
    done = command("run.py", "epochs=1", *SMALLER, "hydra.run.dir=here")
    assert "Logging error" not in done.stderr
    assert (tmp_path / "here" / RUN_FILE).exists()
