"""Sweeps after kill -9, Ctrl-C, or code edits: no result is lost, and messages say how to resume."""

import hashlib
import itertools
import json
import os
import re
import shlex
import signal
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mnist_mlp.base.configuration import identity, plain
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.sweeps import job_id as job_names
from tests.helpers.commands import IN_PROCESS, MINE, NO_REPORT, SMALL, SMALLER, Command, Start, StartFresh
from tests.helpers.composing import composed, job_name
from tests.helpers.paths import ROOT
from tests.helpers.results import results, wait_until

LONG = ("-m", "init=he,lecun", "optim=adam,sgd", "epochs=2", "data.train_size=1500", "data.val_size=100", NO_REPORT)
FEW = ("-m", "init=he,lecun", "optim=adam,sgd", "epochs=1", *SMALLER, NO_REPORT)
SHORT = (*FEW, IN_PROCESS)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes of Joblib; other child processes may start and end meanwhile."""
    workers = []
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            if "LokyProcess" in " ".join(child.cmdline()):
                workers.append(child)
    return workers


def assert_same(one: dict[str, pd.DataFrame], two: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == two.keys()
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True)


@pytest.mark.usefixtures("user_module")
def test_sweep_after_kill_resumes_with_equal_results(command: Command, start: Start, tmp_path: Path) -> None:
    """Kill a sweep, then a Joblib worker of its resume, and compare with an undisturbed sweep in one process."""
    command("run.py", *LONG, *MINE, IN_PROCESS, "hydra.sweep.dir=undisturbed")
    sweep = (*LONG, *MINE, "hydra.sweep.dir=killed")
    process = start(*sweep)
    wait_until(lambda: list((tmp_path / "killed").glob(f"*/{RUN_FILE}")))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = len(results(tmp_path / "killed"))
    assert 1 <= done < 4

    def begun() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob(f"*/{METRICS_FILE}")}

    before = begun()
    process = start(*sweep)
    wait_until(lambda: begun() != before)
    workers_of(psutil.Process(process.pid))[0].kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert f"4 jobs, {done} skipped as they have a result, {4 - done} to do" in output
    assert "the launcher stopped: TerminatedWorkerError" in output
    assert_same(results(tmp_path / "undisturbed"), results(tmp_path / "killed"))


def is_blocked(number: signal.Signals, pid: int) -> bool:
    """Return whether a process blocks a signal."""
    (mask,) = re.findall(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), flags=re.MULTILINE)
    return bool(int(mask, 16) & 1 << number - 1)


@pytest.mark.parametrize("library", ["_yaml", "libtorch_cpu"])
def test_run_interrupted_while_importing_prints_one_line(start_fresh: StartFresh, library: str) -> None:
    process = start_fresh("epochs=20", *SMALL)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: library in maps.read_text())
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "\ninterrupted\n")


@pytest.mark.usefixtures("user_module")
@pytest.mark.parametrize(("launcher", "number"), [("joblib", signal.SIGINT), ("basic", signal.SIGTERM)])
def test_sweep_interrupted_stops_workers_and_prints_resume_command(
    command: Command,
    start: Start,
    tmp_path: Path,
    launcher: str,
    number: signal.Signals,
) -> None:
    process = start(*LONG, *MINE, f"hydra/launcher={launcher}")
    wait_until(lambda: list(tmp_path.glob(f"multirun/*/*/*/{METRICS_FILE}")))
    family = psutil.Process(process.pid).children(recursive=True)
    workers = workers_of(psutil.Process(process.pid))
    assert bool(workers) == (launcher == "joblib")
    # Otherwise a worker that is importing would print a traceback.
    assert all(is_blocked(number, worker.pid) for worker in workers)
    os.killpg(process.pid, number)  # as a terminal does
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert "leaked" not in output
    assert f"{number.name}: all workers have been stopped." in output
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    (resume,) = re.findall(r"To resume: (.*)", output)
    _, _, *arguments = shlex.split(resume)
    assert "4 jobs, " in command("run.py", *arguments, IN_PROCESS).stdout
    assert len(list(tmp_path.glob(f"multirun/*/*/*/{RUN_FILE}"))) == 4


def test_sweep_finished_and_repeated_trains_nothing(command: Command, tmp_path: Path) -> None:
    command("run.py", *SHORT, "hydra.sweep.dir=here")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "here").glob("*/*.csv")}
    again = command("run.py", *SHORT, "hydra.sweep.dir=here")
    assert "4 jobs, 4 skipped as they have a result, 0 to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "here").glob("*/*.csv")} == before
    wider = command("run.py", "-m", "init=he,lecun,default", *SHORT[2:], "hydra.sweep.dir=here", "dry_run=true")
    assert wider.stdout.count("done   ") == 4
    assert wider.stdout.count("to do  ") == 2
    assert "2 to do; about " in wider.stdout
    forced = command("run.py", *SHORT, "hydra.sweep.dir=here", "force=true")
    assert "4 jobs, 0 skipped" in forced.stdout
    assert all(path.stat().st_mtime_ns > before[path] for path in before)


def test_sweep_other_version_is_refused_and_damaged_result_ignored(command: Command, tmp_path: Path) -> None:
    command("run.py", *SHORT, "hydra.sweep.dir=here")
    run, damaged = itertools.islice((tmp_path / "here").glob(f"*/{RUN_FILE}"), 2)
    run.write_text(run.read_text().replace('"package": "', '"package": "0.0.'))
    damaged.write_text('{"status": "completed"}')
    done = command("run.py", *SHORT, "hydra.sweep.dir=here", status=1)
    assert f"{damaged.parent.relative_to(tmp_path)}: its run.json is damaged" in done.stdout
    assert "1 of 3 finished results there are not comparable" in done.stderr
    assert f"{run.parent.name}: version 0.0." in done.stderr
    assert "force=true" in done.stderr


def test_sweep_equal_jobs_are_trained_once(command: Command, tmp_path: Path) -> None:
    equal = ("-m", "seed=0,0", "optim.weight_decay=0,0.0", "epochs=0", IN_PROCESS, NO_REPORT, "hydra.sweep.dir=here")
    assert "1 jobs, 0 skipped" in command("run.py", *equal).stdout
    assert len(results(tmp_path / "here")) == 1


def test_sweep_with_one_joblib_worker_logs_to_the_end(command: Command) -> None:
    done = command("run.py", "-m", "seed=0,1", "epochs=1", *SMALLER, NO_REPORT, "hydra.launcher.n_jobs=1")
    assert "2 of 2 finished" in done.stdout


def test_sweep_fail_fast_after_failure_starts_no_more_jobs(command: Command, throwing: Path, tmp_path: Path) -> None:
    arguments = ("-m", "optim=throwing,sgd,adam", "epochs=1", *SMALLER, IN_PROCESS, "hydra.sweep.dir=here")
    command("run.py", *arguments, "fail_fast=true", top=throwing, status=1)
    assert [path.parent.name[:11] for path in (tmp_path / "here").glob(f"*/{RUN_FILE}")] == ["he_throwing"]
    command("run.py", *arguments, top=throwing, status=1)
    assert len(results(tmp_path / "here")) == 3


@pytest.mark.external  # Ray starts a server
@pytest.mark.usefixtures("user_module")
def test_sweep_submitit_and_ray_give_equal_results(command: Command, tmp_path: Path) -> None:
    """Workers also import the user-defined module `mine`. Joblib is compared in the test that kills a worker."""
    two = ("-m", "optim=adam,sgd", *MINE, "epochs=1", *SMALL, NO_REPORT)
    command("run.py", *two, IN_PROCESS, "hydra.sweep.dir=basic")
    for launcher in ("submitit_local", "ray"):
        command("run.py", *two, f"hydra/launcher={launcher}", f"hydra.sweep.dir={launcher}")
        assert_same(results(tmp_path / "basic"), results(tmp_path / launcher))
        settings_of = map(OmegaConf.load, (tmp_path / launcher).glob("*/.hydra/hydra.yaml"))
        assert len({of_job.hydra.sweeper.holder for of_job in settings_of} - {None}) == 1  # as read by workers


def test_sweep_dry_run_lists_job_names_of_each_configuration(command: Command) -> None:
    sweep_over = {"seed": ["0", "7", "07"], "optim": ["adam", "sgd"], "optim.lr": ["0.1", "0.2"]}
    arguments = [f"{key}={','.join(values)}" for key, values in sweep_over.items()]
    done = command("run.py", "-m", *arguments, "dry_run=true")
    listed = set(re.findall(r"^to do  (\S+)", done.stdout, flags=re.MULTILINE))
    jobs = itertools.product(*([f"{key}={value}" for value in values] for key, values in sweep_over.items()))
    assert listed == {job_name(*overrides) for overrides in jobs}


def test_study_without_flags_sweeps_and_resumes(command: Command, tmp_path: Path) -> None:
    quick = ("epochs=1", *SMALLER, IN_PROCESS)
    first = command("run.py", "experiment=smoke", "seed=0", *quick)
    assert "multirun/smoke: 4 jobs, 0 skipped" in first.stdout
    assert (tmp_path / "reports/smoke/index.html").exists()
    wider = command("run.py", "experiment=smoke", "seed=0", "optim=adam,sgd,radam", *quick)
    assert "multirun/smoke: 6 jobs, 4 skipped as they have a result, 2 to do" in wider.stdout


def test_run_unknown_or_two_studies_is_refused(command: Command) -> None:
    assert "experiment: init_by_optim, smoke" in command("run.py", "--help").stdout
    missing = command("run.py", "experiment=smok", status=1).stderr
    assert (
        missing == "error: experiment=smok: unknown option. Did you mean smoke? Known options: init_by_optim, smoke\n"
    )
    for flags in ([], ["-m"]):
        both = command("run.py", *flags, "experiment=smoke,init_by_optim", status=1).stderr
        assert "expected one study" in both


def test_studies_in_experiments_compose_as_sweeps() -> None:
    for path in (ROOT / "experiments").glob("*.yaml"):
        config = composed(f"experiment={path.stem}")
        assert config.hydra.mode.name == "MULTIRUN"
        assert config.hydra.sweep.dir == f"multirun/{path.stem}"


def test_run_in_directory_with_a_run_needs_force(command: Command, tmp_path: Path) -> None:
    arguments = ("run.py", "epochs=1", *SMALLER, "hydra.run.dir=here")
    command(*arguments)
    assert "here: expected a directory without a run" in command(*arguments, status=1).stderr
    command(*arguments, "force=true", "seed=1")
    assert json.loads((tmp_path / "here" / RUN_FILE).read_text())["config"]["seed"] == 1
    with FileLock(tmp_path / "here" / ".lock"):
        assert "in use by another" in command(*arguments, "force=true", status=1).stderr


def test_sweep_after_code_edit_needs_force_changed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def flat_(weight, *, generator):\n    weight.fill_(0.01)\n")
    flat = ("init._target_=mine.flat_", "~init.scale", "~init.mode", "~init.distribution")
    usual = ("run.py", "-m", "data=digits", "epochs=0", IN_PROCESS, NO_REPORT, "hydra.sweep.dir=here")
    arguments = (*usual, *flat)
    command(*arguments)
    (run,) = (tmp_path / "here").glob(f"*/{RUN_FILE}")
    digest = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert json.loads(run.read_text())["code"] == {"mine": digest}
    (tmp_path / "mine.py").write_text("def flat_(weight, *, generator):\n    weight.fill_(0.02)\n")
    done = command(*arguments, "seed=0,1", status=1)
    assert f"the code of mine ({tmp_path}/mine.py) has changed since" in done.stderr
    assert "1 of 1 finished results there are not comparable" in done.stderr
    assert "force=changed retrains and replaces these" in done.stderr
    command(*usual)  # jobs without user code
    assert len(results(tmp_path / "here")) == 2
    done = command(*arguments, "seed=0,1", "force=changed")
    assert "2 jobs, 0 skipped as they have a result, 2 to do" in done.stdout


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "init": st.sampled_from(["he", "lecun", "orthogonal"]),
        "optim": st.sampled_from(["adam", "sgd", "momentum"]),
        "optim.lr": st.sampled_from(["0.01", "1e-2", "0.1"]),
        "optim.weight_decay": st.sampled_from(["0", "0.0", "1e-4"]),
        "seed": st.integers(0, 2).map(str),
        "seeds.weights": st.sampled_from(["0", "1", "null"]),
        "model.hidden": st.sampled_from(["[512,256]", "[512, 256]", "[10]", "[]"]),
        "data.val_size": st.sampled_from(["5000", "100"]),
        "device": st.sampled_from(["cpu", "auto"]),
        "threads": st.sampled_from(["1", "2"]),
        "progress": st.booleans().map(str),
        "data.root": st.sampled_from(["data", "/a b/'c'", "elsewhere"]),
    },
)


@settings(max_examples=15, deadline=None)
@given(SETTINGS, SETTINGS)
def test_job_names_are_equal_exactly_for_equal_configurations(one: dict[str, str], two: dict[str, str]) -> None:
    overrides = [
        [f"{key}={json.dumps(v) if ' ' in v and '[' not in v else v}" for key, v in s.items()] for s in (one, two)
    ]
    configs = [composed(*job) for job in overrides]
    names = [job_names.job_name(config) for config in configs]
    decisive = [(job_names.choices(config.hydra), identity(plain(config))) for config in configs]
    assert (names[0] == names[1]) == (decisive[0] == decisive[1])
