"""Run directory: rows written during training, run.json at the end, and provenance."""

import csv
import hashlib
import importlib
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mnist_mlp.analysis.load import load
from mnist_mlp.base.provenance import _git, code_digests, environment
from mnist_mlp.base.record import RUN_FILE, Diverged, Metrics, RunWriter, StepLoss, write_atomically
from tests.helpers.paths import ROOT
from tests.helpers.runs import Write

ROW = Metrics(epoch=1, step=10, split="val", loss=0.1 + 0.2, accuracy=0.5, lr=1e-3, seconds=1.25)


def test_run_writer_writes_rows_before_the_run_ends(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(StepLoss(step=5, epoch=1, loss=2.0, lr=1e-3))
    writer.write(ROW)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,step,split,loss,accuracy,lr,seconds\n1,10,val,0.30000000000000004,0.5,0.001,1.25\n"
    )
    assert (tmp_path / "steps.csv").read_text() == "step,epoch,loss,lr\n5,1,2.0,0.001\n"
    assert not (tmp_path / "run.json").exists()


def test_run_writer_float_round_trips_through_csv(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW)
    with (tmp_path / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["loss"]) == ROW.loss


def test_run_writer_end_writes_summary(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.describe(config_hash="abc")
    writer.write(ROW)
    writer.end()
    summary = json.loads((tmp_path / "run.json").read_text())
    assert summary.pop("wall_seconds") > 0
    ended = datetime.fromisoformat(summary.pop("ended"))
    assert timedelta() <= datetime.now(UTC) - ended < timedelta(minutes=1)
    assert summary == {
        "status": "completed",
        "reason": None,
        "final": {"val": {"loss": ROW.loss, "accuracy": 0.5, "epoch": 1}},
        "seconds": 1.25,
        "config_hash": "abc",
    }


def test_run_writer_nan_loss_is_null_in_json(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW._replace(loss=float("nan")))
    writer.end(Diverged("the val loss is nan"))

    def refuse(constant: str) -> None:
        raise ValueError(constant)  # JSON has no NaN and Infinity

    summary = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert summary["final"]["val"]["loss"] is None


def test_run_writer_replaces_an_older_run(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    writer.write(ROW)
    writer.end()
    RunWriter(tmp_path)
    assert not (tmp_path / "run.json").exists()
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 1


def test_write_atomically_failure_keeps_old_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "new \udcff")
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_environment_has_all_facts_of_provenance() -> None:
    facts = environment("cpu", threads=1)
    assert facts.keys() == {
        *("package", "commit", "dirty", "python", "torch", "cuda", "device", "cpu", "threads", "platform")
    }
    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert facts["commit"] == (git.stdout.strip() or None)
    assert all(facts[key] for key in ("package", "python", "torch", "device", "cpu", "threads", "platform"))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Git checkout with one file in each folder of the project."""
    top = tmp_path_factory.mktemp("committed")
    for name in ("mnist_mlp/a.py", "conf/optim/a.yaml", "experiments/a.yaml", "reports/a/report.md", "run.py"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("old\n")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for command in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", "-C", str(top), *command], check=True)
    return top


@pytest.mark.parametrize(
    ("name", "is_dirty"),
    [
        ("notes.txt", False),
        ("my_optim.py", False),
        ("mine/net.py", False),
        ("experiments/mine.yaml", False),
        ("experiments/a.yaml", False),
        ("reports/a/report.md", False),
        ("reports/b/index.html", False),
        ("run.py", True),
        ("mnist_mlp/a.py", True),
        ("mnist_mlp/new.py", True),
        ("conf/optim/mine.yaml", True),
        ("hydra_plugins/mine.py", True),
    ],
)
def test_git_state_is_dirty_if_the_file_may_change_runs(committed: Path, name: str, is_dirty: bool) -> None:
    path, is_new = committed / name, not (committed / name).exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("new\n")
    try:
        assert _git.__wrapped__(committed)["dirty"] is is_dirty
    finally:
        path.unlink() if is_new else path.write_text("old\n")


def test_git_state_of_a_moved_file_is_dirty(committed: Path) -> None:
    (committed / "mnist_mlp/a.py").rename(committed / "elsewhere.py")
    try:
        assert _git.__wrapped__(committed)["dirty"] is True
    finally:
        (committed / "elsewhere.py").rename(committed / "mnist_mlp/a.py")
    assert _git.__wrapped__(committed)["dirty"] is False


def test_run_writer_row_after_full_disk_is_written_once(tmp_path: Path) -> None:
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


Amend = Callable[..., None]


@pytest.fixture
def amend() -> Amend:
    """Return a function that changes entries of a run's `run.json`."""

    def change(run: Path, **entries: object) -> None:
        path = run / RUN_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))

    return change


