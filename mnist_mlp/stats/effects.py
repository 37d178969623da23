"""Main effects and two-way interactions of keys whose combinations are the cells.

A key has a main effect if the averages of two of its values differ. Each average is taken within a replicate, over all
values of the other keys. Two keys interact if the difference between two values of one key depends on the value of the
other, on average over any further keys. Both are tested with the same moderated t-tests as pairs of cells (see
`moderated_t`). An average has less noise than a cell, so an effect may be significant where no pair of cells is.
"""

from collections.abc import Hashable, Sequence
from itertools import combinations, product

import numpy as np
import pandas as pd

from mnist_mlp.stats.moderated_t import CONFIDENCE, FEWEST, moderated_tests

SUMMARY_COLUMNS = [
    "effect",
    "n",
    "range",
    "share",
    "most_significant",
    "difference",
    "ci_low",
    "ci_high",
    "largest",
    "p",
]
DIFFERENCE_COLUMNS = ["effect", "n", "a", "b", "difference", "mean", "ci_low", "ci_high", "p", "p_corrected"]


class UntestableEffects(ValueError):
    """Scores of which no effect can be tested; the message says why."""


def factorial_effects(
    table: pd.DataFrame,
    images: float | None = None,
    bounds: tuple[float, float] | None = None,
    families: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test the main effect of each key and the interaction of every two keys.

    Args:
        table: Scores, cells x replicates; NaN if missing. The index has one level per key, with the name of the key.
            Values keep their order of appearance. Only replicates with a score for every combination of values are
            used.
        images: Number of test images behind each accuracy, the same images in all cells (see `moderated_tests`);
            None for other scores.
        bounds: Smallest and largest score (see `moderated_tests`); None if unbounded.
        families: Number of effects that share an error rate of 5%. With 1, each effect is tested at 5% separately;
            with the number of effects, the probability of any false positive is 5%.

    Returns:
        Two tables in the unit of the scores. The first has one row per effect, with the columns

        - `effect`: a key, or "a × b" for the interaction of the keys a and b;
        - `n`: number of replicates used;
        - `range`: largest minus smallest average of the key's values; NaN for an interaction;
        - `share`: share of the variance of the cells' means, in [0, 1]; NaN without variance. With two keys the shares
          add up to 1, with more keys the rest is left to interactions of three or more keys;
        - `most_significant`: name of the most significant difference;
        - `difference`, `ci_low` and `ci_high`: mean of this difference, and its simultaneous 95% interval;
        - `largest`: largest absolute value in the intervals of all differences of the effect, the bound on what may
          be hidden;
        - `p`: p-value of the most significant difference, corrected for all differences of the effect. NaN if a
          difference has no noise to test against, unless another one is significant.

        The second has one row per difference: `effect`, `n`, `a` and `b` (the values of a main effect, else empty),
        `difference` (its name), `mean`, `ci_low`, `ci_high`, `p` and `p_corrected`, all within its effect (see
        `moderated_tests`). Intervals and p-values are NaN if there is no noise to test against.

    Raises:
        UntestableEffects: A key has a single value, a combination of values has no score, or fewer than three
            replicates are complete.
        ValueError: The index has fewer than two levels, or has a cell twice.
    """
    if table.index.nlevels < 2:
        raise ValueError(f"table.index.nlevels={table.index.nlevels}: expected at least two levels, one per key")
    keys = [str(name) for name in table.index.names]
    levels = [list(table.index.unique(level)) for level in range(len(keys))]
    scores = _complete(table, levels).reshape(*map(len, levels), -1)  # one axis per key, then the replicates
    means = scores.mean(axis=-1)
    effects, differences = [], []
    squares: dict[tuple[int, ...], float] = {}
    for size in (1, 2):
        for axes in combinations(range(len(keys)), size):
            others = tuple(set(range(len(keys))) - set(axes))
            margin = means.mean(axis=others)
            squares[axes] = max(0.0, float(margin.var()) - sum(squares[axis,] for axis in axes if size > 1))
            test = _main_differences if size == 1 else _crossed_differences
            values, names, rank = test(
                scores.mean(axis=others), [levels[axis] for axis in axes], [keys[axis] for axis in axes]
            )
            # All cells are evaluated on the same images, so an average over cells has as many images as one cell.
            limits = None if bounds is None else (size * bounds[0], size * bounds[1])
            level = None if families == 1 else float(-np.expm1(np.log(CONFIDENCE) / (len(values) * families)))
            tested = moderated_tests(values, rank, images, level, limits)
            numbers = (tested.mean, tested.low, tested.high, tested.p, tested.p_corrected)
            of_effect = pd.DataFrame(dict(zip(DIFFERENCE_COLUMNS[4:], (names, *numbers), strict=True)))
            sides = list(combinations(levels[axes[0]], 2)) if size == 1 else [("", "")] * len(values)
            of_effect[["a", "b"]] = pd.DataFrame(sides, dtype=object)
            of_effect["effect"] = " × ".join(keys[axis] for axis in axes)
            of_effect["n"] = scores.shape[-1]
            differences.append(of_effect[DIFFERENCE_COLUMNS])
            order = np.lexsort((-of_effect["mean"].abs(), of_effect["p"].fillna(1.0)))
            first = of_effect.iloc[order[0]]
            untested = of_effect[of_effect["p"].isna()]
            if len(untested) and not first["p_corrected"] < 1 - CONFIDENCE:  # a real difference may be among these
                first = untested.iloc[int(untested["mean"].abs().argmax())]
            effects.append(
                {
                    "effect": first["effect"],
                    "n": first["n"],
                    "range": float(np.ptp(margin)) if size == 1 else np.nan,
                    "share": squares[axes],
                    "most_significant": first["difference"],
                    "difference": first["mean"],
                    "ci_low": first["ci_low"],
                    "ci_high": first["ci_high"],
                    "largest": float(np.maximum(-tested.low, tested.high).max()),
                    "p": first["p_corrected"],
                }
            )
    summary = pd.DataFrame(effects)
    # With two keys the sum of the parts is exact; the variance of the means differs from it by rounding.
    whole = sum(squares.values()) if len(keys) == 2 else float(means.var())
    return summary.assign(share=summary["share"] / (whole or np.nan)), pd.concat(differences, ignore_index=True)


def _complete(table: pd.DataFrame, levels: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Return the scores of all combinations of values, (cells, replicates), of the replicates that have all of them."""
    if single := [name for name, values in zip(table.index.names, levels, strict=True) if len(values) < 2]:
        raise UntestableEffects(f"{single[0]} has a single value")
    table = table.reindex(pd.MultiIndex.from_product(levels, names=table.index.names))
    if len(empty := table.index[table.isna().all(axis=1)]):
        raise UntestableEffects(f"there is no score for {' / '.join(map(str, empty[0]))}")
    table = table.dropna(axis=1)
    if table.shape[1] < FEWEST:
        raise UntestableEffects(f"only {table.shape[1]} of at least {FEWEST} replicates have a score in all cells")
    return np.asfortranarray(table.to_numpy(dtype=float))  # the rounding of a sum depends on the memory layout


def _main_differences(
    scores: np.ndarray, levels: Sequence[Sequence[Hashable]], keys: Sequence[str]
) -> tuple[np.ndarray, Sequence[str], int]:
    """Return the difference of each pair of values of a key, its name, and the rank of all differences.

    Args:
        scores: Marginal scores, (values, replicates).
        levels: Values of the key, in a list of one.
        keys: The key, in a list of one.
    """
    (names,) = levels
    first, second = np.triu_indices(len(names), 1)
    return scores[first] - scores[second], [f"{a} minus {b}" for a, b in combinations(names, 2)], len(names) - 1


def _crossed_differences(
    scores: np.ndarray, levels: Sequence[Sequence[Hashable]], keys: Sequence[str]
) -> tuple[np.ndarray, Sequence[str], int]:
    """Return each difference of differences of two keys, its name, and the rank of all of them.

    Args:
        scores: Marginal scores, (values of one key, values of the other, replicates).
        levels: Values of both keys.
        keys: Both keys.
    """
    (a, b), (c, d) = (np.triu_indices(len(names), 1) for names in levels)
    within = scores[a] - scores[b]  # (pairs of the first key, second, replicates)
    one, other = levels
    names = [
        f"{a} minus {b}, with {keys[1]}={c} rather than {d}"
        for (a, b), (c, d) in product(combinations(one, 2), combinations(other, 2))
    ]
    rank = (len(one) - 1) * (len(other) - 1)
    return (within[:, c] - within[:, d]).reshape(-1, scores.shape[2]), names, rank
