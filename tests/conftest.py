"""Real MNIST, and the program as its users start it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mnist_mlp.data import Dataset, mnist

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("MNIST_MLP_DATA", ROOT / "data"))
IN_PROCESS = "hydra/launcher=basic"  # spares the start of worker processes where they are not the point
SMALL = ("data.train_size=200", "data.val_size=100")  # a few hundred real images

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def real_mnist() -> Dataset:
    """MNIST, fetched once for all tests."""
    return mnist(DATA)


@pytest.fixture
def command(tmp_path: Path, real_mnist: Dataset) -> Command:
    """Runs `python ARGUMENTS`, scripts being the project's, in a fresh working directory, with MNIST at hand."""

    def call(*arguments: str, status: int = 0, top: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        done = subprocess.run(
            [sys.executable, *(str(top / a) if a in ("run.py", "report.py") else a for a in arguments)],
            cwd=tmp_path,
            env=environment | {"MNIST_MLP_DATA": str(DATA)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done

    return call


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
    """A checkout with an optimizer of the user's own, `optim=throwing`, that raises in its third step."""
    (checkout / "my_optim.py").write_text(
        "import torch\n"
        "class Throwing(torch.optim.SGD):\n"
        "    steps = 0\n"
        "    def step(self, closure=None):\n"
        "        self.steps += 1\n"
        "        if self.steps == 3:\n"
        "            raise RuntimeError('thrown on purpose')\n"
    )
    (checkout / "conf/optim/throwing.yaml").write_text("_target_: my_optim.Throwing\n_partial_: true\nlr: 0.1\n")
    return checkout
