"""A run directory: written as it goes, ended by run.json."""

import csv
import json
import resource
import signal
from pathlib import Path

import pytest

from mnist_mlp.environment import environment
from mnist_mlp.record import Diverged, Metrics, RunWriter, StepLoss, write_atomically

ROW = Metrics(epoch=1, step=10, split="val", loss=0.1 + 0.2, accuracy=0.5, lr=1e-3, seconds=1.25)


def test_rows_are_there_before_the_run_ends(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(StepLoss(step=5, epoch=1, loss=2.0, lr=1e-3))
    writer.write(ROW)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,step,split,loss,accuracy,lr,seconds\n1,10,val,0.30000000000000004,0.5,0.001,1.25\n"
    )
    assert (tmp_path / "steps.csv").read_text() == "step,epoch,loss,lr\n5,1,2.0,0.001\n"
    assert not (tmp_path / "run.json").exists()


def test_numbers_survive_the_round_trip(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW)
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["loss"]) == ROW.loss


def test_run_json_sums_up(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.describe(config_hash="abc")
    writer.write(ROW)
    writer.end()
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary.pop("wall_seconds") > 0
    assert summary == {
        "status": "completed",
        "reason": None,
        "final": {"val": {"loss": ROW.loss, "accuracy": 0.5, "epoch": 1}},
        "seconds": 1.25,
        "config_hash": "abc",
    }


def test_run_json_is_json_whatever_the_loss(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW._replace(loss=float("nan")))
    writer.end(Diverged("the val loss is nan"))

    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and Infinity are no JSON

    summary = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert summary["final"]["val"]["loss"] is None


def test_an_older_run_is_replaced_whole(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW)
    writer.end()
    RunWriter(tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "new \udcff")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_environment_names_what_a_result_may_depend_on() -> None:
    facts = environment("cpu", threads=1)
    assert facts.keys() == {
        *("package", "commit", "dirty", "python", "torch", "cuda", "device", "cpu", "threads", "platform")
    }
    assert all(facts[key] for key in ("package", "python", "torch", "device", "cpu", "threads", "platform"))


def test_a_row_that_could_not_be_written_whole_is_written_once(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW)
    before = (tmp_path / "metrics.csv").read_text()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 5, hard))  # as a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            writer.write(ROW._replace(split="test"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "metrics.csv").read_text() == before
    writer.end(RuntimeError("full"))
    assert (tmp_path / "metrics.csv").read_text() == before + "1,10,test,0.30000000000000004,0.5,0.001,1.25\n"
