"""Groups and letters by significant differences."""

from collections.abc import Collection
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp.stats import groups
from mnist_mlp.stats.groups import compact_letters, ordered_groups

CELLS = list("ABCDEFG")
PAIRS = st.sets(st.sampled_from(list(combinations(CELLS, 2))))


@given(PAIRS)
def test_compact_letters_share_one_exactly_if_not_significant(significant: Collection[tuple[str, str]]) -> None:
    letters = compact_letters(CELLS, significant)
    assert letters is not None
    for a, b in combinations(CELLS, 2):
        assert bool({*letters[a]} & {*letters[b]}) == ((a, b) not in significant)
    assert letters["A"].startswith("a")
    assert compact_letters(CELLS, [(b, a) for a, b in significant]) == letters  # the order within a pair is ignored


@given(PAIRS)
def test_ordered_groups_are_separated_and_as_many_as_possible(significant: Collection[tuple[str, str]]) -> None:
    found = ordered_groups(CELLS, significant)
    assert [cell for group in found for cell in group] == CELLS
    places = [number for number, group in enumerate(found) for _ in group]
    for cut in range(1, len(CELLS)):
        is_clean = all((a, b) in significant for a in CELLS[:cut] for b in CELLS[cut:])
        assert (places[cut] > places[cut - 1]) == is_clean


def test_compact_letters_follow_the_order_of_cells() -> None:
    pairs = [("A", "C"), ("A", "D"), ("B", "D")]
    assert compact_letters("ABCD", pairs) == {"A": "a", "B": "ab", "C": "bc", "D": "c"}
    assert compact_letters([], []) == {}
    assert ordered_groups([], []) == []


def test_compact_letters_with_too_many_groups_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [*range(53)]
    assert compact_letters(cells, combinations(cells[:52], 2)) is not None
    assert compact_letters(cells, combinations(cells, 2)) is None
    monkeypatch.setattr(groups, "MAX_COLUMNS", 2)
    assert compact_letters("ABC", combinations("ABC", 2)) is None


def test_ordered_groups_ignore_pairs_in_the_other_order() -> None:
    assert ordered_groups("AB", [("A", "B")]) == [["A"], ["B"]]
    assert ordered_groups("AB", [("B", "A")]) == [["A", "B"]]
