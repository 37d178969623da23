"""Additional metrics of runs: their columns on every path, and functions that fail."""

import csv
import math
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from mnist_mlp.base.configuration import plain
from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.metrics import metric_of
from mnist_mlp.base.reading import read_json
from mnist_mlp.base.record import COLUMNS, METRICS_FILE, RUN_FILE, Metrics, Recorder
from mnist_mlp.build.from_config import build
from mnist_mlp.build.outputs import metric_functions, observe
from mnist_mlp.build.stack_members import records, run_of
from mnist_mlp.sweeps.job_id import choices, config_hash
from tests.helpers.composing import composed
from tests.helpers.running import train_run

CPU = torch.device("cpu")
SMALL = ("data=digits", "data.train_size=300", "data.val_size=200", "epochs=2", "progress=false", "device=cpu")
HERE = "tests.build.test_outputs"
MINE = f"+metrics.mine={{_target_:{HERE}.error_rate,better:less,worst:2}}"
OWN = (
    f"+metrics.careless={{_target_:{HERE}.careless,bounds:[0,null]}}",  # before the others, which it must not affect
    MINE,
    f"+metrics.raising={{_target_:{HERE}.raising,bounds:[0,1]}}",
    f"+metrics.undefined={{_target_:{HERE}.undefined,bounds:[0,1]}}",
    f"+metrics.outside={{_target_:{HERE}.outside,bounds:[0,1]}}",
    f"+metrics.rounded={{_target_:{HERE}.rounded,bounds:[0,1]}}",
    f"+metrics.leaving={{_target_:{HERE}.leaving,bounds:[0,1]}}",
)
PATHS = {
    "fused kernels": ("optim=adam",),
    "fused gradients": ("optim=schedule_free",),
    "autograd": ("optim=sgd", "model.activation=torch.nn.RReLU"),  # draws from the default generator
}


def error_rate(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) != labels).double().mean()


def raising(logits: Tensor, labels: Tensor) -> float:
    raise RuntimeError("an error\nof two lines")


def undefined(logits: Tensor, labels: Tensor) -> float:
    return math.nan


def outside(logits: Tensor, labels: Tensor) -> float:
    return 1.5


def rounded(logits: Tensor, labels: Tensor) -> float:
    return 1.0000001


def leaving(logits: Tensor, labels: Tensor) -> float:
    sys.exit(3)


def careless(logits: Tensor, labels: Tensor) -> float:
    """Change what it gets, and the state of the process."""
    logits.zero_()
    labels.zero_()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    torch.set_num_threads(2)
    return 7.0


