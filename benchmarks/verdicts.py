"""How often a report finds a difference where there is none, and where there is one: simulated sweeps, real reading.

Each sweep is written as run directories and read back by the report's own code. Under the null all cells are equal and
seeds are shared, with a seed effect as large as the noise; "unequal" gives every third cell four (or two) times the
standard deviation. Under the alternative one cell is better by three standard deviations. Rivals on the same numbers:
paired t-tests with Holm's correction, and Tukey's test with one pooled error whatever the cells look like.

    python -m benchmarks.verdicts [--sweeps 500] [--seeds 3,5,10] [--tables]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from statsmodels.stats.multitest import multipletests

from benchmarks.synthetic import cell_names, write_sweep
from mnist_mlp.report.load import load
from mnist_mlp.report.pairs import BETTER, WORSE, compare_pairs
from mnist_mlp.report.stats import compare

CELLS = (4, 24)
NOISE = 0.002  # standard deviation of an accuracy: 0.2 points
MEAN = 0.97
EFFECT = 3.0  # standard deviations
METHODS = ("ours", "paired t, Holm", "pooled Tukey")


def simulate(cells: int, seeds: int, kind: str, number: int) -> np.ndarray:
    """Final accuracies of one sweep, cells x seeds."""
    generator = np.random.default_rng([cells, seeds, number, *kind.encode()])
    scale = np.ones(cells)
    if kind.startswith("unequal"):
        scale[generator.permutation(cells)[: max(1, round(cells / 3))]] = float(kind.split()[1])
    values = generator.standard_normal(seeds) + scale[:, None] * generator.standard_normal((cells, seeds))
    if kind == "one better":
        values[0] += EFFECT
    return np.asarray(MEAN + NOISE * values)


def found(y: np.ndarray, directory: Path | None, critical: float) -> dict[str, set[tuple[int, int]]]:
    """The pairs (better, worse) that each method finds among these accuracies; `critical` is Tukey's."""
    names = [f"{init} / {optim}" for init, optim in cell_names(len(y))]
    if directory:
        write_sweep(directory, y)
        pairs = compare(load([directory]), target=0.97).pairs
    else:
        pairs, _ = compare_pairs(pd.DataFrame(y, index=names))
    place = {name: number for number, name in enumerate(names)}
    ours = {(place[row.a], place[row.b]) for row in pairs.itertuples() if row.verdict == BETTER}
    ours |= {(place[row.b], place[row.a]) for row in pairs.itertuples() if row.verdict == WORSE}
    i, j = np.triu_indices(len(y), 1)
    d = y[i] - y[j]
    t = d.mean(axis=1) / (d.std(axis=1, ddof=1) / np.sqrt(y.shape[1]))
    holm = multipletests(2 * stats.t.sf(np.abs(t), y.shape[1] - 1), method="holm")[0]
    residual = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    error = np.sqrt((residual**2).sum() / ((len(y) - 1) * (y.shape[1] - 1)) / y.shape[1])
    tukey = np.abs(d.mean(axis=1)) / error > critical

    def ordered(is_found: np.ndarray) -> set[tuple[int, int]]:
        signs = zip(i[is_found], j[is_found], d[is_found].mean(axis=1) > 0, strict=True)
        return {(a, b) if is_first else (b, a) for a, b, is_first in signs}

    return {"ours": ours, "paired t, Holm": ordered(holm), "pooled Tukey": ordered(tukey)}


def rates(cells: int, seeds: int, kind: str, sweeps: range, tables: bool) -> dict[str, list[float]]:
    """Per method and sweep: 1 where a false verdict was given, or the share of the true ones found."""
    top = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    counts: dict[str, list[float]] = {method: [] for method in METHODS}
    critical = float(stats.studentized_range.isf(0.05, cells, (cells - 1) * (seeds - 1)))
    try:
        for number in sweeps:
            for method, pairs in found(
                simulate(cells, seeds, kind, number), None if tables else top / str(number), critical
            ).items():
                true = sum(a == 0 for a, _ in pairs) / (cells - 1)
                counts[method].append(true if kind == "one better" else float(bool(pairs)))
            shutil.rmtree(top / str(number), ignore_errors=True)
    finally:
        shutil.rmtree(top)
    return counts


def main() -> None:
    """Print a table of measured rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=500)
    parser.add_argument("--seeds", default="3,5,10", help="numbers of seeds")
    parser.add_argument(
        "--tables", action="store_true", help="judge the accuracies without files between: the same, faster"
    )
    arguments = parser.parse_args()
    rows = []
    started = time.time()
    for kind in ("equal", "unequal 4", "unequal 2", "one better"):
        for cells in CELLS:
            for seeds in map(int, arguments.seeds.split(",")):
                step = max(1, arguments.sweeps // 20)
                parts = [range(s, min(s + step, arguments.sweeps)) for s in range(0, arguments.sweeps, step)]
                done = Parallel(n_jobs=2)(delayed(rates)(cells, seeds, kind, part, arguments.tables) for part in parts)
                row = {method: np.mean([v for part in done for v in part[method]]) for method in METHODS}
                rows.append({"sweeps": kind, "cells": cells, "n": seeds} | {m: f"{v:.1%}" for m, v in row.items()})
                print(f"{time.time() - started:.0f} s: {rows[-1]}", flush=True)
    table = pd.DataFrame(rows).astype(str)
    print("\n| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    print("\n".join("| " + " | ".join(row) + " |" for row in table.itertuples(index=False)))


if __name__ == "__main__":
    main()
