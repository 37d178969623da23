"""Main effects and interaction of a two-way layout.

The tests are those of pairs of cells (see `moderated_t`), of other differences. A key has a main effect if two of its
levels differ when averaged, within each replicate, over the other key. Two keys interact if a difference between two
levels of the one is not the same at two levels of the other. An average has less noise than a cell, so an effect may be
found where no pair of cells differs significantly.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd

from mnist_mlp.stats.moderated_t import FEWEST, judge

COLUMNS = ("effect", "n", "range", "share", "clearest", "difference", "p")


def two_way_effects(table: pd.DataFrame, images: float | None = None) -> pd.DataFrame:
    """Test two keys and their interaction.

    Args:
        table: Scores, cells x replicates; NaN if missing. The index has two levels, named as the keys, each of whose
            values keep their order of appearance. A replicate takes part if all combinations of values have its score.
        images: Number of test images of each accuracy, the same ones in all cells (see `moderated_t.judge`); None for
            other scores.

    Returns:
        One row per effect: `effect` (a key, or "a × b"), `n` (replicates that take part), `range` of the marginal means
        (in the unit of the scores; NaN for the interaction), `share` of the variance of the cells' means, in [0, 1]
        (the three add up to 1; NaN without variance), `clearest`, the most significant difference, in words,
        `difference`, its mean (in the unit of the scores), and `p`, corrected for all differences of the effect; NaN if
        it is the same in every replicate, without any noise to compare it with. Empty if a key has a single value or
        fewer than three replicates take part.

    Raises:
        ValueError: The index does not have two levels, or has a cell twice.
    """
    if table.index.nlevels != 2:
        raise ValueError(f"table.index.nlevels={table.index.nlevels}: expected two levels, one per key")
    levels = [list(table.index.unique(level)) for level in (0, 1)]
    table = table.reindex(pd.MultiIndex.from_product(levels, names=table.index.names)).dropna(axis=1)
    n = table.shape[1]
    if min(map(len, levels)) < 2 or n < FEWEST:
        return pd.DataFrame(columns=list(COLUMNS))
    values = np.asfortranarray(table.to_numpy(dtype=float))  # a sum depends on the layout in memory, by its rounding
    scores = values.reshape(len(levels[0]), len(levels[1]), n)  # (first, second, replicates)
    means = scores.mean(axis=2)
    margins = [means.mean(axis=1), means.mean(axis=0)]
    squares = [float(margin.var()) for margin in margins]
    squares.append(max(0.0, float(means.var()) - sum(squares)))  # what is left is the interaction
    ranges = [*map(np.ptp, margins), np.nan]
    # An average over cells has no more images than each of them: all are measured on the same ones.
    tested = [
        _main(scores.mean(axis=1), levels[0], images),
        _main(scores.mean(axis=0), levels[1], images),
        _interaction(scores, levels, images),
    ]
    keys = [str(name) for name in table.index.names]
    return pd.DataFrame(
        {
            "effect": [*keys, " × ".join(keys)],
            "n": n,
            "range": ranges,
            "share": np.array(squares) / (sum(squares) or np.nan),
            **dict(zip(("clearest", "difference", "p"), zip(*tested, strict=True), strict=True)),
        }
    )


def _main(marginal: np.ndarray, names: Sequence[Hashable], images: float | None) -> tuple[str, float, float]:
    """Test every two values of a key, by its scores averaged over the other key, (values, replicates)."""
    first, second = np.triu_indices(len(names), 1)
    pairs = [f"{a} less {b}" for a, b in combinations(names, 2)]
    return _most_significant(marginal[first] - marginal[second], pairs, len(names) - 1, images)


def _interaction(
    scores: np.ndarray, levels: Sequence[Sequence[Hashable]], images: float | None
) -> tuple[str, float, float]:
    """Test every two values of one key at every two values of the other: differences of differences."""
    (a, b), (c, d) = (np.triu_indices(len(names), 1) for names in levels)
    within = scores[a] - scores[b]  # (pairs of the first key, second, replicates)
    crossed = (within[:, c] - within[:, d]).reshape(-1, scores.shape[2])
    one, other = levels
    names = [
        f"{a} less {b}, with {c} rather than {d}"
        for (a, b), (c, d) in product(combinations(one, 2), combinations(other, 2))
    ]
    return _most_significant(crossed, names, (len(one) - 1) * (len(other) - 1), images)


def _most_significant(
    differences: np.ndarray, names: Sequence[str], rank: int, images: float | None
) -> tuple[str, float, float]:
    """Return the difference with the smallest p: its name, its mean and its corrected p."""
    tested = judge(differences, rank, images)
    place = int(np.lexsort((-np.abs(tested.mean), np.nan_to_num(tested.p, nan=1.0)))[0])
    return names[place], float(tested.mean[place]), float(tested.p_corrected[place])
