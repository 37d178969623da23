"""Does a compared key matter at all, once the others are averaged out? And does its effect depend on the other?

The tests are those of pairs of cells (see `mnist_mlp.stats.moderated_t`), of other differences. A key matters if two
of its values differ when averaged, within each seed, over the other key. Its effect depends on the other key if a
difference between two of its values is not the same at two values of the other. An average has less noise than a cell,
so an effect may be found where no pair of cells differs significantly.
"""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd

from mnist_mlp.analysis.roles import REPLICATE
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.stats.moderated_t import FEWEST, judge

COLUMNS = ("effect", "n", "range", "share", "clearest", "difference", "p")


def main_effects(runs: pd.DataFrame, by: Sequence[str], images: float | None = None) -> pd.DataFrame:
    """Test two compared keys and their interaction.

    Args:
        runs: at the chosen settings, with `score`, the seed and the compared keys.
        by: the compared keys; anything but two gives no table.
        images: that each accuracy is measured on, the same ones in all runs; None where it is not known.

    Returns:
        One row an effect: `effect` (a key, or "a x b"), `n` (seeds that all cells have), `range` of its marginal means
        (accuracy; none of the interaction), `share` of the variance of the cells' means (the three add up to 1),
        `clearest`, the difference that is least likely to be chance, in words, `difference`, its size (accuracy), and
        `p`, corrected for all differences of the effect; NaN where it is the same in every seed, and there is no noise
        to measure it against. Empty where a key has one value, a combination is missing, or
        fewer than three seeds are there in all cells.
    """
    nothing = pd.DataFrame(columns=list(COLUMNS))
    if len(by) != 2:
        return nothing
    words = runs.assign(**{key: runs[key].map(as_typed) for key in by})  # null is a value as any other
    levels = [sorted(words[key].unique(), key=sort_key) for key in by]
    table = words.pivot_table(index=REPLICATE, columns=list(by), values="score")
    table = table.reindex(columns=pd.MultiIndex.from_product(levels)).dropna()
    if min(map(len, levels)) < 2 or len(table) < FEWEST:
        return nothing
    scores = table.to_numpy().T.reshape(len(levels[0]), len(levels[1]), len(table))  # (first, second, seeds)
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
    return pd.DataFrame(
        {
            "effect": [*by, " × ".join(by)],
            "n": len(table),
            "range": ranges,
            "share": np.array(squares) / (sum(squares) or np.nan),
            **dict(zip(("clearest", "difference", "p"), zip(*tested, strict=True), strict=True)),
        }
    )


def _main(marginal: np.ndarray, names: Sequence[str], images: float | None) -> tuple[str, float, float]:
    """Every two values of a key: from their scores averaged over the other key, (values, seeds)."""
    first, second = np.triu_indices(len(names), 1)
    pairs = [f"{a} less {b}" for a, b in combinations(names, 2)]
    return _likeliest(marginal[first] - marginal[second], pairs, len(names) - 1, images)


def _interaction(scores: np.ndarray, levels: Sequence[Sequence[str]], images: float | None) -> tuple[str, float, float]:
    """Every two values of one key at every two values of the other: differences of differences."""
    (a, b), (c, d) = (np.triu_indices(len(names), 1) for names in levels)
    within = scores[a] - scores[b]  # (pairs of the first key, second, seeds)
    crossed = (within[:, c] - within[:, d]).reshape(-1, scores.shape[2])
    one, other = levels
    names = [
        f"{a} less {b}, with {c} rather than {d}"
        for (a, b), (c, d) in product(combinations(one, 2), combinations(other, 2))
    ]
    return _likeliest(crossed, names, (len(one) - 1) * (len(other) - 1), images)


def _likeliest(
    differences: np.ndarray, names: Sequence[str], rank: int, images: float | None
) -> tuple[str, float, float]:
    """The difference with the smallest p: its name, its size and its corrected p."""
    tested = judge(differences, rank, images)
    place = int(np.lexsort((-np.abs(tested.mean), np.nan_to_num(tested.p, nan=1.0)))[0])
    return names[place], float(tested.mean[place]), float(tested.p_corrected[place])
