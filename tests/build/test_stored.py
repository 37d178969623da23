"""Saved weights: loaded models evaluate as the run did, and damaged or foreign files have one message."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from mnist_mlp.app.job import _train
from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.reading import read_json, read_metrics
from mnist_mlp.base.record import RUN_FILE, WEIGHTS, Metrics, weights_name
from mnist_mlp.build.from_config import build
from mnist_mlp.build.stored import load_model
from mnist_mlp.training.loop import evaluate
from mnist_mlp.training.process import training_settings
from mnist_mlp.training.weights import WeightSaver
from tests.helpers.composing import composed, refused
from tests.helpers.running import assignment, train_run

SMALL = ("data=digits", "data.train_size=300", "data.val_size=200", "epochs=3", "progress=false", "device=cpu")
PATHS = {  # by the step that run.json names
    "fused kernels": ("optim=adam",),
    "fused gradients": ("optim=schedule_free",),
    "autograd": ("optim=sgd", "model.activation=torch.nn.Hardswish"),
}


def trained(directory: Path, *overrides: str) -> Path:
    """Train a run in this process, and return its directory."""
    return train_run(directory, *SMALL, *overrides)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the weights of all epochs."""
    return trained(tmp_path_factory.mktemp("weights") / "run", "save=epochs")


def evaluated(directory: Path, epoch: int | str) -> list[tuple[str, float, float]]:
    """Return split, loss and accuracy of the loaded model."""
    summary = read_json(directory / RUN_FILE)
    model, data = load_model(directory, epoch), build(summary["config"]).data
    assert not model.training
    with training_settings(1):
        return [(name, *evaluate(model, split)) for name, split in (("val", data.val), ("test", data.test)) if split]


def logged(directory: Path, epoch: int) -> list[tuple[str, float, float]]:
    rows: list[Metrics] = read_metrics(directory, read_json(directory / RUN_FILE))
    return [(row.split, row.loss, row.accuracy) for row in rows if row.epoch == epoch and row.split != "train"]


@pytest.mark.parametrize("path", PATHS)
def test_load_model_of_any_epoch_evaluates_as_logged(tmp_path: Path, path: str) -> None:
    directory = trained(tmp_path / "run", *PATHS[path], "save=epochs")
    assert read_json(directory / RUN_FILE)["step"].startswith(path)
    for epoch in range(4):
        assert evaluated(directory, epoch) == logged(directory, epoch)
    assert evaluated(directory, "last") == logged(directory, 3)


@pytest.mark.parametrize(("save", "epochs"), [("last", [3]), ("epochs", [0, 1, 2, 3])])
def test_save_writes_the_epochs_asked_for(tmp_path: Path, save: str, epochs: list[int]) -> None:
    directory = trained(tmp_path / "run", f"save={save}")
    names = [weights_name(epoch) for epoch in epochs]
    assert sorted(path.name for path in (directory / WEIGHTS).iterdir()) == names
    assert read_json(directory / RUN_FILE)["weights"] == {"save": save, "files": names, "lost": None}


def test_save_best_keeps_the_epoch_with_the_highest_validation_accuracy(tmp_path: Path, run: Path) -> None:
    directory = trained(tmp_path / "run", "save=best")
    rows = [row for row in read_metrics(directory, read_json(directory / RUN_FILE)) if row.split == "val"]
    best = max(rows, key=lambda row: (row.accuracy, -row.loss)).epoch
    assert [path.name for path in (directory / WEIGHTS).iterdir()] == [weights_name(best)]
    assert evaluated(directory, "best") == logged(directory, best) == evaluated(run, "best")


