"""Real MNIST, and the program as its users start it."""

import csv
import gc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from warm import Started, Warm

from mnist_mlp.base.startup import importing

if TYPE_CHECKING:  # else imported where it is used: the process that hands out the tests uses none of it
    import pandas as pd
    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig
    from playwright.sync_api import Browser, Page

    from mnist_mlp.data.splits import Dataset, Splits
    from mnist_mlp.report import Outcome

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MNIST_MLP_DATA", ROOT / "data"))
IN_PROCESS = "hydra/launcher=basic"  # spares the start of worker processes where they are not the point
NO_REPORT = "~hydra.callbacks.checks_and_report"  # spares a sweep its report, where nobody reads it
SMALL = ("data.train_size=200", "data.val_size=100")  # a few hundred real images
SMALLER = ("data=digits", *SMALL)  # 299 to test on instead of 10,000, where they need not be of MNIST
MINE = ("model._target_=mine.MLP", "data._target_=mine.few")  # with the fixture `mine`: quick to evaluate, and to load
LONGEST = (  # the files whose tests take most of the time, each about as long as the one after it, or longer
    *("test_sweep", "test_docs", "test_commands", "test_page", "test_stack_jobs", "test_until"),
    *("test_stack", "test_grids", "test_confirm"),
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; what is started inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)

