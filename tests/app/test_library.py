"""Public Python API: examples, equality with the commands, and messages."""

import doctest
import io
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from matplotlib import pyplot as plt

import mnist_mlp as mm
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import METRICS_FILE, RUN_FILE
from mnist_mlp.report import report_on
from mnist_mlp.stats import compare_pairs
from tests.helpers.commands import NO_REPORT, Command
from tests.helpers.documents import blocks
from tests.helpers.paths import ROOT
from tests.helpers.results import wait_until
from tests.helpers.runs import Write

SMALL = ("data=digits", "data.train_size=200", "data.val_size=100")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sweep directory of the examples of all public functions and of the page on them, which have been run."""
    top, before = tmp_path_factory.mktemp("library"), Path.cwd()
    os.chdir(top)
    try:
        for name in ("train", "load_data", "sweep", "load", "compare", "load_model"):
            function = getattr(mm, name)
            (test,) = doctest.DocTestFinder(recurse=False).find(function, name, globs={name: function})
            assert test.examples
            outcome = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test)
            assert outcome.failed == 0, name
        for name in mm.plot.__all__:
            (test,) = doctest.DocTestFinder(recurse=False).find(getattr(mm.plot, name), name)
            assert test.examples
            assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test).failed == 0, name
        page: dict[str, object] = {}
        for program in blocks("docs/python.md", "python"):
            exec(program, page)
        assert isinstance(page["model"], torch.nn.Module)
        plt.close("all")
    finally:
        os.chdir(before)
    return top / "multirun" / "small"


def test_examples_cover_all_public_names(swept: Path) -> None:
    assert sorted(mm.__all__) == ["compare", "load", "load_data", "load_model", "plot", "sweep", "train"]
    assert {*mm.__all__} <= {*dir(mm)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mm.nothing  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, mnist_mlp; print({'torch', 'hydra', 'pandas', 'numpy', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_train_equals_the_command_and_leaves_the_process_as_it_was(command: Command, tmp_path: Path) -> None:
    words = (*SMALL, "init=lecun", "optim=radam", "epochs=2", "seed=3")
    command("run.py", *words, "hydra.run.dir=one", "progress=false")
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    threads = torch.get_num_threads()
    run = mm.train(*words[:-2], epochs=2, seed=3)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert torch.get_num_threads() == threads
    assert not GlobalHydra.instance().is_initialized()
    metrics = pd.read_csv(tmp_path / "one" / METRICS_FILE).drop(columns="seconds")
    pd.testing.assert_frame_equal(run.metrics.drop(columns="seconds"), metrics, check_exact=True)
    assert (run.status, run.reason, run.directory, run.config["optim"]["lr"]) == ("completed", None, None, 0.001)
    data = mm.load_data("digits", *SMALL[1:])
    correct = (run.model(data.test.images).argmax(dim=1) == data.test.labels).float().mean().item()
    assert correct == pytest.approx(run.metrics["accuracy"].iloc[-1])


def test_train_with_directory_writes_a_run(tmp_path: Path) -> None:
    run = mm.train(*SMALL, directory=tmp_path / "run", epochs=1, save="best")
    assert run.directory == tmp_path / "run"
    (row,) = mm.load(tmp_path / "run").runs.to_dict("records")
    assert (row["optim"], row["status"]) == ("adam", "completed")
    assert row["test_accuracy"] == run.metrics["accuracy"].iloc[-1]
    assert not mm.load_model(tmp_path / "run", "best").training
    with pytest.raises(UserError, match="expected a directory without a run"):
        mm.train(*SMALL, directory=tmp_path / "run")


def test_train_with_a_list_of_metrics_has_their_columns() -> None:
    run = mm.train(*SMALL, metrics=["top2", "macro_f1"], epochs=1)
    assert list(run.metrics)[-2:] == ["top2", "macro_f1"]
    assert run.metrics.loc[run.metrics["split"] != "train", "top2"].between(0, 1).all()


def test_train_that_diverges_returns_its_records(tmp_path: Path) -> None:
    run = mm.train(*SMALL, "optim=sgd", "optim.lr=1e30", "model.batch_norm=false", directory=tmp_path / "run", epochs=2)
    assert (run.status, run.reason is None) == ("diverged", False)
    assert run.metrics["epoch"].max() == 0
    assert mm.load(tmp_path / "run").runs["status"].tolist() == ["diverged"]
    assert mm.load(tmp_path / "run").runs["test_accuracy"].isna().all()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["optim=nope"], "optim=nope: unknown option"),
        (["optim=adam,sgd"], "optim=adam,sgd: expected one value, or `sweep` for several"),
        (["optim.lrr=1"], "optim.lrr=1: unknown key. Did you mean optim.lr?"),
        (["experiment=smoke"], "experiment=smoke: expected a single run, since a study is a sweep"),
        (["save=last"], "save=last: expected directory=DIR"),
        (["epochs=-1"], "epochs=-1: expected a whole number"),
        (["nothing=1"], "nothing"),
    ],
)
def test_train_with_wrong_setting_has_one_message(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError) as caught:
        mm.train(*SMALL, *overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_load_data_splits_have_their_own_arrays() -> None:
    data = mm.load_data("digits", "data.train_size=100", "data.val_size=50")
    assert data.val is not None
    assert [len(part.labels) for part in (data.train, data.val, data.test)] == [100, 50, 299]
    assert [part.images.shape for part in (data.train, data.val)] == [(100, 64), (50, 64)]
    assert data.train.images.dtype == torch.float32
    assert (data.train.images.min().item(), data.train.images.max().item()) == (0, 1)
    assert mm.load_data("digits", "data.val_size=0").val is None


def test_load_has_tidy_frames(swept: Path) -> None:
    results = mm.load(swept)
    assert results.runs["seed"].value_counts().to_dict() == {0: 2, 1: 2, 2: 2}
    assert results.left_out == {}
    last = results.curves[(results.curves["epoch"] == 1) & (results.curves["split"] == "test")]
    assert last.groupby("optim")["accuracy"].mean().to_dict() == pytest.approx(
        results.runs.groupby("optim")["test_accuracy"].mean().to_dict()
    )
    assert {"run", "step", "loss", "optim", "seed"} <= {*results.steps.columns}
    row = results.runs.iloc[-1]
    one, other = (model.state_dict()["output.weight"] for model in (results.model(row), mm.load_model(str(row.name))))
    assert torch.equal(one, other)
    with pytest.raises(UserError, match="there is no such directory"):
        mm.load(swept / "nowhere")


def test_load_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected at least one run"):
        mm.load(tmp_path)


def test_load_leaves_out_damaged_runs(swept: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(swept, tmp_path / "copy"))
    broken, damaged, *_ = sorted(copy.glob(f"*/{RUN_FILE}"))
    broken.write_text("{}")
    (damaged.parent / "steps.csv").write_text("nothing")
    results = mm.load(copy)
    assert list(results.left_out) == [str(broken.parent)]
    assert len(results.runs) == 5


def test_compare_equals_the_report(swept: Path, command: Command, tmp_path: Path) -> None:
    command("report.py", str(swept), "--out", "report")
    comparison = mm.compare(mm.load(swept))
    for name, frame in (("summary", comparison.leaderboard), ("pairs", comparison.pairs)):
        table = pd.read_csv(tmp_path / "report" / f"{name}.csv")
        written = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
        pd.testing.assert_frame_equal(written[list(table.columns)], table)
    text = str(comparison)
    assert text.splitlines()[-1].startswith("note: ")
    assert f"- {comparison.facts[0]}" in text
    assert mm.compare(swept, margin=90).pairs["verdict"].tolist() != ["not tested"]


def test_sweep_of_classes_in_main_is_refused() -> None:
    with pytest.raises(UserError, match="Worker processes cannot see those of __main__"):
        mm.sweep("optim._target_=__main__.Mine", directory="x")


def test_sweep_with_wrong_setting_has_the_message_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="optim=nope: unknown option"):
        mm.sweep("optim=adam,nope", directory=tmp_path / "x", progress=False)


def test_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    sweep = f"'data=digits', {NO_REPORT!r}, seed=range(2), epochs=60, directory={str(tmp_path / 'x')!r}"
    program = tmp_path / "program.py"
    program.write_text(f"import mnist_mlp as mm\nmm.sweep({sweep})\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, program], env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: bool(list(tmp_path.glob(f"x/*/{METRICS_FILE}"))))
        process.send_signal(signal.SIGINT)  # only to this process, as in a notebook
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert len(list(tmp_path.glob(f"x/*/{RUN_FILE}"))) < 2
    results = mm.sweep(
        "data=digits",
        NO_REPORT,
        "hydra/launcher=basic",
        directory=tmp_path / "x",
        progress=False,
        seed=range(2),
        epochs=60,
    )
    assert results.runs["status"].tolist() == ["completed"] * 2


def test_compare_of_a_hand_made_table_equals_the_report_and_the_statistics(tmp_path: Path, write_run: Write) -> None:
    table = pd.DataFrame(
        {
            "adam": [0.961, 0.957, 0.964, 0.959, 0.962],
            "sgd": [0.951, 0.949, 0.956, 0.947, 0.953],
            "nag": [0.960, 0.955, 0.959, 0.961, 0.958],
        }
    ).T.rename_axis("cell")
    for optim, scores in table.iterrows():
        for seed, score in enumerate(scores):
            write_run(optim=optim, seed=seed, test=[0.1, float(score)], data_facts={"test": 1000})
    found = mm.compare(tmp_path / "sweep", margin=1)
    expected, _ = compare_pairs(table.loc[["adam", "nag", "sgd"]], 1000, margin=0.01, bounds=(0, 1))
    columns = ["n", "difference", "ci_low", "ci_high", "p", "p_corrected", "additional_seeds", "verdict", "reason"]
    pd.testing.assert_frame_equal(found.pairs[columns], expected[columns], check_dtype=False)
    report_on([tmp_path / "sweep"], tmp_path / "report", margin=0.01)
    of_report, numbers = pd.read_csv(tmp_path / "report" / "pairs.csv"), columns[:-1]
    pd.testing.assert_frame_equal(of_report[numbers], expected[numbers], check_dtype=False)
    board = pd.read_csv(tmp_path / "report" / "summary.csv")
    assert list(found.leaderboard["test_accuracy_mean"]) == pytest.approx(list(board["test_accuracy_mean"]))


def test_plot_into_given_axes_draws_there(tmp_path: Path, write_run: Write) -> None:
    for optim, score in (("adam", 0.9), ("sgd", 0.8)):
        for seed in range(3):
            write_run(optim=optim, seed=seed, test=[0.1, score - 0.01 * seed])
    plt.close("all")
    figure, axes = plt.subplots(2, 3)
    for ax, name in zip(axes.flat, mm.plot.__all__, strict=True):
        assert getattr(mm.plot, name)(tmp_path / "sweep", ax=ax) is ax
        assert ax.has_data() or ax.texts
    assert plt.get_fignums() == [figure.number]
    assert [text.get_text() for text in axes[0, 0].get_legend().get_texts()] == ["adam", "sgd"]
    plt.close(figure)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"measure": "accuracy"}, "measure=accuracy: expected error or loss"),
        ({"split": "dev"}, "split=dev: expected a split with epochs: "),
        ({"metric": "top2"}, "--metric top2: expected a metric of these runs: accuracy"),
    ]
    for wrong, words in cases:
        with pytest.raises(UserError, match=words):
            mm.plot.curves(tmp_path / "sweep", **wrong)
    with pytest.raises(UserError, match="there is no such directory"):
        mm.plot.seeds(tmp_path / "nowhere")
