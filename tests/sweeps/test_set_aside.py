"""Results that are set aside while their runs are trained again for further outputs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mnist_mlp.base.record import METRICS_FILE, RUN_FILE, STEPS_FILE, WEIGHTS
from mnist_mlp.sweeps.jobs import lacks_metrics, lacks_weights
from mnist_mlp.sweeps.set_aside import KEPT, set_aside, settle, settle_all
from tests.helpers.commands import NO_REPORT, SMALLER, Command

HEADER = "epoch,step,split,loss,accuracy,lr,seconds\n"


def write(directory: Path, loss: float = 0.5, seconds: float = 1.0, status: str | None = "completed") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / METRICS_FILE).write_text(f"{HEADER}0,0,test,{loss},0.9,0.01,{seconds}\n")
    (directory / STEPS_FILE).write_text("step,epoch,loss,lr\n")
    (directory / WEIGHTS).mkdir(exist_ok=True)
    (directory / WEIGHTS / f"epoch_{seconds:g}").touch()
    if status:
        summary = {"status": status, "seconds": seconds, "weights": {}, "config": {}}
        (directory / RUN_FILE).write_text(json.dumps(summary))


def seconds_of(directory: Path) -> float:
    return float(json.loads((directory / RUN_FILE).read_text())["seconds"])


@pytest.mark.parametrize(
    ("new", "expected", "seconds"),
    [
        ({"seconds": 2.0}, True, 2.0),  # equal except for seconds
        ({"seconds": 2.0, "loss": 0.5000001}, False, 1.0),
        ({"seconds": 2.0, "status": "diverged"}, False, 1.0),
        ({"seconds": 2.0, "status": "failed"}, False, 1.0),
        ({"seconds": 2.0, "status": None}, True, 1.0),  # killed
        (None, True, 1.0),  # killed before it began
    ],
)
def test_settle_keeps_the_new_result_only_if_it_is_equal(
    tmp_path: Path, new: dict[str, float | str | None] | None, expected: bool, seconds: float
) -> None:
    run = tmp_path / "sweep" / "run"
    write(run)
    set_aside(run)
    assert not (run / RUN_FILE).exists()
    if new is not None:
        write(run, **new)  # type: ignore[arg-type]
    assert settle(run) == expected
    assert seconds_of(run) == seconds
    assert [path.name for path in (run / WEIGHTS).iterdir()] == [f"epoch_{seconds:g}"]
    assert not (run / KEPT).exists()


@pytest.mark.parametrize("moved", range(5))
def test_settle_all_after_kill_while_setting_aside_loses_nothing(tmp_path: Path, moved: int) -> None:
    run = tmp_path / "sweep" / "run"
    write(run)
    (run / KEPT).mkdir()
    for name in [METRICS_FILE, STEPS_FILE, WEIGHTS, RUN_FILE][:moved]:  # in this order
        (run / name).replace(run / KEPT / name)
    settle_all(tmp_path / "sweep")
    assert seconds_of(run) == 1.0
    assert {path.name for path in run.iterdir()} == {RUN_FILE, WEIGHTS, STEPS_FILE, METRICS_FILE}


@pytest.mark.parametrize("moved", range(4))
def test_settle_after_kill_while_restoring_loses_nothing(tmp_path: Path, moved: int) -> None:
    run = tmp_path / "sweep" / "run"
    write(run)
    set_aside(run)
    for name in [METRICS_FILE, STEPS_FILE, WEIGHTS, RUN_FILE][:moved]:
        (run / KEPT / name).replace(run / name)
    assert settle(run)
    assert seconds_of(run) == 1.0
    assert {path.name for path in run.iterdir()} == {RUN_FILE, WEIGHTS, STEPS_FILE, METRICS_FILE}


def test_settle_removes_the_weights_of_a_killed_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run)
    shutil.rmtree(run / WEIGHTS)
    (run / RUN_FILE).write_text(json.dumps({"status": "completed"}))
    set_aside(run)
    write(run, seconds=2.0, status=None)
    assert settle(run)
    assert {path.name for path in run.iterdir()} == {RUN_FILE, STEPS_FILE, METRICS_FILE}


@pytest.mark.parametrize(
    ("saved", "save", "expected"),
    [
        (None, "none", False),
        (None, "last", True),
        ({"save": "last", "files": ["a"], "lost": None}, "last", False),
        ({"save": "last", "files": ["a"], "lost": None}, "best", True),
        ({"save": "last", "files": ["a"], "lost": None}, "none", False),
        ({"save": "epochs", "files": ["a"], "lost": None}, "best", False),
        ({"save": "last", "files": ["gone"], "lost": None}, "last", True),
        ({"save": "last", "files": [], "lost": "No space left on device"}, "last", True),
        ({"save": "last", "files": [], "lost": None}, "last", False),  # diverged before its last epoch
        ({"save": "last", "files": [3], "lost": None}, "last", True),
        ({"save": "last"}, "last", True),
    ],
)
def test_lacks_weights_compares_files_with_what_is_asked_for(
    tmp_path: Path, saved: object, save: str, expected: bool
) -> None:
    (tmp_path / WEIGHTS).mkdir()
    (tmp_path / WEIGHTS / "a").touch()
    assert lacks_weights(tmp_path, save, {} if saved is None else {"weights": saved}) == expected


TOP2 = {"_target_": "mnist_mlp.training.metrics.top_k", "k": 2}


def add_metric(directory: Path, name: str, value: str) -> None:
    """Add a metric to a run that `write` has made."""
    lines = (directory / METRICS_FILE).read_text().splitlines()
    (directory / METRICS_FILE).write_text(f"{lines[0]},{name}\n{lines[1]},{value}\n")
    summary = json.loads((directory / RUN_FILE).read_text())
    summary |= {"config": {"metrics": {name: TOP2}}, "metrics": {name: {"code": {}, "failed": None}}}
    (directory / RUN_FILE).write_text(json.dumps(summary | {"final": {"test": {name: value and float(value)}}}))


@pytest.mark.parametrize("interrupted", [False, True])
def test_settle_adds_the_outputs_of_the_earlier_result(tmp_path: Path, interrupted: bool) -> None:
    run = tmp_path / "run"
    write(run)
    add_metric(run, "old", "0.25")
    for epoch in ("00", "03"):
        (run / WEIGHTS / f"epoch_{epoch}.safetensors").write_text("old")
    set_aside(run)
    write(run, seconds=2.0)
    add_metric(run, "new", "")
    (run / WEIGHTS / "epoch_03.safetensors").write_text("new")
    if interrupted:  # after the tables were written, but before run.json was
        before = (run / RUN_FILE).read_text()
        shutil.copytree(run / KEPT, tmp_path / "copy")
        assert settle(run)
        (run / RUN_FILE).write_text(before)
        shutil.copytree(tmp_path / "copy", run / KEPT)
    assert settle(run)
    assert (run / METRICS_FILE).read_text() == f"{HEADER[:-1]},new,old\n0,0,test,0.5,0.9,0.01,2.0,,0.25\n"
    summary = json.loads((run / RUN_FILE).read_text())
    assert list(summary["config"]["metrics"]) == list(summary["metrics"]) == ["new", "old"]
    assert summary["final"] == {"test": {"new": "", "old": 0.25}}
    assert summary["weights"]["files"] == ["epoch_00.safetensors", "epoch_03.safetensors"]
    contents = {path.name: path.read_text() for path in (run / WEIGHTS).glob("*.safetensors")}
    assert contents == {"epoch_00.safetensors": "old", "epoch_03.safetensors": "new"}


def test_settle_killed_while_deleting_keeps_the_new_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    write(run)
    set_aside(run)
    write(run, seconds=2.0)
    remove = shutil.rmtree

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            (path / RUN_FILE).unlink()  # a part is gone
            raise KeyboardInterrupt
        remove(path, ignore_errors=True)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            settle(run)
    assert settle(run)
    assert seconds_of(run) == 2.0
    assert ",2.0\n" in (run / METRICS_FILE).read_text()
    set_aside(run)  # what the kill left does not stand in the way
    assert settle(run)
    assert seconds_of(run) == 2.0


def test_settle_of_a_result_without_step_losses_restores_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run)
    (run / STEPS_FILE).unlink()
    set_aside(run)
    write(run, seconds=2.0)
    assert not settle(run)
    assert seconds_of(run) == 1.0
    assert not (run / KEPT).exists()


def test_settle_of_a_result_without_the_facts_of_its_metrics_succeeds(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run)
    add_metric(run, "old", "0.25")
    summary = json.loads((run / RUN_FILE).read_text())
    (run / RUN_FILE).write_text(json.dumps({**summary, "metrics": {}, "final": {}}))
    set_aside(run)
    write(run, seconds=2.0)
    add_metric(run, "new", "1.0")
    assert settle(run)
    assert json.loads((run / RUN_FILE).read_text())["final"] == {"test": {"new": 1.0, "old": None}}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, False),
        ({"top2": TOP2}, False),
        ({"top2": TOP2 | {"k": 3}}, True),
        ({"top2": TOP2, "other": TOP2}, True),
        ({"mine": {"_target_": "tests.helpers.training.nothing"}}, True),  # its code has changed
    ],
)
def test_lacks_metrics_compares_configuration_and_code(asked: dict[str, Any], expected: bool) -> None:
    summary = {
        "config": {"metrics": {"top2": TOP2, "mine": {"_target_": "tests.helpers.training.nothing"}}},
        "metrics": {"top2": {"code": {}, "failed": "an error"}, "mine": {"code": {"tests": "digest"}, "failed": None}},
    }
    assert lacks_metrics(asked, summary) == expected


def test_sweep_trains_finished_runs_again_for_their_weights(command: Command, tmp_path: Path) -> None:
    sweep = (
        "run.py",
        "-m",
        "optim=adam,sgd",
        "seed=0",
        "epochs=1",
        *SMALLER,
        "hydra.sweep.dir=mine",
        NO_REPORT,
        "hydra/launcher=basic",
    )
    command(*sweep)
    before = {path.parent.name: path.read_text() for path in tmp_path.glob(f"mine/*/{METRICS_FILE}")}
    (one, other) = sorted(tmp_path.glob("mine/*/"))[-2:]
    changed = (other / METRICS_FILE).read_text().replace(",0.0", ",0.1", 1)
    (other / METRICS_FILE).write_text(changed)  # as from another machine
    again = command(*sweep, "save=last", "metrics=[top2]")
    assert (
        "jobs with a result, but without all outputs of save=last metrics=[top2]: 2. They are trained again"
        in again.stdout
    )
    assert again.stdout.count("trained again, but with another result, as on another machine; the earlier one") == 1
    assert (other / METRICS_FILE).read_text() == changed
    assert not (other / WEIGHTS).exists()
    assert [path.name for path in (one / WEIGHTS).iterdir()] == ["epoch_01.safetensors"]

    def without_seconds(text: str) -> list[str]:
        return [",".join(line.split(",")[:6]) for line in text.splitlines()]

    assert without_seconds((one / METRICS_FILE).read_text()) == without_seconds(before[one.name])
    assert float((one / METRICS_FILE).read_text().splitlines()[-1].rpartition(",")[2]) > 0
    refused = command(*sweep, "metrics=top2,macro_f1", status=1)
    assert "metrics: expected one value in a sweep, such as metrics=[top2,macro_f1]" in refused.stderr + refused.stdout
