"""One thing to beware of, and how much of it is told."""

from collections.abc import Sequence
from typing import NamedTuple

NAMED = 6  # cells listed in a note before "and … more"


class Note(NamedTuple):
    """One thing to beware of."""

    topic: str
    text: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


def listed(names: Sequence[str]) -> str:
    """Names in a row, the first few of many."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more} more" if more > 0 else "")
