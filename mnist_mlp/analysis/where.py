"""Part of the runs, as `report.py --where KEY=VALUE,...` selects it: whole cells and whole sections only."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from mnist_mlp.analysis.load import ENVIRONMENT, Results
from mnist_mlp.analysis.roles import CODE, FACTS, evaluation_runs
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.schema import Role, role_of
from mnist_mlp.base.sweep_file import CONFIRM


def parse(conditions: Sequence[str]) -> dict[str, list[str]]:
    """Parse conditions such as `optim=adam,sgd` or `model.hidden=[64],[64,64]`.

    Returns:
        Values by key, as typed.

    Raises:
        UserError: A condition lacks a key or a value, or a key is given twice.
    """
    found: dict[str, list[str]] = {}
    for condition in conditions:
        key, _, text = condition.partition("=")
        values = list(_values(text))
        if not key or not all(values):
            raise UserError(f"--where {condition}: expected KEY=VALUE[,VALUE...], such as optim=adam,sgd")
        if key in found:
            raise UserError(f"--where {condition}: {key} is given twice. Separate its values by commas.")
        found[key] = values
    return found


def keep(results: Results, where: Mapping[str, Sequence[str]], by: Sequence[str]) -> Results:
    """Return the results of the runs that have one of the given values of each key; the others are `excluded`.

    Args:
        results: Results of all runs.
        where: Values by key, as typed.
        by: Compared keys.

    Raises:
        UserError: A key is neither compared nor an evaluation condition, a value is not there, or no run is left.
    """
    runs = results.runs
    # The runs of a search whose selections were confirmed may have other conditions, and belong to the confirming runs.
    is_search = pd.Series(~runs.index.isin(evaluation_runs(runs).index), runs.index)
    keys = [key for key in map(str, runs) if key not in (*by, *FACTS, *CODE) and not key.startswith(ENVIRONMENT)]
    allowed = [*by, "data", *(key for key in keys if role_of(key) is Role.CONDITION)]
    kept = pd.Series(True, runs.index)
    for key, values in where.items():
        if key not in allowed:
            raise UserError(
                f"--where {key}={','.join(values)}: expected a compared key or an evaluation condition, such as "
                f"{', '.join(allowed)}. Tuned keys are selected within each cell, so that a part of their values has "
                "no fair score."
            )
        texts = runs[key].map(as_typed)
        there = sorted(texts[~is_search].unique() if key not in by else texts.unique(), key=sort_key)
        found: set[str] = set()
        for value in values:
            same = {value} & {*there} or {text for text in there if _canonical(text) == _canonical(value)}
            if not same:
                raise UserError(f"--where {key}={value}: expected one of {', '.join(there)}")
            found |= same
        kept &= texts.isin(found) | (is_search & (key not in by))
    confirming = kept & ~is_search & (runs["phase"] == CONFIRM)
    kept &= ~is_search | runs["chosen_in"].isin(runs.loc[confirming, "chosen_in"])
    if not kept.any():
        each = " ".join(f"--where {key}={','.join(values)}" for key, values in where.items())
        raise UserError(f"{each}: no run has all of these values")
    parts = []
    for rows in (kept, ~kept):
        metrics = results.metrics[results.metrics["run"].isin(runs.index[rows])]
        parts.append(replace(results, runs=runs[rows], metrics=metrics))
    return replace(parts[0], excluded=parts[1], where=where)


def _values(text: str) -> Iterator[str]:
    """Split a text at commas outside of brackets, braces and quotes."""
    depth, quote, begin = 0, "", 0
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[begin:place].strip()
            begin = place + 1
    yield text[begin:].strip()


def _canonical(text: str) -> str:
    """Return a text that is equal for different spellings of a number or a list."""
    try:
        return repr(float(text))
    except ValueError:
        return re.sub(r"(?<=[\[,])\s+|\s+(?=[\],])", "", text.strip("'\""))
