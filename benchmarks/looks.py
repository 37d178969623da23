"""Error rates of interim analyses while seeds are added, and the seeds that they save.

Accuracies are simulated as in `benchmarks.verdicts`, and given to the report's own `interim_analysis`, just as a sweep
with `hydra.sweeper.until_decided=true` does: cells get seeds until their comparison with the best cell is decided.
Where all cells are equal, any "better" is false; where one is worse than all others by just the margin, any
"equivalent" of it and another is. A design with more than 5.5% of them is simulated again, with 2,000 sweeps. Where one
cell is better, a design with a fixed number of seeds that finds nine in ten of its differences is looked for, then the
least `max_seeds` that finds as many; the table has the seeds that the sweep took, over those of the fixed design.

    python -m benchmarks.looks [--sweeps 500]
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks.printing import say
from mnist_mlp.base.interim import SequentialPlan
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.sequential import interim_analysis, interim_schedule
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict

NOISE, IMAGES = 0.002, 10000  # standard deviation of a run's accuracy; test images
POWER = 0.9
DOUBTFUL, REPEATED = 0.055, 2000  # above this share of false verdicts, so many sweeps
SOUGHT = 200  # sweeps of each design that is tried for its power
MARGIN = 0.0025
INITIAL = 5  # seeds
FIFTY = SequentialPlan(margin=None, max_seeds=50, batch=5)
TRIED = range(1, 13)  # seeds more than the fixed design has, that the most may be


class Ended(NamedTuple):
    """Outcome of one sweep.

    Attributes:
        pairs: Pairs, as in the report.
        seeds: Number of seeds of all cells together.
        looks: Number of interim analyses.
    """

    pairs: pd.DataFrame
    seeds: int
    looks: int


def accuracies(number: int, cells: int, seeds: int, shift: float) -> pd.DataFrame:
    """Simulate a sweep, cells x seeds, whose first cell is better by a shift; seeds matter as much as noise."""
    generator = np.random.default_rng([cells, number])
    y = 0.97 + NOISE * (generator.normal(size=(seeds, 1)) + generator.normal(size=(seeds, cells)))
    y[:, 0] += shift
    return pd.DataFrame(np.round(y.T * IMAGES) / IMAGES, index=[f"c{cell:02}" for cell in range(cells)])


def sweep(y: pd.DataFrame, plan: SequentialPlan) -> Ended:
    """Add seeds until it is decided."""
    taken, looks, pairs, active = dict.fromkeys(y.index, 0), 0, None, list(y.index)
    for size, level in interim_schedule(INITIAL, plan.batch, plan.max_seeds, len(y)):
        taken |= dict.fromkeys(active, size)
        looks += 1
        found = interim_analysis(y.loc[active, y.columns[:size]], level, pairs, IMAGES, plan.margin, (0.0, 1.0))
        pairs, active = found.pairs, found.active
        if not active:
            break
    return Ended(found.pairs, sum(taken.values()), looks)


def of_first(pairs: pd.DataFrame) -> pd.Series:
    """Return the verdicts on the first cell against the others."""
    return pairs.loc[pairs["a"] == "c00", "verdict"]


def false_better(number: int, cells: int, plan: SequentialPlan) -> list[float]:
    """Simulate equal cells: any false `better`, the seeds and the analyses used."""
    ended = sweep(accuracies(number, cells, plan.max_seeds, 0.0), plan)
    return [float(ended.pairs["verdict"].isin(SIGNIFICANT).any()), ended.seeds, ended.looks]


def false_equivalent(number: int, cells: int, plan: SequentialPlan) -> list[float]:
    """Simulate cells, one of which is worse by the margin: any false `equivalent`."""
    ended = sweep(accuracies(number, cells, plan.max_seeds, -MARGIN), replace(plan, margin=MARGIN))
    return [float(of_first(ended.pairs).eq(Verdict.EQUIVALENT).any()), ended.seeds, ended.looks]


def fixed_power(number: int, cells: int, seeds: int, shift: float) -> list[float]:
    """Return the share of the first cell's differences that a design without interim analyses finds."""
    pairs, _ = compare_pairs(accuracies(number, cells, seeds, shift), IMAGES)
    return [float(of_first(pairs).eq(Verdict.BETTER).mean())]


def power(number: int, cells: int, plan: SequentialPlan, shift: float) -> list[float]:
    """Return the share of the first cell's differences that are found, the seeds and the analyses used."""
    ended = sweep(accuracies(number, cells, plan.max_seeds, shift), plan)
    return [float(of_first(ended.pairs).eq(Verdict.BETTER).mean()), ended.seeds, ended.looks]


def mean(workers: Parallel, work: Callable[..., list[float]], sweeps: int, *arguments: object) -> Sequence[float]:
    """Return means over sweeps, computed on all cores."""
    rows = workers(delayed(work)(number, *arguments) for number in range(sweeps))
    return [float(value) for value in np.mean(rows, axis=0)]


def least(found: Callable[[int], float], low: int, high: int) -> int:
    """Return the smallest number in [low, high] with enough power, which grows with the number."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) >= POWER else (middle + 1, high)
    return low


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=500, help="of each design [%(default)s]")
    sweeps = parser.parse_args().sweeps
    rows = []
    with Parallel(n_jobs=-1) as workers:
        for cells, plan, shift in ((2, FIFTY, 1.0), (24, replace(FIFTY, max_seeds=30), 2.0)):
            for name, work in (("better", false_better), ("equivalent", false_equivalent)):
                number, found = sweeps, mean(workers, work, sweeps, cells, plan)
                if found[0] > DOUBTFUL and sweeps < REPEATED:
                    number, found = REPEATED, mean(workers, work, REPEATED, cells, plan)
                rows.append(row(cells, plan, f'false "{name}" in {number:,} sweeps', found))
                say(str(rows[-1]))
            fixed = least(lambda n, c=cells, s=shift: mean(workers, fixed_power, SOUGHT, c, n, s * NOISE)[0], 3, 60)
            for most in (fixed + more for more in TRIED):
                longer = replace(plan, max_seeds=most)
                found = mean(workers, power, SOUGHT, cells, longer, shift * NOISE)
                if found[0] >= POWER:
                    break
            ratio = f"{found[1] / cells / fixed:.2f} of {fixed}"
            rows.append(row(cells, longer, f"found, one better by {shift:g} sd", found, ratio))
            say(str(rows[-1]))
    print(
        "\n| cells | seeds: first, batch, most | what | share | seeds a cell | looks | seeds over the fixed design's |"
    )
    print("|---|---|---|---|---|---|---|")
    for words in rows:
        print(f"| {' | '.join(words)} |")


def row(cells: int, plan: SequentialPlan, what: str, found: Sequence[float], ratio: str = "") -> list[str]:
    """Return one row of the table as text."""
    share, seeds, looks = found
    return [
        str(cells),
        f"{INITIAL}, {plan.batch}, {plan.max_seeds}",
        what,
        f"{share:.1%}",
        f"{seeds / cells:.1f}",
        f"{looks:.1f}",
        ratio,
    ]


if __name__ == "__main__":
    main()
