"""Values of keys as texts, and their natural order."""

import json
import math
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import pandas as pd

Table = TypeVar("Table", pd.Series, pd.DataFrame)


def as_typed(value: object) -> str:
    """A configuration value as one types it; NaN stands for null in a column of numbers.

    A text that would be read as another value is in quotes, so that different values have different texts.
    """
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float):
        if np.isnan(value):
            return "null"
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(float(value))
    if isinstance(value, str):
        return f"'{value}'" if value in ("null", "true", "false") or _is_number(value) else value
    return "null" if value is None else str(value)


def told_apart(values: pd.Series) -> pd.Series:
    """Return values as texts if booleans are among numbers, since true equals 1 for pandas; missing ones stay."""
    kinds = {*map(type, values)} if values.dtype == object else set()
    return values.map(as_typed).where(values.notna()) if bool in kinds and kinds & {int, float} else values


def as_said(fact: object) -> str:
    """What is no value of a configuration, such as a version: a text as it is."""
    return fact if isinstance(fact, str) else as_typed(fact)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))  # no value is typed nan
    except ValueError:
        return False


def sort_key(text: str) -> tuple[int, tuple[float, ...], str]:
    """Return what sorts values of a key, as typed, in their natural order.

    Numbers by size, lists of numbers by length and then number by number, texts by name, and null (no value) last.
    """
    if text == "null":
        return (3, (), "")
    if _is_number(text):
        return (0, (float(text),), text)
    if text.startswith("["):
        with suppress(ValueError, TypeError, OverflowError, RecursionError):
            values = json.loads(text)
            return (1, (len(values), *map(float, values)), text)
    return (2, (), text)


def natural_rank(values: pd.Series) -> pd.Series:
    """Return the place of each value in the natural order of a column (see `sort_key`)."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.rank(method="dense", na_option="bottom")
    texts = values.map(as_typed)
    places = {text: place for place, text in enumerate(sorted(texts.unique(), key=sort_key))}
    return texts.map(places)


def cell_key(cell: str) -> tuple[Any, ...]:
    """Return what sorts names of cells: by the natural order of one key after the other (see `cell_names`)."""
    return (*(sort_key(part.partition("=")[2] or part) for part in cell.split(" / ")), cell)


def by_cell(table: Table) -> Table:
    """Return a table or series whose index are names of cells in their natural order."""
    return table.loc[sorted(map(str, table.index), key=cell_key)]
