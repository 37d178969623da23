"""One thing to beware of, and how much of it is told."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

TAIL = 14  # characters of its end that a shortened text keeps
STEP = 10  # characters by which texts that look alike are longer
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


def shortened(texts: Sequence[str], most: int, tail: int = TAIL) -> list[str]:
    """Return texts without the middles of long ones; where these would look alike, with so much more that they differ.

    Args:
        texts: Texts, any of them several times.
        most: Characters of a text that is not to be shortened.
        tail: Characters that a shortened text keeps of its end, after an ellipsis; 0 to cut off the end instead.
    """
    short = {text: _cut(text, most, tail) for text in texts}
    while (counts := Counter(short.values())).total() > len(counts):
        alike = [text for text, cut in short.items() if counts[cut] > 1]
        most += STEP
        short |= {text: _cut(text, most, tail) for text in alike}
    return [short[text] for text in texts]


def _cut(text: str, most: int, tail: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[: most - tail - 1]}…{text[-tail:]}" if tail else text[:most]
