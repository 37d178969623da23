"""Keys derived from `model.hidden`: `depth`, the number of hidden layers, and `width`, the units of each."""

import json
from collections.abc import Collection, Sequence
from numbers import Real
from typing import Any

import pandas as pd

from mnist_mlp.base.schema import DERIVED, HIDDEN


def add_derived(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs with the columns `depth` and `width`, if they have `model.hidden`.

    Both are NaN if any run has layers of different widths, since depth and width do not describe such a network.
    Without a hidden layer, the depth is 0 and the width is NaN.

    Args:
        runs: Runs or jobs; lists as JSON.
    """
    if HIDDEN not in runs:
        return runs
    shapes = [uniform_list(value) for value in runs[HIDDEN]]
    shapes = [None] * len(runs) if None in shapes else shapes
    columns = zip(*(shape or (None, None) for shape in shapes), strict=True)
    return runs.assign(**dict(zip(DERIVED, (pd.Series(of, runs.index, dtype=float) for of in columns), strict=True)))


def varying_derived(runs: pd.DataFrame) -> list[str]:
    """Return the derived keys that vary."""
    return [key for key in DERIVED if key in runs and runs[key].nunique(dropna=False) > 1]


def replace_derived(
    varying: Sequence[str], runs: pd.DataFrame, by: Collection[str], tuned: Collection[str]
) -> list[str]:
    """Replace `model.hidden` by the derived keys that vary, if one of them is compared and describes the network.

    Args:
        varying: Keys that vary.
        runs: Runs with the derived keys.
        by: Compared keys.
        tuned: Tuned keys. A tuned `model.hidden` stays.
    """
    if HIDDEN in tuned or not {*by} & {*DERIVED}:
        return list(varying)
    return list(dict.fromkeys([*(key for key in varying if key != HIDDEN), *varying_derived(runs)]))


def number(value: Any) -> float | None:
    """Return a finite or infinite number as a float; None for other values."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and value == value
    return float(value) if is_number else None


def uniform_list(value: Any) -> tuple[int, float | None] | None:
    """Return length and element (None without one) of a list of equal numbers, given as JSON; None for other values."""
    try:
        found = json.loads(value) if isinstance(value, str) and value.startswith("[") else None
        numbers = {*map(number, found)} if isinstance(found, list) else {None}
    except (ValueError, OverflowError, RecursionError):
        return None
    return None if len(numbers) > 1 or None in numbers else (len(found or ()), next(iter(numbers), None))
