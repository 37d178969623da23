"""Results of a sweep, and waiting for them."""

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mnist_mlp.base.record import METRICS_FILE, RUN_FILE


def results(directory: Path) -> dict[str, pd.DataFrame]:
    """Return the metrics of each job, without seconds."""
    runs = sorted(path.parent for path in directory.glob(f"*/{RUN_FILE}"))
    return {run.name: pd.read_csv(run / METRICS_FILE).drop(columns="seconds") for run in runs}


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