@pytest.mark.parametrize(
    ("of_epochs", "kept"),
    [
        ([(0.1, 2.0), (0.9, 0.5), (0.9, 0.4), (0.8, 0.1)], 2),  # of equal accuracies, the lower loss
        ([(0.9, 0.5), (0.9, 0.5), (0.9, 0.6)], 0),  # of equal ones, the first
    ],
)
def test_save_best_breaks_ties_by_loss(tmp_path: Path, of_epochs: list[tuple[float, float]], kept: int) -> None:
    saver = WeightSaver(tmp_path, "best", len(of_epochs) - 1, torch.nn.Linear(2, 2), "h")
    for epoch, (accuracy, loss) in enumerate(of_epochs):
        for split in ("val", "test"):
            saver.add(Metrics(epoch, epoch, split, loss if split == "val" else 9.0, accuracy, 0.1, 0.0))
    assert saver.facts()["weights"]["files"] == [weights_name(kept)]
    assert [path.name for path in (tmp_path / WEIGHTS).iterdir()] == [weights_name(kept)]


def test_saving_does_not_change_the_result(tmp_path: Path, run: Path) -> None:
    rows = [read_metrics(d, read_json(d / RUN_FILE)) for d in (run, trained(tmp_path / "run"))]
    assert [row._replace(seconds=0) for row in rows[0]] == [row._replace(seconds=0) for row in rows[1]]
    assert not (tmp_path / "run" / WEIGHTS).exists()


def test_weights_that_cannot_be_written_are_lost_but_not_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = assignment(tmp_path / "run", *SMALL, "save=epochs")
    writer = job.writer()
    (tmp_path / "run" / WEIGHTS).touch()  # no folder can be made
    _train(job.config, writer, None)
    writer.end()
    summary = read_json(tmp_path / "run" / RUN_FILE)
    assert (summary["status"], summary["weights"]["files"]) == ("completed", [])
    assert "File exists" in summary["weights"]["lost"]
    assert caplog.text.count("the weights are lost: ") == 1


def test_run_writer_removes_the_weights_of_an_earlier_run(tmp_path: Path) -> None:
    trained(tmp_path / "run", "save=epochs")
    trained(tmp_path / "run", "save=last")
    assert [path.name for path in (tmp_path / "run" / WEIGHTS).iterdir()] == [weights_name(3)]


def test_save_best_without_validation_split_is_refused() -> None:
    words = ["save=best: expected data.val_size greater than 0"]
    refused(plain(composed("data=digits", "data.val_size=0", "save=best")), words)


def copy_of(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("epoch", "words"),
    [
        (4, "epoch=4: expected last, best or a saved epoch."),
        (-1, "epoch=-1: expected last"),
        ("first", "epoch=first: expected last"),
        (True, "epoch=True: expected last"),
    ],
)
def test_load_model_of_unknown_epoch_lists_the_saved_ones(run: Path, epoch: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        load_model(run, epoch)
    assert words in str(caught.value)
    assert "epoch_00.safetensors, epoch_01.safetensors" in str(caught.value)


def test_load_model_of_damaged_files_says_what_was_expected(run: Path, tmp_path: Path) -> None:
    copy = copy_of(run, tmp_path)
    weights = copy / WEIGHTS / weights_name(3)
    content = weights.read_bytes()
    for damaged in (b"", content[:100], content[:-8], b"\xff" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(UserError, match="expected a file of weights"):
            load_model(copy)
    state = safetensors.torch.load(content)
    weights.write_bytes(safetensors.torch.save(state, {"config_hash": "another"}))
    with pytest.raises(UserError, match="expected weights of this run"):
        load_model(copy)
    own = read_json(copy / RUN_FILE)["config_hash"]
    weights.write_bytes(safetensors.torch.save(dict(list(state.items())[:-1]), {"config_hash": own}))
    with pytest.raises(UserError, match="expected weights of this network"):
        load_model(copy)
    shutil.rmtree(copy / WEIGHTS)
    with pytest.raises(UserError, match="expected a run with weights"):
        load_model(copy)
    (copy / RUN_FILE).write_text("{}")
    with pytest.raises(UserError, match="expected the record of a finished run"):
        load_model(copy)
    with pytest.raises(UserError, match="expected the record of a finished run"):
        load_model(tmp_path / "nowhere")