def trained(directory: Path, *overrides: str) -> list[dict[str, str]]:
    """Train a run in this process, and return the rows of its `metrics.csv`."""
    train_run(directory, *SMALL, *overrides)
    with (directory / METRICS_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def shared(rows: list[dict[str, str]]) -> list[list[str]]:
    return [[row[name] for name in COLUMNS if name != "seconds"] for row in rows]


@pytest.mark.parametrize("path", PATHS)
def test_metrics_leave_the_run_unchanged_on_every_path(tmp_path: Path, path: str) -> None:
    rows = trained(tmp_path / "own", *PATHS[path], *OWN, "metrics=[top2]")
    assert read_json(tmp_path / "own" / RUN_FILE)["step"].startswith(path)
    assert shared(rows) == shared(trained(tmp_path / "plain", *PATHS[path]))
    for row in rows:
        values = [
            row[name] for name in ("top2", "mine", "raising", "undefined", "outside", "leaving", "rounded", "careless")
        ]
        if row["split"] == "train":
            assert values == [""] * 8
        else:
            assert float(row["mine"]) == pytest.approx(1 - float(row["accuracy"]))
            assert values[2:] == ["", "", "", "", "1.0", "7.0"]
            assert float(row["top2"]) >= float(row["accuracy"])


def test_failing_metrics_have_one_warning_each_and_a_reason_in_run_json(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained(tmp_path / "run", *OWN)
    assert caplog.text.count(" has no value (val, epoch 0: ") == 4
    summary = read_json(tmp_path / "run" / RUN_FILE)
    reasons = {name: about["failed"] for name, about in summary["metrics"].items()}
    assert reasons == {
        "mine": None,
        "raising": "val, epoch 0: RuntimeError: an error of two lines",
        "undefined": "val, epoch 0: nan is not a number in [0, 1]",
        "outside": "val, epoch 0: 1.5 is not a number in [0, 1]",
        "rounded": None,
        "leaving": "val, epoch 0: SystemExit: 3",
        "careless": None,
    }
    assert all(HERE in about["code"] for about in summary["metrics"].values())
    assert summary["code"] == {}
    assert (summary["status"], summary["final"]["test"]["raising"]) == ("completed", None)
    assert summary["final"]["test"]["mine"] == pytest.approx(1 - summary["final"]["test"]["accuracy"])


def test_metrics_are_no_part_of_the_hash() -> None:
    made = [composed(*SMALL, *more) for more in ((), OWN, ("metrics=[top2,macro_f1]",))]
    assert len({config_hash(plain(config), choices(config.hydra)) for config in made}) == 1


def test_metrics_in_a_stack_are_those_of_each_run() -> None:
    configs = [plain(composed(*SMALL, MINE, "metrics=[top2,calibration_error]", f"seed={seed}")) for seed in (0, 1)]
    parts = [build(config, CPU) for config in configs]
    recorders = [Recorder(list(config["metrics"])) for config in configs]
    for recorder, config, of_run in zip(recorders, configs, parts, strict=True):
        observe(recorder, config, of_run)
    for number, record in records([run_of(one) for one in parts], parts[0], configs[0], CPU):
        assert not isinstance(record, BaseException)
        recorders[number].write(record)
    for recorder in recorders:
        table = pd.DataFrame(recorder.rows[Metrics], columns=list(recorder.columns[Metrics]))
        assert table.loc[table["split"] == "train", list(configs[0]["metrics"])].isna().all(axis=None)
        evaluated = table[table["split"] != "train"]
        assert list(evaluated["mine"]) == pytest.approx(list(1 - evaluated["accuracy"]))
        assert (evaluated["top2"] >= evaluated["accuracy"]).all()
        assert evaluated["accuracy"].nunique() > 3


def test_diverged_run_has_no_values_at_its_last_row(tmp_path: Path) -> None:
    config = plain(composed(*SMALL, MINE))
    parts, recorder = build(config, CPU), Recorder(["mine"])
    observe(recorder, config, parts)
    recorder.write(Metrics(1, 10, "val", math.nan, 0.1, 0.1, 1.0))
    assert math.isnan(recorder.rows[Metrics][0][-1])


def threads(logits: Tensor, labels: Tensor) -> int:
    return torch.get_num_threads()


def test_metrics_are_evaluated_with_the_threads_of_the_run_and_leave_the_model_in_its_mode() -> None:
    config = plain(composed(*SMALL, f"+metrics.used={{_target_:{HERE}.threads,bounds:[0,null]}}"))
    parts, recorder = build(config, CPU), Recorder(["used"])
    observe(recorder, config, parts)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for mode in (True, False):
            parts.model.train(mode)
            recorder.write(Metrics(1, 10, "val", 0.1, 0.1, 0.1, 1.0))
            assert (recorder.rows[Metrics][-1][-1], torch.get_num_threads(), parts.model.training) == (1, 2, mode)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "node", "words"),
    [
        ("top-2", {}, "metrics.top-2: expected a name of letters"),
        ("accuracy", {}, "metrics.accuracy: expected a name of letters"),
        ("seed", {}, "metrics.seed: expected a name of letters"),
        ("mine", 3, "metrics.mine: expected a key _target_"),
        ("mine", {"_target_": 3}, "metrics.mine: expected a key _target_"),
        ("mine", {"better": "higher", "worst": 0}, "metrics.mine.better=higher: expected more or less"),
        ("mine", {"bounds": [0]}, r"metrics.mine.bounds=\[0\]: expected \[SMALLEST,LARGEST\]"),
        ("mine", {"bounds": [0, "1"]}, "expected \\[SMALLEST,LARGEST\\]"),
        ("mine", {"bounds": [1, 0]}, "expected a smallest value below the largest one"),
        ("mine", {"bounds": [0, 1], "worst": 2}, "metrics.mine.worst=2: expected a number within metrics.mine.bounds"),
        ("mine", {"worst": math.inf}, "metrics.mine.worst=inf: expected a number"),
        ("mine", {"worst": True}, "metrics.mine.worst=True: expected a number"),
        ("mine", {}, "metrics.mine.worst=null: expected the score of a diverged run"),
        ("mine", {"better": "less", "bounds": [0, None]}, "metrics.mine.worst=null: expected the score"),
    ],
)
def test_invalid_metric_has_one_message(name: str, node: Any, words: str) -> None:
    whole = {"_target_": "math.floor", **node} if isinstance(node, dict) else node
    with pytest.raises(ConfigError, match=words):
        metric_of(name, whole)


def test_metric_whose_function_does_not_fit_is_refused() -> None:
    for override, words in (
        ("+metrics.mine={_target_:nowhere.f,bounds:[0,1]}", "metrics.mine._target_=nowhere.f: expected the dotted"),
        (f"+metrics.mine={{_target_:{HERE}.outside,x:1,bounds:[0,1]}}", "metrics.mine.x=1: unknown key"),
        ("+metrics.mine={_target_:math.gamma,bounds:[0,1]}", "metrics.mine._target_=math.gamma: expected a"),
    ):
        with pytest.raises(ConfigError, match=words):
            metric_functions(plain(composed(*SMALL, override)))


def test_worse_end_of_the_bounds_is_the_score_of_a_diverged_run() -> None:
    node = {"_target_": "math.floor", "bounds": [0, 5]}
    assert metric_of("mine", node).worst == 0
    assert metric_of("mine", node | {"better": "less"}).worst == 5
    assert metric_of("mine", node | {"worst": 3}).worst == 3
