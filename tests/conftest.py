"""Real MNIST, and the program as its users start it."""

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mnist_mlp.base.startup import importing
from tests.helpers.commands import IN_PROCESS, Command, Start, StartFresh, running
from tests.helpers.hydra_config import Combinations, config_loader, sweep_config
from tests.helpers.pages import CHROMIUM, Open, opening
from tests.helpers.paths import DATA, ROOT
from tests.helpers.runs import Report, Write, run_writer
from tests.helpers.warm import Started, Warm

if TYPE_CHECKING:  # else imported where it is used: the process that hands out the tests uses none of it
    import pandas as pd
    from hydra.core.config_loader import ConfigLoader
    from playwright.sync_api import Browser

    from mnist_mlp.data.splits import Dataset, Splits
    from mnist_mlp.report import Outcome

LONGEST = (  # the files whose tests take most of the time, each about as long as the one after it, or longer
    *("test_sweep", "test_docs", "test_commands", "test_page", "test_stacked_launcher", "test_sequential"),
    *("test_stack", "test_grids", "test_confirm"),
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; what is started inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Opens reports for one test."""
    with opening(browser) as call:
        yield call