@pytest.mark.parametrize(
    "ended", ["2026-11-24T10:00:00.5+00:00", "2026-11-24T10:00:00.5Z", "2026-11-24T11:00:00.5+01:00"]
)
def test_load_equal_runs_keeps_the_last_ended_of_any_status(
    tmp_path: Path, write_run: Write, amend: Amend, ended: str
) -> None:
    older, newer, failure = write_run(), write_run(status="diverged", test=[0.1]), write_run(status="failed", seed=1)
    for run, time in ((newer, ended), (older, "2026-11-24T10:00:00.4+00:00"), (failure, "2026-11-24T12:00:00+00:00")):
        amend(run, config_hash="same", ended=time)  # modification times of the files have the opposite order
    results = load([tmp_path / "sweep"])
    assert list(results.runs.index) == [str(newer)]
    assert {problem.run for problem in results.problems} == {str(older), str(failure)}


def test_load_digests_of_user_code_are_columns(tmp_path: Path, write_run: Write, amend: Amend) -> None:
    for seed, digest in enumerate("ab"):
        amend(write_run(seed=seed), code={"mine.parts": digest})
    assert list(load([tmp_path / "sweep"]).runs["environment.code.mine.parts"]) == ["a", "b"]


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """User folder with a module `own_parts` that imports another, `own_helper`, and libraries."""
    (tmp_path / "own_helper.py").write_text("def value():\n    return 0.01\n")
    (tmp_path / "own_parts.py").write_text(
        "import json\n"
        "import torch\n"
        "from torch.optim import SGD\n"
        "from mnist_mlp.network.mlp import MLP\n"
        "from own_helper import value\n"
        "def flat_(weight, *, generator):\n"
        "    weight.fill_(value())\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("own_parts", "own_helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("target", ["own_parts.flat_", "own_parts.SGD", "own_parts.MLP"])
def test_code_has_user_modules_only(own_code: Path, target: str) -> None:
    config = {"init": {"_target_": target}, "optim": {"_target_": "torch.optim.Adam"}, "seed": 0}
    digests = {
        name: hashlib.sha256((own_code / f"{name}.py").read_bytes()).hexdigest() for name in ("own_helper", "own_parts")
    }
    assert code_digests(config) == digests
    assert code_digests({"model": {"_target_": "mnist_mlp.network.MLP", "inner": [{"_target_": target}]}}) == digests


@pytest.mark.parametrize(
    "text",
    [
        "from own_helper import VALUE\n",
        "def f_():\n    from own_helper import VALUE\n    return VALUE\n",
        "def f_():\n    global own_helper\n    import own_helper\n",
    ],
)
def test_code_includes_local_imports_before_and_after_running(own_code: Path, text: str) -> None:
    (own_code / "own_helper.py").write_text("VALUE = 0.01\n")
    (own_code / "own_parts.py").write_text(f"{text}\ndef flat_(weight, *, generator):\n    pass\n")
    config = {"init": {"_target_": "own_parts.flat_"}}
    before = code_digests(config)
    assert list(before) == ["own_helper", "own_parts"]
    own_parts = importlib.import_module("own_parts")
    if hasattr(own_parts, "f_"):
        own_parts.f_()
    assert code_digests(config) == before


def test_code_of_a_package_includes_its_modules(own_code: Path) -> None:
    package = own_code / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("SCALE = 1\n")
    (package / "helper.py").write_text("VALUE = 1\n")
    (package / "parts.py").write_text("from . import SCALE\nfrom .helper import VALUE\ndef flat_(weight): pass\n")
    names = ["own_package", "own_package.helper", "own_package.parts"]
    try:
        assert list(code_digests({"init": {"_target_": "own_package.parts.flat_"}})) == names
    finally:
        for name in names:
            sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "target",
    [
        "mnist_mlp.network.MLP",
        "torch.nn.init.orthogonal_",
        "builtins.dict",
        "json.loads",
        "no_such_module.X",
        "",
        "own_parts",
    ],
)
def test_code_of_library_or_missing_target_is_empty(target: str) -> None:
    assert code_digests({"model": {"_target_": target}}) == {}
