"""Error rates of headlines: claims of simulated sweeps of 3 x 8 cells, made by the report's own functions.

A headline is false if it ranks values or cells that are not truly ordered so, if a true difference exceeds its bound,
or if it claims an interaction that does not exist. Letters are checked against the pairs. A false equivalence is a pair
called equivalent whose true difference is the margin.

    python -m benchmarks.headlines [--sweeps 1000]
"""

import argparse
from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.designs import MEAN, NOISE, TunedDesign, equal, noisy, share
from benchmarks.tuned_cells import scores, simulate
from mnist_mlp.analysis.claims import CELLS, Claims, claims_from_effects, claims_from_pairs
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.stats.effects import factorial_effects
from mnist_mlp.stats.groups import compact_letters
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict

INITS, OPTIMS, SEEDS = 3, 8, 5
SHAPE = (INITS, OPTIMS)
EFFECTS = 3  # two main effects and an interaction
BOUNDS = (0.0, 1.0)
Make = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]  # to scores (cells, seeds) and true means


def null(scale: float) -> Make:
    """Equal cells, a third of which is noisier."""
    make = noisy(share(1 / 3, scale) if scale > 1 else equal)
    return lambda generator: (make(generator, INITS * OPTIMS, SEEDS), np.zeros(INITS * OPTIMS))


def tuned(design: TunedDesign) -> Make:
    """Equal cells, each replicate of which selects its learning rate."""

    def make(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        table = scores(simulate(design, [int(generator.integers(2**31))]), EACH, False)
        return table.to_numpy(), np.zeros(len(table))

    return make


def different(scale: float, interaction: float) -> Make:
    """One optimizer behind by two points of noise, random effects of all values, and perhaps an interaction."""

    def make(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        inits, optims = (NOISE * generator.normal(0, 0.5, size) for size in SHAPE)
        optims[0] -= 2 * NOISE
        both = interaction * NOISE * generator.standard_normal(SHAPE)
        true = (inits[:, None] + optims + both).ravel()
        return noisy(share(1 / 3, scale))(generator, len(true), SEEDS) + true[:, None], true

    return make


DESIGNS: Mapping[str, Make] = {
    "equal cells, equal noise": null(1),
    "equal cells, a third four times as noisy": null(4),
    "equal cells, tuned, flat": tuned(TunedDesign(name="flat", cells=24, seeds=SEEDS, curve=0)),
    "equal cells, tuned, curve .15": tuned(TunedDesign(name="curve .15", cells=24, seeds=SEEDS)),
    "different cells": different(1, 0),
    "different cells, interaction": different(1, 0.5),
    "different cells, a third four times as noisy, interaction": different(4, 0.5),
}


def is_false(claims: Claims, means: Mapping[str, Mapping[str, float]], interacts: bool) -> bool:
    """Return whether any claim contradicts the truth.

    Args:
        claims: Claims to judge.
        means: True mean of each value of each key, or of each cell, by the claim's key.
        interacts: Whether the two keys truly interact.
    """
    if claims.interactions and not interacts:
        return True
    for claim in claims.of:
        true = means[claim.key]
        if claim.strongest is not None and true[claim.strongest[0]] <= true[claim.strongest[1]]:
            return True
        for above, below in combinations(claim.groups, 2):
            if any(true[a] <= true[b] for a in above for b in below):
                return True
        if any(abs(true[a] - true[b]) > claim.bound for group in claim.groups for a, b in combinations(group, 2)):
            return True
    return False


def judge(make: Make, numbers: range) -> list[dict[str, float]]:
    """Judge sweeps: false headlines of effects and of pairs, wrong letters, and false equivalence."""
    rows = []
    for number in numbers:
        y, true = make(np.random.default_rng([number, 31]))
        grid = true.reshape(SHAPE)
        index = pd.MultiIndex.from_product(
            [[f"i{i}" for i in range(INITS)], [f"o{o}" for o in range(OPTIMS)]], names=["init", "optim"]
        )
        means = {
            "init": dict(zip(index.levels[0], grid.mean(axis=1), strict=True)),
            "optim": dict(zip(index.levels[1], grid.mean(axis=0), strict=True)),
        }
        residual = grid - grid.mean(axis=0) - grid.mean(axis=1)[:, None] + grid.mean()
        of_effects = claims_from_effects(*factorial_effects(pd.DataFrame(y, index), None, BOUNDS, EFFECTS))
        cells = [" / ".join(pair) for pair in index]
        table = pd.DataFrame(y, cells)
        table = table.loc[table.mean(axis=1).sort_values(ascending=False).index]
        margin = 2 * NOISE
        pairs, _ = compare_pairs(table, margin=margin, bounds=BOUNDS)
        of_pairs = claims_from_pairs(pairs, list(table.index))
        truth = dict(zip(cells, true, strict=True))
        rows.append(
            {
                "effects": is_false(of_effects, means, bool(np.abs(residual).max() > 1e-12)),
                "pairs": is_false(of_pairs, {CELLS: truth}, False),
                "letters": _letters_differ(pairs, list(table.index)),
                "equivalence": _false_equivalence(table, truth, margin),
                "says": bool(any(len(claim.groups) > 1 for claim in of_effects.of)),
            }
        )
    return rows


def _letters_differ(pairs: pd.DataFrame, cells: list[str]) -> bool:
    real = pairs[pairs["verdict"].isin(SIGNIFICANT)]
    letters = compact_letters(cells, list(zip(real["a"], real["b"], strict=True)))
    assert letters is not None
    shared = [bool({*letters[a]} & {*letters[b]}) for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    return bool((~pairs["verdict"].isin(SIGNIFICANT) != shared).any())


def _false_equivalence(table: pd.DataFrame, truth: Mapping[str, float], margin: float) -> bool:
    """Return whether cells are called equivalent whose true difference is at least the margin.

    If all cells are equal, one of them is made different by exactly the margin.
    """
    shifted, true = table.copy(), pd.Series(truth)
    if true.nunique() == 1:
        shifted.loc[true.index[0]] += margin
        true.iloc[0] += margin
    pairs, _ = compare_pairs(shifted, margin=margin, bounds=BOUNDS)
    apart = np.abs(true[pairs["a"]].to_numpy() - true[pairs["b"]].to_numpy()) >= margin - 1e-12
    return bool((pairs["verdict"].eq(Verdict.EQUIVALENT) & apart).any())


def main() -> None:
    """Print a table of measured rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=1000, help="of each design [%(default)s]")
    sweeps = parser.parse_args().sweeps
    step = max(1, sweeps // 20)
    print(f"{sweeps} sweeps each, {INITS} x {OPTIMS} cells, {SEEDS} replicates, mean accuracy {MEAN}\n")
    print("| design | false headline, effects | pairs | letters unlike pairs | false equivalence | finds groups |")
    print("|---|---|---|---|---|---|")
    with Parallel(n_jobs=-1) as workers:
        for name, make in DESIGNS.items():
            parts = workers(delayed(judge)(make, range(at, min(at + step, sweeps))) for at in range(0, sweeps, step))
            rates = pd.DataFrame([row for part in parts for row in part]).mean()
            print(f"| {name} | {' | '.join(f'{rate:.1%}' for rate in rates)} |", flush=True)


if __name__ == "__main__":
    main()
