"""Time of whole commands, with everything that they import, check, write and report."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.contenders import OPTIMIZERS, tutorial

TOP = Path(__file__).parents[1]
RUNS, EPOCHS = 8, 10
SEEDS, FIDELITY_EPOCHS = 5, 3
REPEATS = 3


def sweep(directory: str, *overrides: str) -> float:
    """Seconds that a sweep takes, two jobs at a time."""
    started = time.perf_counter()
    _run("-m", f"hydra.sweep.dir={directory}", "hydra.launcher.n_jobs=2", "data.val_size=0", *overrides, cwd=directory)
    return time.perf_counter() - started


def adam_seconds() -> float:
    """Seconds an epoch of a sweep of `RUNS` seeds with Adam: the whole command's, over all epochs trained."""
    with tempfile.TemporaryDirectory() as directory:
        seeds = ",".join(map(str, range(RUNS)))
        return sweep(directory, "optim=adam", f"seed={seeds}", f"epochs={EPOCHS}") / (RUNS * EPOCHS)


def seconds_of_each() -> tuple[dict[str, float], float]:
    """One sweep over all optimizers: seconds an epoch of each one's job beside another, and of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        whole = sweep(directory, f"optim={','.join(OPTIMIZERS)}", f"epochs={EPOCHS}")
        runs = [json.loads(path.read_text()) for path in Path(directory).glob("*/run.json")]
    jobs = {run["choices"]["optim"]: run["wall_seconds"] / EPOCHS for run in runs}
    return jobs, whole / (len(OPTIMIZERS) * EPOCHS)


def accuracies(optimizer: str) -> tuple[list[float], list[float]]:
    """Test accuracies of our loop and of the tutorial's after `FIDELITY_EPOCHS` epochs, for `SEEDS` seeds each."""
    with tempfile.TemporaryDirectory() as directory:
        seeds = ",".join(map(str, range(SEEDS)))
        sweep(directory, f"optim={optimizer}", f"seed={seeds}", f"epochs={FIDELITY_EPOCHS}")
        metrics = [pd.read_csv(path) for path in sorted(Path(directory).glob("*/metrics.csv"))]
    ours = [float(frame[frame.split == "test"].accuracy.iloc[-1]) for frame in metrics]
    theirs = []
    for seed in range(SEEDS):
        loop = tutorial(optimizer, seed)
        for _ in range(FIDELITY_EPOCHS):
            loop.epoch()
        theirs.append(loop.test())
    return ours, theirs


def start_seconds() -> float:
    """Seconds from the start to the end of a run of two steps: the median of several."""
    taken = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as directory:
            started = time.perf_counter()
            _run("epochs=1", "data.train_size=64", f"hydra.run.dir={directory}/run", cwd=directory)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def worker_memory() -> tuple[float, float]:
    """Peak resident memory, in MB, of a sweep's worker, and of a process that only imports torch and torchvision."""
    peaks = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error, OSError):  # it may have ended
                    if "popen_loky" in " ".join(process.cmdline()):
                        peaks.append(_peak(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            sweep(directory, "seed=0,1,2,3", "epochs=1")
    finally:
        done.set()
        watcher.join()
    bare = "import torch, torchvision; print(flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", bare], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        imported = _peak(process.pid)
        process.stdin.close()
    return max(peaks), imported


def _peak(pid: int) -> float:
    """Peak resident memory of a living process so far, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _run(*arguments: str, cwd: str) -> None:
    environment = {"MNIST_MLP_DATA": str(TOP / "data")} | os.environ
    subprocess.run(
        [sys.executable, str(TOP / "run.py"), *arguments], cwd=cwd, env=environment, check=True, capture_output=True
    )