Write = Callable[..., Path]
Report = Callable[..., "pd.DataFrame"]
Command = Callable[..., subprocess.CompletedProcess[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., Started]
StartFresh = Callable[..., subprocess.Popen[str]]
Combinations = Callable[..., list[list[str]]]
Open = Callable[..., "Page"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session", autouse=True)
def _on_one_thread() -> None:
    """Test processes with as many threads as there are cores would spend their time waiting for one another."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _rarely_interrupted() -> None:
    """What has been imported is no garbage, and to look through it again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Import the test modules as a command imports the package, and spare the optimizers of tests the compiler, too."""
    with importing():
        if session.config.option.dist == "no":  # a process that runs tests
            from mnist_mlp.base.torch_internals import spare_the_compiler

            spare_the_compiler()
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin the part of the tests that each worker is given with some of the longest: at the end, no core waits."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, name in enumerate(LONGEST):
        parts[number % workers] += [item for item in items if item.path.stem == name]
    rest = [item for item in items if item.path.stem not in LONGEST]
    size = len(items) // workers
    for part in parts:
        taken = max(size - len(part), 0)
        part += rest[:taken]
        del rest[:taken]
    items[:] = [item for part in parts for item in part] + rest


@pytest.fixture(scope="session")
def real_mnist() -> "Dataset":
    """MNIST, fetched once for all tests."""
    from mnist_mlp.data.datasets import mnist

    return mnist(DATA)


@pytest.fixture
def few(real_mnist: "Dataset") -> "Splits":
    """A few hundred of them."""
    from mnist_mlp.data.splits import make_splits

    return make_splits(real_mnist, train_size=400, val_size=100, split_seed=0, normalize=False)


@pytest.fixture
def loader() -> "Iterator[ConfigLoader]":
    """Hydra's, of this project."""
    with config_loader() as made:
        yield made


@contextmanager
def config_loader() -> "Iterator[ConfigLoader]":
    """Initialize Hydra for this project, and yield its loader."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def sweep_config(loader: "ConfigLoader", *arguments: str) -> "DictConfig":
    """What Hydra makes of `python run.py -m ARGUMENTS`, before any job."""
    from hydra.types import RunMode

    return loader.load_configuration("config", list(arguments), run_mode=RunMode.MULTIRUN)


@pytest.fixture
def combinations(loader: "ConfigLoader") -> Combinations:
    """The jobs that the sweeper makes of `python run.py -m ARGUMENTS`."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext

    def call(*arguments: str) -> list[list[str]]:
        config = sweep_config(loader, *arguments, IN_PROCESS)
        context = HydraContext(loader, Callbacks())
        sweeper: Any = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=id, config=config)
        found: list[list[str]] = sweeper.combinations(list(config.hydra.overrides.task))
        return found

    return call


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process that has imported everything, and is forked for each command; one for all workers of pytest-xdist."""
    top = tmp_path_factory.getbasetemp()
    with Warm(ROOT, (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / "warm") as process:
        yield process


def running(run: Run, tmp_path: Path) -> Command:
    """Runs `python ARGUMENTS`, scripts being the project's, in a fresh working directory, with MNIST at hand."""

    def call(*arguments: str, status: int = 0, top: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        done = run(
            [str(top / a) if a in ("run.py", "report.py") else a for a in arguments],
            cwd=tmp_path,
            env=environment | {"MNIST_MLP_DATA": str(DATA)},
            timeout=300,
        )
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return call


@pytest.fixture
def command(warm: Warm, tmp_path: Path, real_mnist: "Dataset") -> Command:
    """Runs a command in a process of its own, that is spared the imports."""
    return running(warm.run, tmp_path)


@pytest.fixture
def fresh(tmp_path: Path, real_mnist: "Dataset") -> Command:
    """Runs a command in a new Python, as users do: for what a fork cannot tell."""

    def run(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)

    return running(run, tmp_path)


@pytest.fixture
def start(warm: Warm, tmp_path: Path, real_mnist: "Dataset") -> Iterator[Start]:
    """Starts `python run.py ARGUMENTS` in a process group of its own, that is spared the imports."""
    started: list[Started] = []

    def call(*arguments: str) -> Started:
        environment = os.environ | {"MNIST_MLP_DATA": str(DATA)}
        started.append(warm.start([str(ROOT / "run.py"), *arguments], cwd=tmp_path, env=environment))
        return started[-1]

    yield call
    for process in started:
        process.end()


@pytest.fixture
def start_fresh(tmp_path: Path, real_mnist: "Dataset") -> StartFresh:
    """Starts `python run.py ARGUMENTS` in a new Python: for what happens as it imports."""

    def call(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"MNIST_MLP_DATA": str(DATA)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return call


@pytest.fixture
def mine(tmp_path: Path) -> None:
    """A module in the directory in which commands are given: a network, and MNIST with a few test images."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import replace\n"
        "import torch\n"
        "from mnist_mlp.data import mnist\n"
        "from mnist_mlp.network.mlp import MLP\n"
        "def few(root):\n"
        "    data = mnist(root)\n"
        "    return replace(data, test=replace(data.test, rows=torch.arange(300)))\n"
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project's top level, in which a test may add files as a user would."""
    top = tmp_path / "checkout"
    for name in ("conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.py", "report.py"):
        shutil.copy(ROOT / name, top / name)
    return top


@pytest.fixture
def throwing(checkout: Path) -> Path:
    """A checkout with optimizers of a user's own: in its third step `throwing` raises, `exiting` calls for the end."""
    (checkout / "my_optim.py").write_text(
        "import torch\n"
        "class Throwing(torch.optim.SGD):\n"
        "    steps = 0\n"
        "    def step(self, closure=None):\n"
        "        self.steps += 1\n"
        "        if self.steps == 3:\n"
        "            raise self.error\n"
        "    error = RuntimeError('thrown on purpose')\n"
        "class Exiting(Throwing):\n"
        "    error = SystemExit('enough')\n"
    )
    (checkout / "conf/optim/exiting.yaml").write_text("_target_: my_optim.Exiting\n_partial_: true\nlr: 0.1\n")
    (checkout / "conf/optim/throwing.yaml").write_text("_target_: my_optim.Throwing\n_partial_: true\nlr: 0.1\n")
    return checkout


def run_writer(tmp_path: Path) -> Write:
    """Writes a run directory whose accuracies are given, one an epoch from epoch 0."""
    from mnist_mlp.base.record import METRICS_FILE, RUN_FILE, Metrics
    from mnist_mlp.base.schema import SOURCES

    def write(
        init: str = "he",
        optim: str = "adam",
        seed: int = 0,
        test: list[float] | None = None,
        val: list[float] | None = None,
        train: list[float] | None = None,
        lr: float = 0.01,
        status: str = "completed",
        reason: str | None = None,
        data: str = "mnist",
        digest: str | None = "d" * 64,
        optim_config: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        data_facts: Mapping[str, Any] | None = None,
        data_config: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Path:
        test = test or [0.1, 0.5, 0.9]
        curves = {"train": train or [a / 2 for a in test], "test": test}
        if val != []:
            curves["val"] = val or [a * 0.9 for a in test]
        rows = [
            Metrics(epoch, 10 * epoch, split, 1 - accuracy[epoch], accuracy[epoch], lr, 2.0 * epoch)
            for epoch in range(len(test))
            for split, accuracy in curves.items()
        ]
        directory = (
            tmp_path
            / "sweep"
            / re.sub(r"\W", "-", f"{data}-{init}-{optim}-{lr}-{seed}-{more}-{data_config}-{len(test)}")
        )
        (directory / ".hydra").mkdir(parents=True)
        with (directory / METRICS_FILE).open("w", newline="") as file:
            csv.writer(file).writerows([Metrics._fields, *rows])
        last = {r.split: {"loss": r.loss, "accuracy": r.accuracy, "epoch": r.epoch} for r in rows}
        config: dict[str, Any] = {
            "seed": seed,
            "seeds": dict.fromkeys(SOURCES),
            "epochs": len(test) - 1,
            "tf32": False,
            "data": data_config or {},
            "optim": {"lr": lr, "decay_biases": True, **(optim_config or {})},
            "init": {"bias": "default", "bias_std": None},
            "schedule": {"_target_": "mnist_mlp.training.schedules.constant", "warmup": 0.0},
        }
        for key, value in more.items():
            config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
        summary: dict[str, Any] = {
            "status": status,
            "reason": reason,
            "final": last,
            "seconds": 2.0 * (len(test) - 1),
            "config_hash": directory.name,
            "ended": "2026-01-01T00:00:00+00:00",
            "wall_seconds": 2.0 * (len(test) - 1),
            "choices": {"data": data, "model": "mlp", "init": init, "optim": optim, "schedule": "constant"},
            "config": config,
            "environment": environment or {},
            "code": {},
            "overrides": [f"init={init}", f"optim={optim}", f"seed={seed}"],
            "data": {"digest": digest, **(data_facts or {})},
        }
        (directory / RUN_FILE).write_text(json.dumps(summary))
        return directory

    return write


@pytest.fixture
def write_run(tmp_path: Path) -> Write:
    """Writes runs for a test of its own."""
    return run_writer(tmp_path)


@pytest.fixture
def summarise(tmp_path: Path) -> Report:
    """Writes the report's tables alone, as drawing takes the longest, and returns its summary."""
    import pandas as pd

    from mnist_mlp.report import compared
    from mnist_mlp.report.write import write_tables

    def make(**kwargs: Any) -> "pd.DataFrame":
        (tmp_path / "report").mkdir(exist_ok=True)
        write_tables(tmp_path / "report", compared([tmp_path / "sweep"], **kwargs)[1])
        return pd.read_csv(tmp_path / "report" / "summary.csv")

    return make


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Writes the report, and returns its summary."""
    import pandas as pd

    from mnist_mlp.report import report_on

    def make(**kwargs: Any) -> "pd.DataFrame":
        outcome: Outcome = report_on([tmp_path / "sweep"], tmp_path / "report", **kwargs)
        assert outcome.directory == tmp_path / "report"
        return pd.read_csv(tmp_path / "report" / "summary.csv")

    return make


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; `.ci/run` installs it where it is missing."""
    from playwright.sync_api import sync_playwright  # here, as few tests need it

    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@contextmanager
def opening(browser: "Browser") -> Iterator[Open]:
    """Opens reports; at the end, nothing was complained of, asked for over the network or put in a dialog."""
    complaints: list[str] = []
    requests: list[str] = []
    pages = []

    def call(directory: Path, width: int = 1200, scheme: str = "light") -> "Page":
        page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()  # type: ignore[arg-type]
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((directory / "index.html").as_uri())
        pages.append(page)
        return page

    yield call
    for page in pages:
        page.context.close()
    assert complaints == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}
    assert len([url for url in requests if url.startswith("file")]) == len(pages)


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Opens reports for one test."""
    with opening(browser) as call:
        yield call
