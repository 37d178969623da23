"""Where the variance between replicates comes from: the weights, the batches, dropout, or what else a network draws.

A source is one random stream, or several that always had their seeds in common. Where the seeds of several sources were
crossed, each cell is a factorial of random effects: the variance between its runs is split by expected mean squares
(Searle, Casella & McCulloch 1992, "Variance components", chapter 4) into what each source does alone and what they do
together, their interactions; the same seeds give the same run, so there is no noise besides. Where they were varied one
at a time around one run, the variance over a source, with all others held, is reported by itself (Bouthillier et al.
2021, "Accounting for variance in machine learning benchmarks", MLSys 3).

Mean squares are averaged over the cells. These may share what a seed does, as they see the same batches, or not: an
average of theirs has between the degrees of freedom of one cell and those of all. How many it has is told by how alike
the cells are, by Box's correction (Box 1954, Annals of Mathematical Statistics 25:290) as Greenhouse & Geisser estimate
it (1959, Psychometrika 24:95), which errs on the side of few. Intervals are generalised ones (Weerahandi 1993, Journal
of the American Statistical Association 88:899): quantiles of the components over what the true mean squares may be.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import chdtri

from mnist_mlp.analysis.roles import CELL, REPLICATE, STREAMS
from mnist_mlp.base.record import COMPLETED
from mnist_mlp.base.schema import SOURCES
from mnist_mlp.stats.moderated_t import CONFIDENCE, DECIMALS

CROSSED, ONE_AT_A_TIME = "crossed", "one at a time"  # designs
INTERACTION, INTERACTIONS, TOTAL = "interaction", "interactions", "all together"  # rows besides those of the sources
DRAWS = 10_000  # of the true mean squares; their quantiles are then within 3 % of where more would put them
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
Seeds = tuple[int, ...]  # of each source a number, by the order in which they appear
NUMBERS = ("sd", "sd_low", "sd_high", "share", "share_low", "share_high")


@dataclass(frozen=True)
class Split:
    """The variance between the replicates of a cell, by source.

    Attributes:
        design: `CROSSED` or `ONE_AT_A_TIME`; empty where there is no split.
        table: One row per source, then, if sources were crossed, `INTERACTION` (or `INTERACTIONS`) and `TOTAL`:
            `source`, `seeds` (how many, or how many combinations), `sd` (standard deviation of the accuracy) and
            `share` of the variance, each with the ends of its 95% interval, `_low` and `_high`. Shares are NaN if
            the sources were varied one at a time.
        cells: how many it is an average over: those in which all runs were completed.
        of: how many there are.
        why: there is none, in words; else empty.
    """

    design: str
    table: pd.DataFrame
    cells: int
    of: int
    why: str = ""


def apart(streams: pd.Series) -> dict[str, np.ndarray]:
    """The sources whose seeds vary: a name, such as "batches and dropout", to the number of each run's seed.

    Args:
        streams: of the runs (see `mnist_mlp.analysis.load.Results`).
    """
    together: dict[tuple[int, ...], list[str]] = {}
    for source, seeds in zip(SOURCES, zip(*streams, strict=True), strict=True):
        numbers = {seed: number for number, seed in enumerate(dict.fromkeys(seeds))}
        if len(numbers) > 1:
            together.setdefault(tuple(numbers[seed] for seed in seeds), []).append(source)
    return {joined(names): np.array(numbers) for numbers, names in together.items()}


def joined(names: Sequence[str]) -> str:
    """Names in a row: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def independent(runs: pd.DataFrame) -> pd.Series:
    """Whether each run is of those replicates that count as independent: no two of them share a seed that varies.

    All do where all sources vary together, as they do by `seed`. Of others the first are taken that are in most cells.

    Args:
        runs: with `cell`, `streams` and `replicate`.
    """
    sources = apart(runs[STREAMS])
    if len(sources) < 2:
        return pd.Series(True, index=runs.index)
    cells = runs.groupby(REPLICATE)[CELL].nunique()
    seeds = dict(zip(runs[REPLICATE], zip(*sources.values(), strict=True), strict=True))
    used: list[set[int]] = [set() for _ in sources]
    taken = []
    for replicate in sorted(seeds, key=lambda replicate: (-cells[replicate], replicate)):
        if not any(seed in others for seed, others in zip(seeds[replicate], used, strict=True)):
            taken.append(replicate)
            for seed, others in zip(seeds[replicate], used, strict=True):
                others.add(seed)
    return runs[REPLICATE].isin(taken)


