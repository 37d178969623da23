"""Notes: caveats of a comparison, and the shortening of long lists and texts in them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

TAIL = 14  # characters that a shortened text keeps of its end
STEP = 10  # characters to add to shortened texts until they differ
NAMED = 6  # names in a list before "and … more"


class Note(NamedTuple):
    """Caveat of a comparison."""

    topic: str
    text: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


def list_names(names: Sequence[str]) -> str:
    """Return the first few names as text, with the number of the others."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more} more" if more > 0 else "")


def shorten_all(texts: Sequence[str], most: int, tail: int = TAIL) -> list[str]:
    """Shorten long texts, as far as different texts stay different.

    Args:
        texts: Texts; may contain duplicates.
        most: Number of characters beyond which a text is shortened; shortened texts that coincide keep more.
        tail: Number of characters that a shortened text keeps of its end, after an ellipsis; 0 cuts off the end.
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
