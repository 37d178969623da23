"""Commands of users, run end to end as processes."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.commands import IN_PROCESS, MINE, NO_REPORT, SMALL, SMALLER, Command
from tests.helpers.runs import Write


def run_directories(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.rglob("run.json"))


def summaries(root: Path) -> pd.DataFrame:
    (path,) = (root / "reports").rglob("summary.csv")
    return pd.read_csv(path)


def statuses(root: Path) -> list[str]:
    return [json.loads((run / "run.json").read_text())["status"] for run in run_directories(root)]


def metrics(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "metrics.csv")


def test_run_single_writes_all_files_and_facts(fresh: Command, tmp_path: Path) -> None:
    done = fresh("run.py", "optim=radam", "seed=3", "epochs=2", "data.val_size=0", "data.train_size=200")
    (run,) = run_directories(tmp_path / "outputs")
    assert [line for line in done.stdout.splitlines() if "epoch 2/2" in line and "test" in line]
    rows = metrics(run)
    assert list(zip(rows["epoch"], rows["split"], strict=True)) == [(e, s) for e in range(3) for s in ("train", "test")]
    files = {"metrics.csv", "steps.csv", "run.json", "run.log", ".hydra", ".lock"}
    assert {path.name for path in run.iterdir()} == files
    assert {path.name for path in (run / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    summary = json.loads((run / "run.json").read_text())
    assert summary["choices"] == {
        "data": "mnist",
        "model": "mlp",
        "init": "he",
        "optim": "radam",
        "schedule": "constant",
    }
    assert summary["final"]["test"]["accuracy"] == rows["accuracy"].iloc[-1]
    assert summary["parameters"] == 537_354
    assert summary["environment"]["device"]
    assert summary["step"].startswith("fused kernels")
    assert len(summary["config_hash"]) == len(summary["data"]["digest"]) == 64
    assert summary["data"]["commonest_test_share"] == 0.1135


def test_sweep_inits_by_optimizers_completes_from_equal_weights(command: Command, tmp_path: Path) -> None:
    inits, optims = "lecun,he,default", "sgd,momentum,nag,adagrad,rmsprop,adadelta,adam,radam"
    done = command("run.py", "-m", f"init={inits}", f"optim={optims}", "epochs=1", *SMALLER, IN_PROCESS)
    assert statuses(tmp_path / "multirun") == ["completed"] * 24
    summary = summaries(tmp_path)
    assert len(summary) == 24
    assert summary["test_accuracy_mean"].is_monotonic_decreasing
    assert "report: reports/" in done.stdout
    # With equal seeds, cells of one init start from equal weights, and cells of different inits do not.
    starts = pd.concat(
        metrics(run).query("epoch == 0").assign(init=json.loads((run / "run.json").read_text())["choices"]["init"])
        for run in run_directories(tmp_path / "multirun")
    )
    assert (starts.groupby(["init", "split"])["loss"].nunique() == 1).all()
    assert (starts.groupby("split")["loss"].nunique() == 3).all()


@pytest.mark.usefixtures("user_module")
def test_sweep_repeated_gives_equal_metrics(command: Command, fresh: Command, tmp_path: Path) -> None:
    # One forked and one new process, since two forks share the hash seed and memory addresses.
    for run, name in ((command, "first"), (fresh, "second")):
        run(
            "run.py",
            "-m",
            "init=he,lecun",
            "optim=adam,sgd",
            "epochs=1",
            *MINE,
            *SMALL,
            f"hydra.sweep.dir={name}",
            IN_PROCESS,
            NO_REPORT,
        )
    first, second = run_directories(tmp_path / "first"), run_directories(tmp_path / "second")
    assert [run.name for run in first] == [run.name for run in second]
    assert len(first) == 4
    for one, two in zip(first, second, strict=True):
        a, b = metrics(one).drop(columns="seconds"), metrics(two).drop(columns="seconds")
        pd.testing.assert_frame_equal(a, b, check_exact=True)


def test_report_command_rewrites_report_and_takes_options(command: Command, tmp_path: Path) -> None:
    command(
        "run.py", "-m", "optim=adam,sgd", "epochs=1", "seed=0,1", *SMALLER, "hydra.sweep.dir=multirun/mine", IN_PROCESS
    )
    first = (tmp_path / "reports/mine/summary.csv").read_text()
    assert "report: reports/mine/index.html" in command("report.py").stdout
    assert (tmp_path / "reports/mine/summary.csv").read_text() == first
    command("report.py", "multirun/mine", "--out", "elsewhere", "--target", "0.5")
    assert (tmp_path / "elsewhere/index.html").exists()
    assert "there is no such directory" in command("report.py", "nowhere", status=1).stderr
    command(
        "run.py",
        "-m",
        "optim=adam,sgd",
        "model.dropout=0,0.5",
        "epochs=1",
        *SMALLER,
        "hydra.sweep.dir=multirun/two",
        IN_PROCESS,
        NO_REPORT,
    )
    command("report.py", "--by", "optim,model.dropout", "--format", "pdf")
    assert len(pd.read_csv(tmp_path / "reports/two/summary.csv")) == 4
    assert (tmp_path / "reports/two/figures/heatmap.pdf").exists()
    assert "argument --width: invalid choice: 'wide'" in command("report.py", "--width", "wide", status=2).stderr
    assert "--by colour: expected one of init, optim" in command("report.py", "--by", "colour", status=1).stderr


def test_sweep_in_directory_with_other_runs_reports_them_separately(
    command: Command, write_run: Write, tmp_path: Path
) -> None:
    small = {"_target_": "mnist_mlp.data.mnist", "train_size": 200, "val_size": 100, "split_seed": 0}
    for seed in (0, 1):
        write_run(seed=seed, test=[0.99], data_config=small)  # as of a sweep with epochs=0
    failed = write_run(seed=7, test=[0.99], data_config=small, status="failed", reason="RuntimeError: old")
    (tmp_path / "sweep/leftover/.hydra").mkdir(parents=True)
    done = command(
        "run.py", "-m", "optim=adam,sgd", "seed=0,1", "epochs=1", *SMALL, "hydra.sweep.dir=sweep", IN_PROCESS
    )
    assert "left out: sweep/leftover: unfinished" in done.stdout
    assert f"failed: {failed.relative_to(tmp_path)}: RuntimeError: old" in done.stdout
    summary = summaries(tmp_path)
    assert summary[["data", "n", "failed"]].to_numpy().tolist() == [
        ["mnist, epochs=1", 2, 0],  # the section of the sweep comes first
        ["mnist, epochs=1", 2, 0],
        ["mnist, epochs=0", 2, 1],
    ]


def test_run_digits_without_data_directory_trains(command: Command, tmp_path: Path) -> None:
    command("run.py", "data=digits", "epochs=3", "data.root=empty")
    (run,) = run_directories(tmp_path / "outputs")
    assert metrics(run)["accuracy"].iloc[-1] > 0.9
    assert not (tmp_path / "empty").exists()


def test_sweep_user_defined_optimizer_needs_one_file(command: Command, checkout: Path, tmp_path: Path) -> None:
    (checkout / "conf/optim/mine.yaml").write_text("_target_: torch.optim.NAdam\n_partial_: true\nlr: 0.002\n")
    command(
        "run.py", "-m", "optim=adam,mine", "optim.weight_decay=1e-4", "epochs=1", *SMALLER, IN_PROCESS, top=checkout
    )
    assert sorted(summaries(tmp_path)["optim"]) == ["adam", "mine"]


def test_sweep_user_defined_init_and_model_trains(command: Command, checkout: Path, tmp_path: Path) -> None:
    (checkout / "my_parts.py").write_text(
        "import torch\n"
        "def constant_(weight, value, *, generator):\n"
        "    weight.fill_(value)\n"
        "class Linear(torch.nn.Linear):\n"
        "    pass\n"
    )
    (checkout / "conf/init/flat.yaml").write_text("_target_: my_parts.constant_\n_partial_: true\nvalue: 0.01\n")
    (checkout / "conf/model/linear.yaml").write_text("_target_: my_parts.Linear\n")
    command(
        "run.py",
        "-m",
        "init=he,flat",
        "model=linear",
        "init.bias=zeros",
        "epochs=1",
        *SMALLER,
        IN_PROCESS,
        top=checkout,
    )
    assert sorted(summaries(tmp_path)["init"]) == ["flat", "he"]
    starts = {float(metrics(run)["loss"].iloc[0]) for run in run_directories(tmp_path / "multirun")}
    assert len(starts) == 2


def test_sweep_failing_job_leaves_other_jobs_completed(command: Command, throwing: Path, tmp_path: Path) -> None:
    done = command(
        "run.py", "-m", "optim=throwing,exiting,sgd,adam", "epochs=1", *SMALLER, IN_PROCESS, top=throwing, status=1
    )
    assert sorted(statuses(tmp_path / "multirun")) == ["completed", "completed", "failed", "failed"]
    failed_of = summaries(tmp_path).set_index("optim")["failed"].to_dict()
    assert failed_of == {"throwing": 1, "exiting": 1, "sgd": 0, "adam": 0}
    (failed,) = (run for run in run_directories(tmp_path / "multirun") if "throwing" in run.name)
    assert f"failed: {failed.relative_to(tmp_path)}: RuntimeError: thrown on purpose" in done.stdout
    for text in ((failed / "run.log").read_text(), json.loads((failed / "run.json").read_text())["traceback"]):
        assert "my_optim.py" in text
        assert "RuntimeError: thrown on purpose" in text
    alone = command("run.py", "optim=throwing", "epochs=1", *SMALLER, top=throwing, status=1)
    assert alone.stderr.rstrip().endswith("run.log")


def test_sweep_diverged_run_counts_as_result(command: Command, tmp_path: Path) -> None:
    command(
        "run.py", "-m", "optim=sgd", "optim.lr=0.1,1e30", "epochs=1", "model.batch_norm=false", *SMALLER, IN_PROCESS
    )
    assert sorted(statuses(tmp_path / "multirun")) == ["completed", "diverged"]
    (row,) = summaries(tmp_path).to_dict("records")
    assert (row["n"], row["diverged"], row["failed"], row["optim.lr"]) == (1, 1, 0, 0.1)


def test_report_help_explains_options(command: Command) -> None:
    text = command("report.py", "--help").stdout
    assert "SWEEP_DIR" in text
    assert (
        "--target ACCURACY report the time to this accuracy, a fraction [0.97 on MNIST; none on other data"
        in " ".join(text.split())
    )
