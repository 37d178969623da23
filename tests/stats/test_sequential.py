"""Interim analyses: levels, schedules, active and dropped cells."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import ndtri

from mnist_mlp.stats import sequential
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.sequential import alpha_spent, interim_analysis, interim_levels, interim_schedule
from tests.helpers.interim import LEVEL, NOISE, scores


@pytest.mark.parametrize(
    ("shares", "bounds"),
    [
        # Published bounds of five equally spaced analyses, two-sided, at 5%.
        ((0.2, 0.4, 0.6, 0.8, 1), (4.877, 3.357, 2.680, 2.290, 2.031)),
        ((1,), (1.960,)),
    ],
)
def test_interim_levels_equal_published_lan_demets_bounds(shares: Sequence[float], bounds: Sequence[float]) -> None:
    assert [-ndtri(level / 2) for level in interim_levels(shares, 0.05)] == pytest.approx(bounds, abs=5e-4)


@pytest.mark.parametrize(("looks", "tests"), [(10, 1), (4, 6), (46, 1)])
def test_interim_levels_simulated_error_equals_alpha_spent(looks: int, tests: int) -> None:
    shares = [0.1 + 0.9 * look / (looks - 1) for look in range(looks)]
    steps = np.random.default_rng(0).normal(size=(40_000, looks)) * np.sqrt(np.diff(shares, prepend=0))
    z = np.abs(steps.cumsum(axis=1)) / np.sqrt(shares)
    bounds = -ndtri(np.asarray(interim_levels(shares, 0.2, tests), dtype=float) / 2)
    for look in {0, looks // 2, looks - 1}:
        expected = 1 - (1 - alpha_spent(shares[look], 0.2)) ** (1 / tests)
        crossed = (z[:, : look + 1] > bounds[: look + 1]).any(axis=1).mean()
        assert crossed == pytest.approx(expected, abs=4 * np.sqrt(expected / len(z)))


def test_interim_levels_of_several_tests_have_sidak_correction() -> None:
    assert interim_levels([1], 0.05, 6) == pytest.approx([1 - 0.95 ** (1 / 6)])


def test_interim_levels_of_148_analyses_equal_finer_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [seeds / 150 for seeds in range(3, 151)]
    usual = interim_levels(shares, 0.05)
    monkeypatch.setattr(sequential, "SPACING", 2 * sequential.SPACING)
    assert usual == pytest.approx(interim_levels(shares, 0.05), rel=1e-6)


def test_interim_levels_strictest_analysis_is_finite() -> None:
    level = interim_levels([k / 1000 for k in (3, 4, 1000)], 0.05)[0]
    assert 0 < level < 1e-30
    pairs, _ = compare_pairs(
        scores(a=NOISE, b=NOISE[::-1], c=NOISE[1:] + NOISE[:1], d=[1 + n for n in NOISE]), 10_000, level=level
    )
    assert np.isfinite(pairs[["ci_low", "ci_high", "p_corrected"]]).all(axis=None)


def test_interim_schedule_runs_from_initial_to_maximum_seeds() -> None:
    assert [size for size, _ in interim_schedule(5, 5, 50, 2)] == list(range(5, 51, 5))
    assert [size for size, _ in interim_schedule(1, 1, 5, 2)] == [3, 4, 5]
    assert [size for size, _ in interim_schedule(2, 10, 7, 2)] == [7]
    # Three cells have three pairs, each of which gets about a third of the level of the single pair of two cells.
    one, three = (np.array([level for _, level in interim_schedule(5, 5, 20, cells)]) for cells in (2, 3))
    assert one[-1] / 4 < three[-1] < one[-1] / 2


def test_interim_schedule_of_4_cells_corrects_for_6_pairs() -> None:
    assert [level for _, level in interim_schedule(5, 5, 20, 4)] == interim_levels([0.25, 0.5, 0.75, 1], 0.05, 6)


def test_interim_analysis_drops_worse_cells_with_their_verdicts() -> None:
    table = scores(a=[0.05] * 8, b=NOISE, c=[-3 + noise for noise in NOISE[::-1]])
    found = interim_analysis(table, LEVEL, None, 10_000)
    assert (found.best, found.dropped, found.active) == ("a", ["c"], ["a", "b"])
    # Dropped cells keep their verdicts in later analyses, and the best cell is an active one.
    later = scores(a=[*[0.05] * 8, -0.5, -0.5], b=[*NOISE, 0.1, 0.1])
    found = interim_analysis(later, LEVEL, found.pairs, 10_000)
    assert (found.best, found.dropped, found.active) == ("b", [], ["a", "b"])
    verdicts = found.pairs.set_index(["a", "b"])["verdict"]
    assert (verdicts["a", "c"], verdicts["b", "c"]) == ("better", "better")


def test_interim_analysis_equivalent_cell_is_active_until_all_is_decided() -> None:
    # A cell equivalent to the best may still become the best: it stays active while another pair is inconclusive.
    wide = scores(a=NOISE, b=NOISE[::-1], c=[30 * noise for noise in NOISE])
    found = interim_analysis(wide, LEVEL, None, 10_000, margin=0.01)
    assert (found.dropped, found.active) == ([], ["a", "b", "c"])
    found = interim_analysis(scores(a=NOISE, b=NOISE[::-1]), LEVEL, None, 10_000, margin=0.05)
    assert (found.dropped, found.active) == ([], [])


def test_interim_analysis_without_variance_drops_no_cell() -> None:
    found = interim_analysis(scores(a=[1.0] * 8, b=[0.0] * 8), LEVEL)
    assert found.pairs["reason"].eq("no variance").all()
    assert (found.dropped, found.active) == ([], ["a", "b"])


def test_interim_analysis_bounds_limit_intervals_only_if_given() -> None:
    table = 100 * scores(a=NOISE[:3], b=[10 * noise for noise in NOISE[:3]])
    free, bounded = (interim_analysis(table, 1e-6, bounds=bounds).pairs for bounds in (None, (0.0, 100.0)))
    assert free["ci_high"].item() > 100
    assert (bounded["ci_low"].item(), bounded["ci_high"].item()) == (-100, 100)
