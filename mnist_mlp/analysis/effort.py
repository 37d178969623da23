"""Tuning effort: how many configurations of a cell were evaluated, and with how many seeds each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE, ended_runs, with_noun
from mnist_mlp.analysis.selection import number_candidates


@dataclass(frozen=True)
class TuningEffort:
    """Tuning effort of one cell. Cells of equal effort are equally likely to profit from luck in the selection.

    Attributes:
        counts: Pairs (number of seeds, number of configurations evaluated with that many seeds), most seeds first.
            Empty if the selection was confirmed with fresh seeds: its score then does not profit from luck.
    """

    counts: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        if not self.counts:
            return "a configuration confirmed on fresh seeds"
        return " and ".join(
            f"{with_noun(configurations, 'configuration')} with {with_noun(seeds, 'seed')}"
            for seeds, configurations in self.counts
        )


CONFIRMED = TuningEffort()


def tuning_efforts(runs: pd.DataFrame, tuned: Sequence[str]) -> dict[str, TuningEffort]:
    """Count the configurations of each cell, by their number of seeds. Failed runs do not count.

    Args:
        runs: Runs of the search, with `cell`, `replicate`, `status` and the tuned keys.
        tuned: Tuned keys, at least one.
    """
    seeds = ended_runs(runs).groupby([CELL, number_candidates(runs, tuned)])[REPLICATE].nunique()
    return {
        str(cell): TuningEffort(tuple((int(n), many) for n, many in sorted(Counter(of_cell).items(), reverse=True)))
        for cell, of_cell in seeds.groupby(level=CELL)
    }
