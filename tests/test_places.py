"""Where a sweep and its jobs read and write, whatever the working directory of a job."""

import json
from pathlib import Path

import pytest
from conftest import DATA, IN_PROCESS, NO_REPORT, SMALL, SMALLER, Command
from in_process import planned

from mnist_mlp.run.record import METRICS_FILE, RUN_FILE

CONFIRMED = ("optim.lr=0.1,0.2", "hydra.sweeper.confirm={epochs:2}", "epochs=1")


@pytest.mark.parametrize(
    ("directory", "arguments"),
    [
        ("multirun/of_${seed}", ["seed=0,1"]),
        ("multirun/${model.activation}", ["model.activation=relu,tanh"]),
        ("multirun/of_${epochs}", [*CONFIRMED]),  # the search alone has one directory
        ("multirun/of_${hydra.job.num}", ["seed=0,1"]),
    ],
)
def test_sweep_directory_that_depends_on_the_job_is_refused(
    tmp_path: Path, directory: str, arguments: list[str]
) -> None:
    answer = planned("-m", f"hydra.sweep.dir={directory}", *arguments, *SMALLER, directory=tmp_path)
    assert answer.status == 1
    assert answer.err.startswith(f"error: hydra.sweep.dir={directory}: expected one directory for all jobs")
    assert answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_sweep_directory_that_is_the_same_for_all_jobs_is_resolved(tmp_path: Path) -> None:
    answer = planned("-m", "hydra.sweep.dir=of_${epochs}", "epochs=3", "seed=0,1", *SMALLER, directory=tmp_path)
    assert "of_3: 2 jobs" in answer.out


def test_job_in_its_own_directory_finds_the_data_and_reports_its_failure(
    command: Command, throwing: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").symlink_to(DATA)
    place = ("hydra.job.chdir=true", "hydra.sweep.dir=here", "data.root=images", "fail_fast=true", "epochs=1")
    done = command("run.py", "-m", "optim=throwing", "seed=0,1", *place, *SMALL, IN_PROCESS, top=throwing, status=1)
    (failed,) = (tmp_path / "here").glob(f"*/{RUN_FILE}")  # and no second job
    assert json.loads(failed.read_text())["status"] == "failed"
    assert "RuntimeError: thrown on purpose" in done.stdout
    command("run.py", "hydra.job.chdir=true", "hydra.run.dir=alone", *place[2:], *SMALL, NO_REPORT)
    assert (tmp_path / "alone" / METRICS_FILE).exists()
    assert not list((tmp_path / "here").rglob("MNIST")) + list((tmp_path / "alone").rglob("MNIST"))
