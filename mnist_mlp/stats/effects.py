"""Main effects and interaction of a two-way layout.

The cells are the combinations of the values of two keys. A key has a main effect if the averages of two of its values
differ. Each average is taken within a replicate, over all values of the other key. The keys interact if the difference
between two values of one key depends on the value of the other. Both are tested with the same moderated t-tests as
pairs of cells (see `moderated_t`). An average has less noise than a cell, so an effect may be significant where no pair
of cells is.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd

from mnist_mlp.stats.moderated_t import FEWEST, moderated_tests

COLUMNS = ("effect", "n", "range", "share", "clearest", "difference", "p")


def two_way_effects(table: pd.DataFrame, images: float | None = None) -> pd.DataFrame:
    """Test two keys and their interaction.

    Args:
        table: Scores, cells x replicates; NaN if missing. The index has one level per key, with the name of the key.
            Values keep their order of appearance. Only replicates with a score for every combination of values are
            used.
        images: Number of test images behind each accuracy, the same images in all cells (see `moderated_tests`);
            None for other scores.

    Returns:
        One row per effect; empty if a key has a single value or fewer than three replicates are complete. Columns:

        - `effect`: a key, or "a × b" for the interaction of the keys a and b;
        - `n`: number of replicates used;
        - `range`: largest minus smallest average of the key's values, in the unit of the scores; NaN for the
          interaction;
        - `share`: share of the variance of the cells' means, in [0, 1]; the three shares add up to 1; NaN without
          variance;
        - `clearest`: name of the most significant difference;
        - `difference`: mean of this difference, in the unit of the scores;
        - `p`: p-value of this difference, corrected for all differences of the effect; NaN if there is no noise to test
          against.

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
    values = np.asfortranarray(table.to_numpy(dtype=float))  # the rounding of a sum depends on the memory layout
    scores = values.reshape(len(levels[0]), len(levels[1]), n)  # (first, second, replicates)
    means = scores.mean(axis=2)
    margins = [means.mean(axis=1), means.mean(axis=0)]
    squares = [float(margin.var()) for margin in margins]
    squares.append(max(0.0, float(means.var()) - sum(squares)))  # the rest is the interaction
    ranges = [*map(np.ptp, margins), np.nan]
    # All cells are evaluated on the same images, so an average over cells has as many images as one cell.
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
    """Test each pair of values of a key on its marginal scores, an array (values, replicates)."""
    first, second = np.triu_indices(len(names), 1)
    pairs = [f"{a} less {b}" for a, b in combinations(names, 2)]
    return _most_significant(marginal[first] - marginal[second], pairs, len(names) - 1, images)


def _interaction(
    scores: np.ndarray, levels: Sequence[Sequence[Hashable]], images: float | None
) -> tuple[str, float, float]:
    """Test each difference of differences: how far two values of one key differ, at two values of the other key."""
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
    tested = moderated_tests(differences, rank, images)
    place = int(np.lexsort((-np.abs(tested.mean), np.nan_to_num(tested.p, nan=1.0)))[0])
    return names[place], float(tested.mean[place]), float(tested.p_corrected[place])
