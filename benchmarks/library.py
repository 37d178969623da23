"""Cost of saving weights, and of training from Python instead of by the command, in interleaved pairs."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import mnist_mlp as mm

PAIRS = 7
RUN = ("optim=adam", "seed=0", "device=cpu", "progress=false")
EPOCHS = 2
ROOT = Path(__file__).resolve().parents[1]


def saving() -> pd.DataFrame:
    """Return the seconds of whole runs on MNIST without weights, and with those of every epoch."""
    return _pairs(none=lambda folder: _timed("save=none", folder), epochs=lambda folder: _timed("save=epochs", folder))


def training() -> pd.DataFrame:
    """Return the training seconds of two epochs on MNIST, by `run.py` and by `mnist_mlp.train`."""
    return _pairs(command=_by_command, library=lambda _: float(mm.train(*RUN, epochs=EPOCHS).metrics["seconds"].max()))


def _pairs(**measures: Callable[[Path], float]) -> pd.DataFrame:
    """Return one row per pair of measurements, taken in turn; each gets an empty directory."""
    rows = []
    for _ in range(PAIRS):
        row = {}
        for name, measure in measures.items():
            with tempfile.TemporaryDirectory() as folder:
                row[name] = measure(Path(folder) / "run")
        rows.append(row)
    return pd.DataFrame(rows)


def _timed(save: str, folder: Path) -> float:
    started = time.perf_counter()
    mm.train(*RUN, save, directory=folder, epochs=EPOCHS)
    return time.perf_counter() - started


def _by_command(folder: Path) -> float:
    command = [sys.executable, "run.py", *RUN, f"epochs={EPOCHS}", f"hydra.run.dir={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return float(json.loads((folder / "run.json").read_text())["seconds"])


def ratio(pairs: pd.DataFrame) -> str:
    """Return the median ratio of the second column to the first, with the range of the pairs."""
    first, second = (pairs[name] for name in pairs)
    ratios = sorted(second / first)
    return f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {len(pairs)} pairs)"