def caveats(runs: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What to beware of where streams have seeds of their own: a topic, and a text.

    Args:
        runs: at the chosen settings, not failed, with `streams`, `replicate` and `independent`.
    """
    sources = apart(runs[STREAMS]) if len(runs) else {}
    held = [
        source for source, seeds in zip(SOURCES, zip(*runs[STREAMS], strict=True), strict=False) if len(set(seeds)) == 1
    ]
    if sources and held:
        yield (
            "Seeds held",
            f"{joined(held)} had one seed in all runs, so that differences hold for this seed, and intervals are "
            "without the noise that others would bring.",
        )
    if len(sources) > 1:
        n, of = (part[REPLICATE].nunique() for part in (runs[runs["independent"]], runs))
        yield (
            "Seeds swept apart",
            f"runs with the same seed of {' or of '.join(sources)} are not independent, so intervals and verdicts are "
            f"by {n} of {of} replicates, no two of which share one. To compare cells, vary seed instead.",
        )


def split(runs: pd.DataFrame) -> Split | None:
    """Split the variance of the runs' scores by source; None where fewer than two sources vary apart.

    Args:
        runs: at the chosen settings, with `cell`, `streams`, `status` and `score`.
    """
    sources = apart(runs[STREAMS]) if len(runs) else {}
    if len(sources) < 2:
        return None
    scores: dict[str, dict[Seeds, float]] = {cell: {} for cell in runs[CELL]}
    of_runs = list(zip(*(numbers.tolist() for numbers in sources.values()), strict=True))
    for cell, seeds, status, score in zip(runs[CELL], of_runs, runs["status"], runs["score"], strict=True):
        if status == COMPLETED:
            scores[cell][seeds] = score
    there = sorted(set(of_runs))
    whole = [of_cell for of_cell in scores.values() if len(of_cell) == len(there)]
    levels = [1 + int(numbers.max()) for numbers in sources.values()]
    none = pd.DataFrame(columns=["source", "seeds", *NUMBERS])
    if not whole:
        return Split("", none, 0, len(scores), f"in no cell were the runs of all {len(there)} seeds completed")
    if len(there) == math.prod(levels):
        interaction = INTERACTION if len(levels) == 2 else INTERACTIONS
        grid = np.array([[of_cell[seeds] for seeds in there] for of_cell in whole]).reshape(-1, *levels)
        names, counts, numbers = [*sources, interaction, TOTAL], [*levels, len(there), len(there)], crossed(grid)
        design = CROSSED
    elif arms := _arms(there):
        of_arms = [np.array([[of_cell[seeds] for seeds in arm] for of_cell in whole]) for arm in arms]
        names, counts, numbers = list(sources), levels, np.array([alone(arm) for arm in of_arms])
        design = ONE_AT_A_TIME
    else:
        return Split("", none, 0, len(scores), "the seeds were neither crossed nor varied one at a time around one run")
    if not numbers[:, 0].any():
        return Split("", none, 0, len(scores), "the seeds made no difference at all")
    table = pd.DataFrame(numbers, columns=list(NUMBERS))
    table.insert(0, "source", names)
    table.insert(1, "seeds", counts)
    return Split(design, table, len(whole), len(scores))


def _arms(there: Collection[Seeds]) -> list[list[Seeds]] | None:
    """The seeds that differ in one source alone from those that are the commonest, by source; None if others do."""
    base = tuple(Counter(of_source).most_common(1)[0][0] for of_source in zip(*there, strict=True))
    arms = [[s for s in there if s[:i] + s[i + 1 :] == base[:i] + base[i + 1 :]] for i in range(len(base))]
    return arms if base in there and set().union(*arms) == set(there) else None


def crossed(scores: np.ndarray) -> np.ndarray:
    """Standard deviations and shares, with intervals, of some crossed sources, their interactions, and all together.

    With L_f seeds of source f, the mean square of the interaction s of some sources, or of a single one, has the mean

        E M_s = sum over t containing s of var_t * (product of L_f over the f that are not in t),

    so var_s is the alternating sum of the M_t with t containing s, over the product of the L_f that are not in s.

    Args:
        scores: (cells, seeds of the first source, seeds of the second, ...), at least two seeds of each.

    Returns:
        (sources + 2, 6): the columns are `NUMBERS`. A variance that would be negative is 0, and shares are of the sum
        of those that are left; that of all together is none of the sum, but of its own, as it is never negative.
    """
    axes, levels = range(1, scores.ndim), scores.shape
    terms = [term for size in axes for term in combinations(axes, size)]
    squares, freedom = np.array([_mean_square(scores, term) for term in terms]).T
    weights = np.zeros((scores.ndim, len(terms)))  # of the mean squares: in each source's variance, and in all others'
    for term in terms:
        row = term[0] - 1 if len(term) == 1 else -1
        repeats = math.prod(levels[axis] for axis in axes if axis not in term)
        for place, other in enumerate(terms):
            if set(term) <= set(other):
                weights[row, place] += (-1) ** (len(other) - len(term)) / repeats
    true = freedom * squares / np.random.default_rng(0).chisquare(freedom, (DRAWS, len(terms)))
    return _summed_up(weights @ squares, weights @ true.T)


def alone(scores: np.ndarray) -> np.ndarray:
    """The standard deviation over a source with its interval: the columns of `NUMBERS`, shares NaN.

    Args:
        scores: (cells, seeds), at least two seeds.
    """
    square, freedom = _mean_square(scores, (1,))
    low, high = np.sqrt(freedom * square / chdtri(freedom, [1 - TAILS[1], 1 - TAILS[0]]))
    return np.array([math.sqrt(square), low, high, np.nan, np.nan, np.nan])


def _mean_square(scores: np.ndarray, term: Sequence[int]) -> tuple[float, float]:
    """The mean square of a source or an interaction, averaged over the cells, and its degrees of freedom."""
    effect = scores
    for axis in range(1, scores.ndim):
        mean = effect.mean(axis=axis, keepdims=True)
        effect = effect - mean if axis in term else mean
    effects = np.round(effect.reshape(len(scores), -1), DECIMALS)
    freedom = math.prod(scores.shape[axis] - 1 for axis in term)
    of_cells = effects @ effects.T * (scores[0].size / effects.shape[1] / freedom)  # like a covariance, (cells, cells)
    total = float(np.trace(of_cells))
    return total / len(scores), freedom * (total**2 / float((of_cells**2).sum()) if total else 1.0)


def _summed_up(variances: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """As `crossed` returns, from estimates of each row's variance, (rows,), and what it may be, (rows, draws)."""
    (sd, share), of_draws = (_sd_and_share(each) for each in (variances[:, None], draws))
    ends = [np.quantile(draw, TAILS, axis=1) for draw in of_draws]
    return np.column_stack([sd, *ends[0], share, *ends[1]])


def _sd_and_share(variances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    parts = np.maximum(variances, 0)
    with np.errstate(invalid="ignore"):  # no variance has no shares
        shares = parts / parts.sum(axis=0)
    return np.sqrt(np.vstack([parts, variances.sum(axis=0)])), np.vstack([shares, shares.sum(axis=0)])
