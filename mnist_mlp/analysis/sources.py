"""Sources of randomness that vary independently, and replicates that are independent of one another.

A random stream draws the initial weights, the order of the batches or the dropout masks. A source is one stream, or
several streams whose seeds vary together.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE, STREAMS
from mnist_mlp.base.record import COMPLETED
from mnist_mlp.base.schema import SOURCES
from mnist_mlp.stats.variance_components import VarianceComponents, estimate_components


def seeds_by_source(streams: pd.Series) -> dict[str, np.ndarray]:
    """Return the sources whose seeds vary, each with one number per run that stands for its seed.

    A source of several streams has a name such as "batches and dropout".

    Args:
        streams: Streams of the runs (see `Results`).
    """
    together: dict[tuple[int, ...], list[str]] = {}
    for source, seeds in zip(SOURCES, zip(*streams, strict=True), strict=True):
        numbers = {seed: number for number, seed in enumerate(dict.fromkeys(seeds))}
        if len(numbers) > 1:
            together.setdefault(tuple(numbers[seed] for seed in seeds), []).append(source)
    return {join_words(names): np.array(numbers) for numbers, names in together.items()}


def join_words(names: Sequence[str]) -> str:
    """Join names, at least one, to a text such as "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def independent(runs: pd.DataFrame) -> pd.Series:
    """Choose independent replicates, and return whether each run belongs to one of them.

    Replicates are independent if no two of them share the seed of a source. If all sources vary together, as with
    `seed`, this holds for all replicates. Otherwise replicates are chosen greedily, beginning with those that most
    cells have.

    Args:
        runs: Runs with `cell`, `streams` and `replicate`.
    """
    sources = seeds_by_source(runs[STREAMS])
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
    """Yield topic and text of notes on streams that have their own seeds.

    Args:
        runs: Scored runs, with `streams`, `replicate` and `independent`.
    """
    sources = seeds_by_source(runs[STREAMS]) if len(runs) else {}
    fixed = [
        source for source, seeds in zip(SOURCES, zip(*runs[STREAMS], strict=True), strict=False) if len(set(seeds)) == 1
    ]
    if sources and fixed:
        yield (
            "Fixed seeds",
            f"{join_words(fixed)} had one seed in all runs, so differences hold for this seed, and intervals do not "
            "include the noise of other seeds.",
        )
    if len(sources) > 1:
        n, of = (part[REPLICATE].nunique() for part in (runs[runs["independent"]], runs))
        yield (
            "Seeds varied independently",
            f"runs with the same seed of {' or of '.join(sources)} are not independent, so intervals and verdicts use "
            f"{n} of {of} replicates, no two of which share such a seed. To compare cells, vary seed instead.",
        )


def variance_by_source(runs: pd.DataFrame) -> VarianceComponents | None:
    """Estimate how much of the variance of the scores comes from each source of randomness.

    Args:
        runs: Runs of the selected configurations, with `cell`, `streams`, `status` and `score`.

    Returns:
        The variance components; None if fewer than two sources vary independently.
    """
    sources = seeds_by_source(runs[STREAMS]) if len(runs) else {}
    if len(sources) < 2:
        return None
    scores = runs["score"].where(runs["status"] == COMPLETED)
    seeds = [pd.Series(numbers, runs.index, name=source) for source, numbers in sources.items()]
    table = scores.groupby([runs[CELL], *seeds]).last().unstack([*sources]).sort_index(axis=1)
    return estimate_components(table.reindex(runs[CELL].unique()))
