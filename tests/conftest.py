"""Fixtures: real MNIST, and the program as its users start it."""

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

if TYPE_CHECKING:  # imported lazily otherwise: the process that distributes the tests needs no such module
    import pandas as pd
    from hydra.core.config_loader import ConfigLoader
    from playwright.sync_api import Browser

    from mnist_mlp.data.splits import Dataset, Splits
    from mnist_mlp.report import Outcome

QUICK = (  # files with many tests per second; they run first, so that most broken promises show within a minute
    *("test_mlp", "test_init", "test_environ", "test_record", "test_damage", "test_config", "test_data"),
    *("test_moderated_t", "test_outcomes", "test_effects", "test_selection", "test_sources", "test_schedules"),
    *("test_optimizers", "test_process", "test_seeds", "test_step", "test_loop", "test_warmup", "test_jobs"),
    *("test_search", "test_escape", "test_plots", "test_svg", "test_tuned_designs"),
    *("test_groups", "test_claims", "test_derived", "test_headline", "test_set_aside"),
)
LONGEST = (  # files whose tests take longest, in descending order
    *("test_sweep", "test_docs", "test_commands", "test_page", "test_stacked_launcher", "test_sequential"),
    *("test_stack", "test_library", "test_grids", "test_confirm"),
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in background jobs; child processes inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _on_one_thread() -> None:
    """Use one thread per test process, since parallel processes with all threads slow each other down."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _rarely_interrupted() -> None:
    """Exclude imported modules from garbage collection, which saves a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show dots only: with several workers, pytest-instafail would name a file for nearly each of them."""
    if reporter := session.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.showfspath = False


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Import the test modules like a command imports the package, without the compiler of optimizers."""
    with importing():
        if session.config.option.dist == "no":  # a process that runs tests
            from mnist_mlp.base.torch_internals import avoid_compiler_import

            avoid_compiler_import()
        return (yield)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start each worker with quick tests and some of the longest, so that no core is idle at the end."""
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    quick = [item for item in items if item.path.stem in QUICK]
    parts = [quick[number::workers] for number in range(workers)]
    for number, name in enumerate(LONGEST):
        parts[number % workers] += [item for item in items if item.path.stem == name]
    rest = [item for item in items if item.path.stem not in (*QUICK, *LONGEST)]
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
def few_splits(real_mnist: "Dataset") -> "Splits":
    """Splits of a few hundred images of MNIST."""
    from mnist_mlp.data.splits import make_splits

    return make_splits(real_mnist, train_size=400, val_size=100, split_seed=0, normalize=False)


@pytest.fixture
def loader() -> "Iterator[ConfigLoader]":
    """Config loader of Hydra for this project."""
    with config_loader() as made:
        yield made


@pytest.fixture
def combinations(loader: "ConfigLoader") -> Combinations:
    """Function that returns the jobs of `python run.py -m ARGUMENTS`, as the sweeper makes them."""
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
    """Warm process that is forked for each command; all workers of pytest-xdist share one."""
    top = tmp_path_factory.getbasetemp()
    with Warm(ROOT, (top.parent if "PYTEST_XDIST_WORKER" in os.environ else top) / "warm") as process:
        yield process


@pytest.fixture
def command(warm: Warm, tmp_path: Path, real_mnist: "Dataset") -> Command:
    """Function that runs a command in a fork of the warm process."""
    return running(warm.run, tmp_path)


@pytest.fixture
def fresh(tmp_path: Path, real_mnist: "Dataset") -> Command:
    """Function that runs a command in a new Python process, for tests of its start."""

    def run(arguments: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **options)

    return running(run, tmp_path)


@pytest.fixture
def start(warm: Warm, tmp_path: Path, real_mnist: "Dataset") -> Iterator[Start]:
    """Function that starts `python run.py ARGUMENTS` in a fork of the warm process, with a separate process group."""
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
    """Function that starts `python run.py ARGUMENTS` in a new Python process, for tests of its imports."""

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
def user_module(tmp_path: Path) -> None:
    """Module in the working directory of commands: a network, and MNIST with 300 test images."""
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
    """Copy of the project's top level, to which a test may add files like a user."""
    top = tmp_path / "checkout"
    for name in ("conf", "hydra_plugins"):
        shutil.copytree(ROOT / name, top / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("run.py", "report.py"):
        shutil.copy(ROOT / name, top / name)
    return top


@pytest.fixture
def throwing(checkout: Path) -> Path:
    """Checkout with user-defined optimizers: in the third step, `throwing` raises and `exiting` exits."""
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
    """Function that writes run directories for one test."""
    return run_writer(tmp_path)


@pytest.fixture
def summarize(tmp_path: Path) -> Report:
    """Function that writes only the report's tables, without slow figures, and returns the summary."""
    import pandas as pd

    from mnist_mlp.report import compare_sweeps
    from mnist_mlp.report.write import write_tables

    def make(**kwargs: Any) -> "pd.DataFrame":
        (tmp_path / "report").mkdir(exist_ok=True)
        write_tables(tmp_path / "report", compare_sweeps([tmp_path / "sweep"], **kwargs)[1])
        return pd.read_csv(tmp_path / "report" / "summary.csv")

    return make


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Function that writes the report, and returns its summary."""
    import pandas as pd

    from mnist_mlp.report import report_on

    def make(**kwargs: Any) -> "pd.DataFrame":
        outcome: Outcome = report_on([tmp_path / "sweep"], tmp_path / "report", **kwargs)
        assert outcome.directory == tmp_path / "report"
        return pd.read_csv(tmp_path / "report" / "summary.csv")

    return make


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Headless Chromium; `.ci/run` installs it if it is missing."""
    from playwright.sync_api import sync_playwright  # here, since few tests need it

    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Function that opens reports for one test."""
    with opening(browser) as call:
        yield call
