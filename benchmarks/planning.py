"""Time to plan a sweep: composing and checking all jobs, each with a learning rate of its own, before any trains."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

TOP = Path(__file__).parents[1]
SIZES = (200, 500, 5000)


def measure(jobs: int) -> tuple[float, float]:
    """Return CPU seconds (user and system) and wall seconds of a dry run of this many jobs, in a process of its own."""
    before, started = _cpu_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        overrides = ["data=digits", "optim.lr=tag(log,interval(1e-4,1))", f"hydra.sweeper.trials={jobs}"]
        command = [sys.executable, str(TOP / "run.py"), "-m", *overrides, "dry_run=true"]
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    return _cpu_seconds() - before, time.perf_counter() - started


def table(sizes: list[int]) -> pd.DataFrame:
    """Return one row per number of jobs."""
    rows = {f"{jobs:,}": measure(jobs) for jobs in sizes}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["CPU seconds", "wall seconds"])


def _cpu_seconds() -> float:
    """Return the CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
