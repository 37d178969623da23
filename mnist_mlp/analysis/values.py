"""Texts of configuration values, and their natural order."""

import json
import math
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import pandas as pd

Table = TypeVar("Table", pd.Series, pd.DataFrame)


def as_typed(value: object) -> str:
    """Return a configuration value as it is typed on the command line; NaN is null.

    Text that would be read as a value of another type is quoted, so different values have different texts.
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


def distinguish_values(values: pd.Series) -> pd.Series:
    """Return values as texts if they mix booleans and numbers, since pandas equates true and 1; NaN stays."""
    kinds = {*map(type, values)} if values.dtype == object else set()
    return values.map(as_typed).where(values.notna()) if bool in kinds and kinds & {int, float} else values


def as_text(fact: object) -> str:
    """Return a fact, such as a version, as text: like `as_typed`, except that text is never quoted."""
    return fact if isinstance(fact, str) else as_typed(fact)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))  # nan is text
    except ValueError:
        return False


def sort_key(text: str) -> tuple[int, tuple[float, ...], str]:
    """Return the sort key of a typed value, for the natural order.

    Numbers come first, by size, then lists of numbers, by length and elements, then text, and null (no value) last.
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
    """Return the rank of each value in the natural order of a column (see `sort_key`)."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.rank(method="dense", na_option="bottom")
    texts = values.map(as_typed)
    places = {text: place for place, text in enumerate(sorted(texts.unique(), key=sort_key))}
    return texts.map(places)


def cell_key(cell: str) -> tuple[Any, ...]:
    """Return the sort key of the name of a cell (see `cell_names`): the natural order of its values, in turn."""
    return (*(sort_key(part.partition("=")[2] or part) for part in cell.split(" / ")), cell)


def by_cell(table: Table) -> Table:
    """Sort a table or series by the names of cells in its index, in natural order."""
    return table.loc[sorted(map(str, table.index), key=cell_key)]
