"""Does a compared key matter at all, once the others are averaged out? And does its effect depend on the other?

The same tests as of pairs of cells (see `contrasts`), of other differences. A key matters if two of its values differ,
averaged over the other key within each seed. Its effect depends on the other key if a difference between two of its
values is not the same at two values of the other. Averages have less noise than cells, so that an effect may be found
where no pair of cells can be told apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_mlp.report.contrasts import FEWEST, test_all
from mnist_mlp.report.roles import REPLICATE, as_typed

COLUMNS = ("effect", "range", "share", "n", "largest", "difference", "p")


def main_effects(runs: pd.DataFrame, by: Sequence[str], images: float | None = None) -> pd.DataFrame:
    """Test two compared keys and their interaction.

    Args:
        runs: at the chosen settings, with `score`, the seed and the compared keys.
        by: the compared keys; anything but two gives no table.
        images: that each accuracy is measured on; None where it is not known.

    Returns:
        One row an effect: `effect` (a key, or "a x b"), `range` of its marginal means (accuracy; of the interaction,
        none), `share` of the variance of the cells' means that it makes up (they add up to 1), `n` seeds that all cells
        have, `largest`, the difference with the smallest p, in words, its size `difference` (accuracy), and `p`, corrected
        for all differences of the effect. Empty where a key has one value, a combination is missing, or fewer than
        three seeds are there in all cells.
    """
    nothing = pd.DataFrame(columns=list(COLUMNS))
    if len(by) != 2:
        return nothing
    words = runs.assign(**{key: runs[key].map(as_typed) for key in by})  # null is a value as any other
    levels = [sorted(words[key].unique()) for key in by]
    table = words.pivot_table(index=[REPLICATE], columns=list(by), values="score")
    table = table.reindex(columns=pd.MultiIndex.from_product(levels, names=by)).dropna()
    if min(map(len, levels)) < 2 or len(table) < FEWEST:
        return nothing
    scores = table.to_numpy().T.reshape(len(levels[0]), len(levels[1]), len(table))  # (first, second, seed)
    means = scores.mean(axis=2)
    margins = [means.mean(axis=1), means.mean(axis=0)]
    squares = [margin.var() for margin in margins]
    total = means.var()
    rows = []
    for key, names, margin, square, averaged in zip(by, levels, margins, squares, (1, 0), strict=True):
        first, second = np.triu_indices(len(names), 1)
        marginal = scores.mean(axis=averaged)  # (values, seeds)
        cells = means.shape[averaged]
        tested = _smallest(marginal[first] - marginal[second], len(names) - 1, images and images * cells)
        pair = [f"{names[a]} less {names[b]}" for a, b in zip(first, second, strict=True)]
        share = square / total if total > 0 else np.nan
        rows.append((key, np.ptp(margin), share, len(table), pair[tested[0]], *tested[1:]))
    (a, b), (c, d) = (np.triu_indices(len(names), 1) for names in levels)
    within = scores[a] - scores[b]  # (pairs of the first, second, seed)
    crossed = (within[:, c] - within[:, d]).reshape(-1, len(table))
    ranks = [len(names) - 1 for names in levels]
    # Twice the images, as each is a difference of two differences.
    which, size, p = _smallest(crossed, ranks[0] * ranks[1], images and images / 2)
    i, j = divmod(which, len(c))
    text = (
        f"{levels[0][a[i]]} less {levels[0][b[i]]}, with {levels[1][c[j]]} rather than {levels[1][d[j]]}"
    )
    share = max(0.0, 1 - sum(squares) / total) if total > 0 else np.nan
    rows.append((" × ".join(by), np.nan, share, len(table), text, size, p))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _smallest(differences: np.ndarray, rank: int, images: float | None) -> tuple[int, float, float]:
    """The difference with the smallest p: its place, its size and its corrected p."""
    tested = test_all(differences, rank, images)
    p = np.nan_to_num(tested.p_corrected, nan=1.0)  # without any noise there is nothing to tell it from
    place = int(np.lexsort((-np.abs(tested.mean), p))[0])
    return place, float(tested.mean[place]), float(p[place])
