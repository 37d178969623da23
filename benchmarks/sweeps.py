"""What a user waits for: whole commands, with everything that they import, check, write and report."""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import psutil

TOP = Path(__file__).parents[1]
RUNS, EPOCHS = 4, 10
SEEDS, FIDELITY_EPOCHS = 5, 3
REPEATS = 3
MEGABYTE = 2**20


def sweep(directory: str, *overrides: str) -> float:
    """Seconds that a sweep takes, two jobs at a time."""
    started = time.perf_counter()
    _run("-m", f"hydra.sweep.dir={directory}", "hydra.launcher.n_jobs=2", "data.val_size=0", *overrides, cwd=directory)
    return time.perf_counter() - started


def sweep_seconds(optimizer: str) -> float:
    """Seconds an epoch of a sweep of `RUNS` seeds, start and end of the command included."""
    with tempfile.TemporaryDirectory() as directory:
        seeds = ",".join(map(str, range(RUNS)))
        return sweep(directory, f"optim={optimizer}", f"seed={seeds}", f"epochs={EPOCHS}") / (RUNS * EPOCHS)


def accuracies(optimizer: str) -> tuple[list[float], list[float]]:
    """Test accuracies of our loop and of the tutorial's after `FIDELITY_EPOCHS` epochs, for `SEEDS` seeds each."""
    from benchmarks import contenders

    with tempfile.TemporaryDirectory() as directory:
        seeds = ",".join(map(str, range(SEEDS)))
        sweep(directory, f"optim={optimizer}", f"seed={seeds}", f"epochs={FIDELITY_EPOCHS}")
        metrics = [pd.read_csv(path) for path in sorted(Path(directory).glob("*/metrics.csv"))]
    ours = [float(frame[frame.split == "test"].accuracy.iloc[-1]) for frame in metrics]
    theirs = []
    for seed in range(SEEDS):
        loop = contenders.tutorial(optimizer, seed)
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
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                try:
                    if "loky" in " ".join(process.cmdline()):
                        peak = max(peak, process.memory_info().rss)
                except psutil.Error:
                    pass  # it has ended

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as directory:
        sweep(directory, "seed=0,1,2,3", "epochs=1")
    done.set()
    watcher.join()
    report = "import resource, torch, torchvision; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    bare = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return peak / MEGABYTE, int(bare.stdout) / 1024  # which Linux gives in kB


def _run(*arguments: str, cwd: str) -> None:
    environment = {"MNIST_MLP_DATA": str(TOP / "data")} | os.environ
    subprocess.run(
        [sys.executable, str(TOP / "run.py"), *arguments], cwd=cwd, env=environment, check=True, capture_output=True
    )
