"""Seconds, memory and size of a report on thousands of runs: `python -m benchmarks.report_scale [RUNS]`."""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.synthetic import INITS, OPTIMS, write_run

LRS = (0.001, 0.003, 0.01, 0.03, 0.1)
EPOCHS = 10


def main() -> None:
    """Write sweeps of half and all of the runs, report on each, and print what that took."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    generator = np.random.default_rng(0)
    before = 0.0
    for count in (runs // 2, runs):
        with tempfile.TemporaryDirectory() as top:
            for number in range(count):
                cell, seed = number % 120, number // 120
                init, optim, lr = INITS[cell % 3], OPTIMS[cell // 3 % 8], LRS[cell // 24]
                a = 0.95 + 0.001 * (cell % 24) + generator.normal() * 0.002
                finals = {"train": a, "val": a, "test": a}
                write_run(Path(top) / "sweep" / f"r{number}", init, optim, seed, finals, EPOCHS, lr)
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "report.py", f"{top}/sweep", "--out", f"{top}/report"], check=True, capture_output=True
            )
            seconds = time.perf_counter() - started
            size = (Path(top) / "report/index.html").stat().st_size / 2**20
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            ratio = f", {seconds / before:.2f} times the time of half" if before else ""
            print(f"{count} runs x {EPOCHS} epochs: {seconds:.1f} s, {memory:.0f} MiB, page {size:.2f} MiB{ratio}")
            before = seconds


if __name__ == "__main__":
    main()
