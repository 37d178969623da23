"""Groups of cells by significant differences: an order of groups, and a compact letter display."""

import string
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import TypeVar

Cell = TypeVar("Cell", bound=Hashable)
LETTERS = string.ascii_lowercase + string.ascii_uppercase
MAX_COLUMNS = 300  # of a display under construction; more end with too many letters, and take minutes


def ordered_groups(cells: Sequence[Cell], significant: Collection[tuple[Cell, Cell]]) -> list[list[Cell]]:
    """Split cells into groups, so that each cell differs significantly from every cell of another group.

    Args:
        cells: Cells in order, the best first.
        significant: Significantly different pairs, with the better cell first. Other pairs separate no groups.

    Returns:
        As many groups as possible, the best first; a single group if no split is possible.
    """
    pairs = set(significant)
    groups: list[list[Cell]] = []
    for place, cell in enumerate(cells):
        if all((above, below) in pairs for above in cells[:place] for below in cells[place:]):
            groups.append([])
        groups[-1].append(cell)
    return groups


def compact_letters(cells: Sequence[Cell], significant: Iterable[tuple[Cell, Cell]]) -> dict[Cell, str] | None:
    """Return a compact letter display: two cells share a letter exactly if their difference is not significant.

    Letters are found by the insert-and-absorb algorithm (Piepho 2004, "An algorithm for a letter-based representation
    of all-pairwise comparisons", Journal of Computational and Graphical Statistics 13:456).

    Args:
        cells: Cells in order, the best first; "a" belongs to the first.
        significant: Significantly different pairs, in any order. Pairs that were not tested do not belong to them, so
            these cells share a letter.

    Returns:
        Letters of each cell; None if 52 letters are not enough.
    """
    columns = [frozenset(cells)] if cells else []
    for pair in significant:
        split: list[frozenset[Cell]] = []
        for column in columns:
            split += [column - {cell} for cell in pair] if column.issuperset(pair) else [column]
        columns = _absorb(split)
        if len(columns) > MAX_COLUMNS:
            return None
    if len(columns) > len(LETTERS):
        return None
    place = {cell: number for number, cell in enumerate(cells)}
    ordered = sorted(columns, key=lambda column: sorted(place[cell] for cell in column))
    return {
        cell: "".join(letter for letter, column in zip(LETTERS, ordered, strict=False) if cell in column)
        for cell in cells
    }


def _absorb(columns: Collection[frozenset[Cell]]) -> list[frozenset[Cell]]:
    """Remove columns that are part of another one."""
    kept: list[frozenset[Cell]] = []
    for column in sorted(set(columns), key=len, reverse=True):
        if not any(column <= other for other in kept):
            kept.append(column)
    return kept
