"""`hydra/launcher=stacked`: grouping of jobs, and job directories equal to those of other launchers."""

import csv
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn
from yaml import safe_load

from mnist_mlp.app.job import log_of_job
from mnist_mlp.app.sweep import stacking_hint
from mnist_mlp.base.configuration import plain
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.build.from_config import build
from mnist_mlp.build.stack_plan import NO_LIKE, NO_MEMORY, UNKNOWN, pack, stack_key
from mnist_mlp.data.splits import Dataset
from mnist_mlp.sweeps import stacks
from mnist_mlp.sweeps.jobs import Assignment, Job
from mnist_mlp.training.stack import loop
from mnist_mlp.training.stack.toolchain import Toolchain
from tests.helpers.commands import IN_PROCESS, MINE, NO_REPORT, SMALL, SMALLER, Command, Start
from tests.helpers.composing import composed
from tests.helpers.paths import DATA
from tests.helpers.results import results, wait_until

STACKED = "hydra/launcher=stacked"
CELLS = ("-m", "init=he,lecun", "optim=sgd,nag", "seed=0,1", NO_REPORT)


def summaries(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the contents of run.json by job."""
    return {path.parent.name: json.loads(path.read_text()) for path in directory.glob(f"*/{RUN_FILE}")}


def config(*overrides: str) -> dict[str, Any]:
    return plain(composed(*overrides))


def job(directory: Path, overrides: Mapping[str, Any]) -> Assignment:
    choices = {"data": "mnist", "model": "mlp", "init": "he", "optim": "sgd"}
    words = tuple(f"{key}={value}" for key, value in overrides.items())
    return Assignment(config("optim=sgd", *words, *SMALL), directory, choices, words, "h")


def test_stacked_sweep_leaves_files_of_basic_launcher(command: Command, tmp_path: Path) -> None:
    of_digits = ("data=digits", "data.train_size=1000", "data.val_size=300")
    sweep = ("-m", "init=he", "optim=sgd,nag", "seed=0,1", NO_REPORT, "epochs=2", *of_digits)
    command("run.py", *sweep, STACKED, "hydra.sweep.dir=stacked")
    command("run.py", *sweep, "hydra/launcher=basic", "hydra.sweep.dir=basic")
    ours, theirs = results(tmp_path / "stacked"), results(tmp_path / "basic")
    assert len(ours) == 4
    assert ours.keys() == theirs.keys()
    for name in ours:
        one, other = tmp_path / "stacked" / name, tmp_path / "basic" / name
        assert {p.relative_to(one) for p in one.rglob("*")} == {p.relative_to(other) for p in other.rglob("*")}
        for file in ("config.yaml", "overrides.yaml"):
            assert (one / ".hydra" / file).read_text() == (other / ".hydra" / file).read_text()
        jobs = [safe_load((run / ".hydra/hydra.yaml").read_text())["hydra"] for run in (one, other)]
        assert jobs[0]["job"] == jobs[1]["job"]
        assert jobs[0]["overrides"]["task"] == jobs[1]["overrides"]["task"]
        for key in ("epoch", "step", "split", "lr"):
            assert (ours[name][key] == theirs[name][key]).all()
        final = ours[name].groupby("split").last()["accuracy"] - theirs[name].groupby("split").last()["accuracy"]
        assert final.abs().max() <= 0.005
        assert "epoch 2/2  train " in (one / "run.log").read_text()
        with (one / "steps.csv").open() as rows, (other / "steps.csv").open() as expected:
            assert [row["step"] for row in csv.DictReader(rows)] == [row["step"] for row in csv.DictReader(expected)]
    for run in summaries(tmp_path / "stacked").values():
        assert run["status"] == "completed"
        assert run["stack_size"] == 4
        assert run["step"] == "stacked, updated by update function"
        assert run["final"].keys() == {"train", "val", "test"}
        assert run["seconds"] > 0


def test_sweep_resumed_by_stacked_launcher_has_one_report(command: Command, tmp_path: Path) -> None:
    sweep = ("-m", "optim=sgd,nag", "epochs=1", *SMALLER, "hydra.sweep.dir=here")
    command("run.py", *sweep, "seed=0,1", IN_PROCESS, NO_REPORT)
    done = command("run.py", *sweep, "seed=0,1,2,3", STACKED)
    assert "8 jobs, 4 skipped as they have a result, 4 to do" in done.stdout
    assert "4 runs in one stack" in done.stdout
    assert "Different" not in done.stdout
    summary = pd.read_csv(tmp_path / "reports/here/summary.csv")
    assert (summary["n"] == 4).all()


@pytest.fixture
def picky(throwing: Path) -> Path:
    """A checkout with an initialization that refuses seed 1, and a network that does not stack."""
    (throwing / "conf/model/alone.yaml").write_text("_target_: picky.Alone\n")
    (throwing / "picky.py").write_text(
        "import torch\n"
        "def picky_(weight, *, generator):\n"
        "    from mnist_mlp.training.seeds import derive_seeds\n"
        "    if generator.initial_seed() == derive_seeds(1).weights:\n"
        "        raise RuntimeError('not with this seed')\n"
        "    return weight.uniform_(-0.1, 0.1, generator=generator)\n"
        "def Alone(in_features, out_features):\n"
        "    return torch.nn.Sequential(torch.nn.LayerNorm(in_features), torch.nn.Linear(in_features, out_features))\n"
    )
    (throwing / "conf/init/picky.yaml").write_text("_target_: picky.picky_\n_partial_: true\nbias: zeros\n")
    return throwing


def test_stacked_fail_fast_after_failure_starts_no_more_jobs(command: Command, picky: Path, tmp_path: Path) -> None:
    sweep = ("init=he,picky", "model=mlp,alone", "seed=0,1", "epochs=1", *SMALLER, "fail_fast=true")
    command("run.py", "-m", *sweep, STACKED, "hydra.sweep.dir=here", top=picky, status=1)
    runs = summaries(tmp_path / "here")
    assert all(run["choices"]["model"] == "mlp" for run in runs.values())
    assert sorted(run["status"] for run in runs.values()) == ["completed", "completed", "completed", "failed"]


def test_stacked_sweep_unstackable_and_failing_jobs_run_alone(command: Command, picky: Path, tmp_path: Path) -> None:
    """Jobs fail when they are built, or later in the step of their optimizer."""
    sweep = ("init=picky", "optim=sgd,lion,throwing,exiting", "model=mlp,alone", "seed=0,1", "epochs=1", *SMALLER)
    done = command("run.py", "-m", *sweep, STACKED, "hydra.sweep.dir=here", top=picky, status=1)
    found = summaries(tmp_path / "here").values()
    assert len(found) == 16
    for run in found:
        (optim, model), seed = (run["choices"][key] for key in ("optim", "model")), run["config"]["seed"]
        if seed == 1:
            why = r"failed with RuntimeError in picky\.py:\d+: not with this seed"
            assert re.fullmatch(rf"ConfigError: init\._target_=picky\.picky_: {why}", run["reason"])
        elif optim == "throwing":
            assert run["reason"] == "RuntimeError: thrown on purpose"
        elif optim == "exiting":
            assert run["reason"] == "SystemExit: enough"
        else:
            assert run["status"] == "completed"
        assert run["status"] == "completed" or "Traceback" in run["traceback"]
        assert ("stack_size" in run) == (model == "mlp" and seed == 0)
    assert "thrown on purpose" in done.stdout


def test_stacked_sweep_networks_and_batch_sizes_have_own_stacks(command: Command, tmp_path: Path) -> None:
    sweep = ("-m", "model.hidden=[20],[30]", "batch_size=16,32", "seed=0,1", "epochs=1", *SMALLER, NO_REPORT)
    done = command("run.py", *sweep, STACKED, "hydra.sweep.dir=here")
    assert "stacks of 2, 2, 2, 2 jobs\n" in done.stdout
    assert {run["stack_size"] for run in summaries(tmp_path / "here").values()} == {2}


def test_stacked_sweep_diverging_runs_leave_others_unchanged(command: Command, tmp_path: Path) -> None:
    sweep = (
        "-m",
        "optim=sgd",
        "optim.lr=0.01,1e6",
        "seed=0,1",
        "model.batch_norm=false",
        "epochs=2",
        *SMALLER,
        STACKED,
    )
    command("run.py", *sweep, NO_REPORT, "hydra.sweep.dir=here")
    command("run.py", *sweep[:2], "optim.lr=0.01", *sweep[3:], NO_REPORT, "hydra.sweep.dir=without")
    statuses = {name: run["status"] for name, run in summaries(tmp_path / "here").items()}
    assert sorted(statuses.values()) == ["completed", "completed", "diverged", "diverged"]
    assert all(("lr1000000.0" in name) == (status == "diverged") for name, status in statuses.items())
    here = results(tmp_path / "here")
    for name, metrics in results(tmp_path / "without").items():
        pd.testing.assert_frame_equal(here[name], metrics, rtol=1e-5)


@pytest.mark.usefixtures("user_module")
def test_stacked_sweep_killed_keeps_finished_results(command: Command, start: Start, tmp_path: Path) -> None:
    few = (*MINE, "data.train_size=2000", "data.val_size=100")
    sweep = (*CELLS, "epochs=2", *few, STACKED, "hydra.launcher.memory=0.25")
    process = start(*sweep, "hydra.sweep.dir=here")
    wait_until(lambda: list((tmp_path / "here").glob(f"*/{RUN_FILE}")))
    wait_until(lambda: len(list((tmp_path / "here").glob(f"*/{METRICS_FILE}"))) == 8)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    done = len(summaries(tmp_path / "here"))
    assert done == 4
    kept = {path: path.read_text() for path in (tmp_path / "here").glob(f"*/{RUN_FILE}")}
    again = command("run.py", *sweep, "hydra.sweep.dir=here")
    assert "8 jobs, 4 skipped as they have a result, 4 to do" in again.stdout
    assert len(summaries(tmp_path / "here")) == 8
    assert all(path.read_text() == text for path, text in kept.items())


def unstacked(in_features: int, out_features: int, **_: Any) -> nn.Module:
    return nn.Sequential(nn.LayerNorm(in_features), nn.Linear(in_features, out_features))


def test_pack_splits_stacks_by_memory(real_mnist: Dataset) -> None:
    cells = [config(f"optim={optim}", *SMALL) for optim in ("sgd", "adam")]
    configs = [cell | {"seed": seed} for cell in cells for seed in range(5)]
    one_stack = pack(configs, memory=4)
    assert [sorted(stack) for stack in one_stack.stacks] == [list(range(10))]
    assert not one_stack.alone
    parts = build(configs[0])
    size = loop.bytes_per_run(parts.model, 784, 32)
    split = pack(configs, memory=(loop.SHARED_BYTES + 4.5 * size) / 2**30)
    assert [len(stack) for stack in split.stacks] == [3, 3, 4]
    assert sorted(number for stack in split.stacks for number in stack) == list(range(10))
    tiny = pack(configs, memory=0.01)
    assert not tiny.stacks
    assert tiny.alone == dict.fromkeys(range(10), NO_MEMORY)
    assert str(tiny) == "no stacks; 10 alone: two runs would exceed the memory limit"
    others = ("model.hidden=[9]", "model._target_=tests.end_to_end.test_stacked_launcher.unstacked")
    other = pack([*configs, *(config(override, *SMALL) for override in others)], memory=4)
    assert other.alone == {10: NO_LIKE, 11: UNKNOWN}


def test_pack_runs_with_other_stream_seeds_share_a_stack(real_mnist: Dataset) -> None:
    one = config(*SMALL)
    apart = [one | {"seeds": one["seeds"] | {"batches": b, "weights": w}} for w in (1, 0) for b in (2, 0)]
    configs = [one | {"seed": 2}, *apart, config("seed=0", "init=lecun", *SMALL)]
    assert pack(configs, memory=4).stacks == [[2, 4, 5, 1, 3, 0]]  # runs with equal batches are adjacent
    keys = {stack_key(configs[number], build(configs[number])) for number in (0, 1)}
    assert len(keys) == 1


def test_pack_other_log_intervals_have_separate_stacks(real_mnist: Dataset) -> None:
    configs = [config(*SMALL) | {"log_interval": n, "seed": seed} for n in (5, 7) for seed in (0, 1)]
    assert pack(configs, memory=4).stacks == [[0, 1], [2, 3]]


def test_bytes_per_run_bounds_measured_memory(command: Command, tmp_path: Path) -> None:
    """Compare the estimate with the growth of peak memory per run of a stack."""
    (tmp_path / "peak.py").write_text(
        "import json, re, sys, torch\n"
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from mnist_mlp.build.from_config import build\n"
        "from mnist_mlp.training.stack import loop\n"
        "from mnist_mlp.build.stack_members import run_of\n"
        "one = json.loads(sys.argv[1])\n"
        "parts = [build(one | {'seed': i}) for i in range(int(sys.argv[2]))]\n"
        "runs = [run_of(part) for part in parts]\n"
        "options = {'epochs': 1, 'batch_size': 32, 'log_interval': 9, 'device': torch.device('cpu')}\n"
        "data = parts[0].data\n"
        "data = replace(data, test=replace(data.test, rows=torch.arange(loop.EVALUATION_BATCH)))\n"
        "list(loop.train(runs, data, **options))\n"
        "(peak,) = re.findall(r'VmHWM: *(.*) kB', Path('/proc/self/status').read_text().expandtabs(1))\n"
        "print(int(peak) * 1024)\n"  # getrusage would include the peak of the process that forked
    )
    one = config(*SMALL, f"data.root={DATA}")
    peaks = [int(command(str(tmp_path / "peak.py"), json.dumps(one), str(runs)).stdout) for runs in (4, 14)]
    reckoned = loop.bytes_per_run(build(one).model, 784, 32)
    assert 0.2 * reckoned < (peaks[1] - peaks[0]) / 10 < reckoned


def test_stacks_train_out_of_memory_halves_the_stack(
    real_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a GPU is simulated."""
    sizes = []
    train = loop.train

    def limited(runs: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        sizes.append(len(runs))
        records = train(runs, *args, **kwargs)
        yield next(records)
        if len(runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        yield from records

    monkeypatch.setattr(loop, "train", limited)
    jobs = [(job(tmp_path / str(seed), {"seed": seed, "epochs": 1}), log_of_job()) for seed in range(5)]
    values = stacks.train(jobs, Toolchain())
    assert sizes == [5, 3, 2, 1, 2]
    assert all(value is not None and value > 0.05 for value in values)
    assert {run["stack_size"] for run in summaries(tmp_path).values()} == {1, 2}
    assert {run["status"] for run in summaries(tmp_path).values()} == {"completed"}


def test_stacks_train_unwritable_run_leaves_others_completed(
    real_mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = loop.train

    def disturbed(runs: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for number, (which, record) in enumerate(train(runs, *args, **kwargs)):
            if number == 10:
                shutil.rmtree(tmp_path / "1")
            yield which, record

    monkeypatch.setattr(loop, "train", disturbed)
    jobs = [(job(tmp_path / str(seed), {"seed": seed, "epochs": 2}), log_of_job()) for seed in range(3)]
    values = stacks.train(jobs, Toolchain())
    assert [value is None for value in values] == [False, True, False]
    assert {name: run["status"] for name, run in summaries(tmp_path).items()} == {"0": "completed", "2": "completed"}


def test_stacked_sweep_invalid_memory_limit_is_refused(command: Command) -> None:
    for wrong in ("0", "-1", "inf"):
        done = command("run.py", *CELLS, STACKED, f"hydra.launcher.memory={wrong}", status=1)
        assert "expected null or a number of GiB greater than 0" in done.stderr
        assert "Traceback" not in done.stderr
    assert (
        "hydra.launcher.memory=abc: "
        in command("run.py", *CELLS, STACKED, "hydra.launcher.memory=abc", status=1).stderr
    )
    unknown = command("run.py", *CELLS, STACKED, "hydra.launcher.memry=1", status=1).stderr
    assert unknown.startswith("error: hydra.launcher.memry: unknown key of this launcher")
    assert unknown.count("\n") == 1


def test_stacking_hint_counts_jobs_that_would_stack(tmp_path: Path) -> None:
    jobs = [Job((), tmp_path / str(number), "h", "d", stack=stack) for number, stack in enumerate("aaab")]
    hint = stacking_hint(jobs)
    assert hint is not None
    assert "with hydra/launcher=stacked, 3 of these 4 jobs would train together, up to 3 per step" in hint
    assert stacking_hint(jobs[2:]) is None
    assert stacking_hint([Job((), tmp_path, "h", "d")] * 3) is None
