"""Sources of randomness: which of them vary apart, and which replicates are independent.

A source is one random stream, or several that always had their seeds in common: the initial weights, the order of the
batches, dropout, or what else a network draws.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE, STREAMS
from mnist_mlp.base.record import COMPLETED
from mnist_mlp.base.schema import SOURCES
from mnist_mlp.stats.variance_components import VarianceComponents, estimate_components


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


def split_variance(runs: pd.DataFrame) -> VarianceComponents | None:
    """Estimate how much of the variance of the runs' scores comes from each source; None if fewer than two vary apart.

    Args:
        runs: Runs of the selected configurations, with `cell`, `streams`, `status` and `score`.
    """
    sources = apart(runs[STREAMS]) if len(runs) else {}
    if len(sources) < 2:
        return None
    scores = runs["score"].where(runs["status"] == COMPLETED)
    seeds = [pd.Series(numbers, runs.index, name=source) for source, numbers in sources.items()]
    table = scores.groupby([runs[CELL], *seeds]).last().unstack([*sources]).sort_index(axis=1)
    return estimate_components(table.reindex(runs[CELL].unique()))
