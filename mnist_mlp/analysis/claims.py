"""Claims of a comparison's headline, as data: groups of values or cells that differ, and bounds on other differences.

All claims of a headline hold together at an error rate of 5%. They come from the effects of the compared keys, which
share this rate. If effects were not tested, or if the sweep added seeds by interim analyses, they come from the pairs
of cells.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.stats.groups import ordered_groups
from mnist_mlp.stats.moderated_t import CONFIDENCE
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict

CELLS = "cells"  # in place of a key, in a claim on cells


class Claim(NamedTuple):
    """Claim on the values of a compared key, averaged over the other keys, or on cells.

    Attributes:
        key: Compared key, or `CELLS`.
        groups: Values or cells, the best group first. Each member of a group is significantly better than every member
            of the groups after it.
        gap: Mean difference between the first and the last group; 0 with a single group.
        bound: Largest absolute value in the simultaneous intervals of tested differences within groups. NaN if there
            is no such difference.
        significant: Number of significant differences, within groups too.
        tested: Number of tested differences.
        differences: Number of differences.
        strongest: Better and worse member of the most significant difference, and its mean; None if none is
            significant.
    """

    key: str
    groups: Sequence[Sequence[str]]
    gap: float
    bound: float
    significant: int
    tested: int
    differences: int
    strongest: tuple[str, str, float] | None


class Interaction(NamedTuple):
    """Claim that the effect of one key depends on the value of another.

    Attributes:
        keys: Both keys.
        difference: Name of the most significant difference of differences.
        mean: Its estimate.
    """

    keys: tuple[str, str]
    difference: str
    mean: float


class Claims(NamedTuple):
    """Claims of a headline.

    Attributes:
        of: Claims on the values of each key that varies, or a single claim on all cells. Empty if nothing was tested.
        interactions: Significant interactions.
    """

    of: Sequence[Claim]
    interactions: Sequence[Interaction]


def claims_from_effects(effects: pd.DataFrame, differences: pd.DataFrame) -> Claims:
    """Return the claims on each key.

    Args:
        effects: Effects that share the error rate (see `factorial_effects`).
        differences: The differences behind them.
    """
    claims, interactions = [], []
    for row, (name, part) in zip(effects.to_dict("records"), differences.groupby("effect", sort=False), strict=True):
        if (part["a"] != "").all():
            corrected = part["p_corrected"]
            claims.append(_claim(str(name), _ranked(part), part, corrected.notna(), corrected < 1 - CONFIDENCE))
        elif row["p"] < 1 - CONFIDENCE:
            first, _, second = str(name).partition(" × ")
            interactions.append(Interaction((first, second), row["most_significant"], row["difference"]))
    return Claims(claims, interactions)


def claims_from_pairs(pairs: pd.DataFrame, cells: Sequence[str]) -> Claims:
    """Return the claim on cells.

    Args:
        pairs: Pairs of cells (see `compare_pairs`).
        cells: Cells with a score, the best first.
    """
    tested = pairs["verdict"] != Verdict.NOT_TESTED
    if not tested.any():
        return Claims([], [])
    table = pairs.rename(columns={"difference": "mean"})
    return Claims([_claim(CELLS, cells, table, tested, pairs["verdict"].isin(SIGNIFICANT))], [])


def _claim(key: str, ranked: Sequence[str], part: pd.DataFrame, tested: pd.Series, is_real: pd.Series) -> Claim:
    better = part["mean"] > 0
    sides = pd.DataFrame({"a": part["a"].where(better, part["b"]), "b": part["b"].where(better, part["a"])})
    pairs = set(sides[is_real].itertuples(index=False, name=None))
    groups = ordered_groups(ranked, pairs)
    group_of = {member: number for number, group in enumerate(groups) for member in group}
    means, bounds = _symmetric(part["a"], part["b"], part["mean"]), np.maximum(-part["ci_low"], part["ci_high"])
    ends = [means[a, b] for a in groups[0] for b in groups[-1] if (a, b) in means] if len(groups) > 1 else [0.0]
    within = part["a"].map(group_of) == part["b"].map(group_of)
    return Claim(
        key,
        groups,
        float(np.mean(ends)),
        float(pd.Series(bounds[within]).max()),
        int(is_real.sum()),
        int(tested.sum()),
        len(ranked) * (len(ranked) - 1) // 2,
        _strongest(sides[is_real], part[is_real]),
    )


def _strongest(sides: pd.DataFrame, part: pd.DataFrame) -> tuple[str, str, float] | None:
    if part.empty:
        return None
    first = part.assign(size=-part["mean"].abs()).sort_values(["p_corrected", "size"], kind="stable").index[0]
    return sides["a"][first], sides["b"][first], abs(float(part["mean"][first]))


def _symmetric(a: pd.Series, b: pd.Series, mean: pd.Series) -> Mapping[tuple[str, str], float]:
    """Return each mean difference by its pair, in both orders."""
    found = dict(zip(zip(a, b, strict=True), mean, strict=True))
    return found | {(second, first): -value for (first, second), value in found.items()}


def _ranked(part: pd.DataFrame) -> list[str]:
    """Return the values of a key, the one with the highest average first."""
    means = _symmetric(part["a"], part["b"], part["mean"])
    values = list(dict.fromkeys([*part["a"], *part["b"]]))
    ahead = {value: sum(means[value, other] for other in values if other != value) for value in values}
    return sorted(values, key=lambda value: -ahead[value])
