"""Error rates and power of a report's verdicts: simulated sweeps, judged by the report's functions.

Accuracies are simulated, cells x seeds, with a seed effect as large as the noise, and given to the report's own
`compare_pairs` and `factorial_effects`. Where all cells are equal, any "better" or "worse" is a false verdict; a design
in which more than 5.5% of the sweeps have one is simulated again with 4,000 sweeps. Where one cell is better by three
standard deviations, the share of its differences that are found is counted. Rivals on the same numbers, where no value
is missing: paired t-tests with Holm's correction, and Tukey's test with one pooled error for all cells.

    python -m benchmarks.verdicts [--sweeps 600] [--designs WORDS]
"""

import argparse
import functools
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.designs import Design, designs, noisy, share
from benchmarks.printing import say
from benchmarks.rivals import paired_holm, pooled_tukey
from mnist_mlp.stats.effects import factorial_effects
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import SIGNIFICANT

DOUBTFUL, REPEATED = 0.055, 4000  # above this share of false verdicts, so many sweeps
LEVEL = 0.05
KEYS = ("init", "optim", "depth")
EFFECTS = (  # values of each key, seeds, noise
    *(((2, 2), 3, 1), ((2, 2), 5, 4), ((3, 8), 3, 1), ((3, 8), 5, 1), ((3, 8), 5, 4)),
    *(
        ((2, 2, 2), 3, 1),
        ((2, 2, 2), 5, 4),
        ((2, 4, 3), 3, 1),
        ((2, 4, 3), 3, 4),
        ((2, 4, 3), 5, 1),
        ((2, 4, 3), 5, 4),
        ((2, 4, 3), 5, 10),
    ),
)


def ours(y: np.ndarray, images: int | None) -> np.ndarray:
    """Return the significant pairs of this project's report."""
    verdicts = compare_pairs(pd.DataFrame(y, index=[f"c{number}" for number in range(len(y))]), images)[0]["verdict"]
    return verdicts.isin(SIGNIFICANT).to_numpy()


def judge(design: Design, sweeps: range) -> list[dict[str, float]]:
    """Per sweep and method: 1 where there is a false verdict, or the share of the true differences that are found."""
    rows = []
    for number in sweeps:
        generator = np.random.default_rng([design.cells, design.seeds, number, zlib.crc32(design.name.encode())])
        y = design.make(generator, design.cells, design.seeds)
        found = {"this report": ours(y, design.images)}
        if np.isfinite(y).all():
            found |= {"paired t, Holm": paired_holm(y), "Tukey": pooled_tukey(y)}
        true = np.triu_indices(design.cells, 1)[0] == 0
        rows.append({name: float(f[true].mean() if design.better else f.any()) for name, f in found.items()})
    return rows


def effects(shape: tuple[int, ...], seeds: int, scale: float, sweeps: range) -> list[dict[str, float]]:
    """Return, per sweep of equal cells, which effects are significant."""
    rows = []
    for number in sweeps:
        generator = np.random.default_rng([*shape, seeds, number])
        y = noisy(share(1 / 3, scale))(generator, math.prod(shape), seeds)
        cells = pd.MultiIndex.from_product([range(values) for values in shape], names=KEYS[: len(shape)])
        found, _ = factorial_effects(pd.DataFrame(y, cells))
        rows.append(dict(zip(found["effect"], (found["p"] < LEVEL).astype(float), strict=True)))
    return rows


def rates(work: Callable[[range], list[dict[str, float]]], sweeps: range, workers: Parallel) -> pd.Series:
    """Means over sweeps, computed on all cores."""
    step = max(1, len(sweeps) // 20)
    parts = workers(delayed(work)(sweeps[first : first + step]) for first in range(0, len(sweeps), step))
    return pd.DataFrame([row for part in parts for row in part]).mean()


def main() -> None:
    """Print tables of measured rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=600, help="of each design [%(default)s]")
    parser.add_argument("--designs", default="", help="only those whose name contains this [all]")
    arguments = parser.parse_args()
    rows = []
    with Parallel(n_jobs=-1) as workers:

        def measured(
            work: Callable[[range], list[dict[str, float]]], false: Sequence[str] | None
        ) -> tuple[int, pd.Series]:
            found = rates(work, range(arguments.sweeps), workers)
            if found[list(found.index if false is None else false)].max() <= DOUBTFUL or arguments.sweeps >= REPEATED:
                return arguments.sweeps, found
            return REPEATED, rates(work, range(REPEATED), workers)

        for design in designs():
            if arguments.designs in design.name:
                judged = functools.partial(judge, design)
                sweeps, found = measured(judged, [] if design.better else ["this report"])
                about = {"design": design.name, "cells": design.cells, "n": design.seeds, "sweeps": sweeps}
                rows.append(about | dict(found))
                say(str(rows[-1]))
        for shape, seeds, scale in EFFECTS:
            name = f"effects of {' x '.join(map(str, shape))}" + (f", a third {scale} times" if scale > 1 else "")
            if arguments.designs in name:
                sweeps, found = measured(functools.partial(effects, shape, seeds, scale), None)
                shares = ", ".join(f"{effect} {rate:.1%}" for effect, rate in found.items())
                print(f"{name}, n = {seeds}, {sweeps} sweeps: {shares}")
    print("\n| design | cells | n | sweeps | this report | paired t, Holm | Tukey |\n|---|---|---|---|---|---|---|")
    for row in rows:
        words = [f"{row[m]:.1%}" if m in row else "" for m in ("this report", "paired t, Holm", "Tukey")]
        print(f"| {row['design']} | {row['cells']} | {row['n']} | {row['sweeps']} | {' | '.join(words)} |")


if __name__ == "__main__":
    main()
