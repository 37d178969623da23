"""Verdicts against SciPy's tests and exact results, and their error rates."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from benchmarks.designs import Design, designs
from mnist_mlp.analysis.effort import TuningEffort
from mnist_mlp.report.figures import plots
from mnist_mlp.report.text.verdicts import seeds_needed
from mnist_mlp.stats.moderated_t import Noise
from mnist_mlp.stats.pairs import MAX_CELLS, compare_pairs
from mnist_mlp.stats.verdicts import Reason, Verdict
from tests.helpers.runs import Report, Write


def simulated(cells: int, seeds: int, number: int = 0, scale: float = 1.0, effect: float = 0.0) -> pd.DataFrame:
    """Return accuracies, cells x seeds, with a seed effect; every third cell is noisier, the first one better."""
    generator = np.random.default_rng([cells, seeds, number])
    scales = np.where(np.arange(cells) % 3 == 1, scale, 1.0)
    values = generator.standard_normal(seeds) + scales[:, None] * generator.standard_normal((cells, seeds))
    values[0] += effect
    return pd.DataFrame(0.9 + 0.002 * values, index=[f"c{number}" for number in range(cells)])


def test_compare_pairs_of_two_cells_is_paired_t_test() -> None:
    a, b = [0.971, 0.975, 0.969, 0.974], [0.968, 0.970, 0.968, 0.971]
    pairs, cells = compare_pairs(pd.DataFrame([a, b], index=["a", "b"]))
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(0.95)
    (row,) = pairs.to_dict("records")
    assert [row["difference"], row["p"], row["p_corrected"]] == pytest.approx([0.003, expected.pvalue, expected.pvalue])
    assert [row["ci_low"], row["ci_high"]] == pytest.approx([low, high])
    assert (row["n"], row["verdict"], cells) == (4, "better", 2)


def test_compare_pairs_of_three_cells_is_t_tests_with_sidak_correction() -> None:
    table = simulated(3, 6, scale=3.0, effect=3.0)
    pairs, _ = compare_pairs(table)
    p = [stats.ttest_rel(table.loc[a], table.loc[b]).pvalue for a, b in zip(pairs["a"], pairs["b"], strict=True)]
    assert pairs["p"].tolist() == pytest.approx(p)
    assert pairs["p_corrected"].tolist() == pytest.approx(multipletests(p, method="sidak")[1].tolist())
    each = 1 - 0.95 ** (1 / 3)
    for row in pairs.to_dict("records"):
        low, high = stats.ttest_rel(table.loc[row["a"]], table.loc[row["b"]]).confidence_interval(1 - each)
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([low, high])


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 12), st.integers(3, 6), st.integers(0, 10**6), st.floats(0, 0.4))
def test_compare_pairs_of_table_with_gaps_has_consistent_columns(
    cells: int, seeds: int, number: int, gaps: float
) -> None:
    table = simulated(cells, seeds, number, scale=4.0, effect=4.0)
    table = table.mask(np.random.default_rng(number).random(table.shape) < gaps)
    pairs, cells = compare_pairs(table)
    tested = pairs["p"].notna()
    for row in pairs.to_dict("records"):
        differences = (table.loc[row["a"]] - table.loc[row["b"]]).dropna()
        assert row["n"] == len(differences)
        assert row["difference"] == pytest.approx(differences.mean(), nan_ok=True)
    assert (pairs["verdict"] == Verdict.NOT_TESTED).equals(pairs["n"] < 3)
    assert (pairs["reason"] == Reason.TOO_FEW_SEEDS).equals(pairs["n"] < 3)
    assert tested.equals(pairs["n"] >= 3)
    assert cells == len(set(pairs.loc[tested, "a"]) | set(pairs.loc[tested, "b"]))
    real = pairs["verdict"].isin(["better", "worse"])
    assert real.equals(pairs["p_corrected"] < 0.05)
    assert real.equals((pairs["ci_low"] > 0) | (pairs["ci_high"] < 0))
    assert (pairs.loc[real, "verdict"] == "better").equals(pairs.loc[real, "difference"] > 0)
    assert pairs.loc[real, "additional_seeds"].isna().all()
    assert pairs.loc[tested & ~real, "additional_seeds"].ge(1).all()
    assert (pairs.loc[tested, "p_corrected"] >= pairs.loc[tested, "p"] * (1 - 1e-9)).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 6), st.integers(3, 5), st.integers(0, 10**6), st.floats(-0.05, 0.05))
def test_compare_pairs_shift_of_one_seed_changes_nothing(cells: int, seeds: int, number: int, shift: float) -> None:
    table = simulated(cells, seeds, number)
    moved = table.copy()
    moved[0] += shift
    one, other = compare_pairs(table)[0], compare_pairs(moved[moved.columns[::-1]])[0]
    for column in ("difference", "p", "p_corrected", "ci_low"):
        assert one[column].tolist() == pytest.approx(other[column].tolist(), rel=1e-5, abs=1e-9)


def test_compare_pairs_cells_of_few_seeds_change_no_other_pair() -> None:
    table = simulated(6, 8)
    short = pd.DataFrame(5.0, index=["short", "shorter"], columns=table.columns)  # wildly different
    short.loc["short", 2:] = np.nan
    short.loc["shorter", 1:] = np.nan
    pairs, cells = compare_pairs(pd.concat([table, short]))
    alone, _ = compare_pairs(table)
    short_pairs = pairs["a"].isin(short.index) | pairs["b"].isin(short.index)
    assert (pairs.loc[short_pairs, "reason"] == Reason.TOO_FEW_SEEDS).all()
    pd.testing.assert_frame_equal(pairs[~short_pairs].reset_index(drop=True), alone)
    assert cells == 6


def test_compare_pairs_diverged_run_keeps_verdicts_of_other_cells() -> None:
    table = simulated(8, 5, effect=6.0)
    before, _ = compare_pairs(table)
    table.loc["c7", 0] = 0.0  # scored as zero
    after, _ = compare_pairs(table)
    of_best = before["a"].eq("c0") & before["b"].ne("c7")
    assert before.loc[of_best, "verdict"].eq("better").all()
    assert after.loc[of_best, "verdict"].eq("better").all()
    assert after.loc[after["b"] == "c7", "verdict"].eq("inconclusive").all()


def test_compare_pairs_additional_seeds_equal_power_analysis() -> None:
    difference = np.array([1.0, 0.2, 0.6, 0.1, 0.3, 0.2, 0.0, 0.5]) / 100
    pairs, _ = compare_pairs(pd.DataFrame([difference, np.zeros(8)], index=["a", "b"]))
    assert pairs["verdict"].tolist() == ["better"]
    weak, _ = compare_pairs(pd.DataFrame([difference - 0.0025, np.zeros(8)], index=["a", "b"]))
    row = weak.iloc[0]
    effect = row["difference"] / (difference - 0.0025).std(ddof=1)
    n = TTestPower().solve_power(effect_size=effect, alpha=0.05, power=0.8)
    assert 8 + row["additional_seeds"] == pytest.approx(n, abs=2)
    assert (row["verdict"], row["reason"], row["n"]) == ("inconclusive", "", 8)
    assert seeds_needed(1) == "about 1 additional seed needed"
    assert seeds_needed(2.0) == "about 2 additional seeds needed"
    assert "1,000" in seeds_needed(np.inf)
    equal, _ = compare_pairs(pd.DataFrame([[0.1, 0.2, 0.3], [0.2, 0.3, 0.1]], index=["a", "b"]))
    assert equal["additional_seeds"].tolist() == [np.inf]


@pytest.mark.parametrize("ratio", [0.6, 0.8, 1.0, 1.4, 1.8, 2.2])
def test_compare_pairs_additional_seeds_are_fewest_for_power(ratio: float) -> None:
    """Two cells with three seeds, whose difference is `ratio` standard deviations."""
    difference = (ratio + np.array([-1.0, 0.0, 1.0])) / 1000
    (row,) = compare_pairs(pd.DataFrame([0.9 + difference, [0.9] * 3], index=["a", "b"]))[0].to_dict("records")
    enough = next(
        m for m in range(3, 40) if ratio >= (stats.t.isf(0.025, m - 1) + stats.t.ppf(0.8, m - 1)) / np.sqrt(m)
    )
    assert row["additional_seeds"] == enough - 3 >= 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_compare_pairs_of_fewer_than_three_seeds_is_not_tested(seeds: int) -> None:
    table = pd.DataFrame([[0.9, 0.91], [0.1, 0.1]], index=["a", "b"]).iloc[:, :seeds]
    pairs, cells = compare_pairs(table)
    assert pairs[["verdict", "reason"]].to_numpy().tolist() == [["not tested", "too few seeds"]]
    assert pairs["difference"].tolist() == pytest.approx([(table.loc["a"] - table.loc["b"]).mean()])
    assert cells == 0
    assert pairs["p"].isna().all()
    disjoint = pd.DataFrame([[0.9] * 3 + [np.nan] * 3, [np.nan] * 3 + [0.8] * 3], index=["a", "b"])
    assert compare_pairs(disjoint)[0]["reason"].tolist() == ["too few seeds"]


def test_compare_pairs_constant_small_difference_is_inconclusive() -> None:
    """Three seeds, each with a difference of two of 299 images."""
    table = pd.DataFrame([[0.96, 0.95, 0.97], [0.96, 0.95, 0.97]], index=["a", "b"])
    table.loc["a"] = (np.round(table.loc["a"] * 299) + 2) / 299
    table.loc["b"] = np.round(table.loc["b"] * 299) / 299
    (row,) = compare_pairs(table, images=299)[0].to_dict("records")
    assert row["p"] == pytest.approx(2 * stats.t.sf(np.sqrt(6), 2))  # t = 2 / sqrt(2 / 3), by McNemar's bound
    assert row["ci_high"] - row["difference"] == pytest.approx(stats.t.isf(0.025, 2) * np.sqrt(2 / 3) / 299)
    assert row["verdict"] == "inconclusive"
    (row,) = compare_pairs(table)[0].to_dict("records")  # the number of images is unknown
    assert (row["verdict"], row["reason"]) == ("not tested", "no variance")


def test_compare_pairs_variance_bound_counts_differing_images() -> None:
    table = pd.DataFrame([[0.9] * 3, [0.8] * 3, [0.8] * 3], index=["a", "b", "c"])
    assert compare_pairs(table, images=10_000)[0]["verdict"].tolist() == ["better", "better", "inconclusive"]
    small = compare_pairs(table, images=20)[0]  # two images
    assert small["verdict"].tolist() == ["inconclusive"] * 3
    noisy = simulated(6, 4, scale=3.0)
    for unknown in (0, float("nan"), -1):
        pd.testing.assert_frame_equal(compare_pairs(noisy)[0], compare_pairs(noisy, images=unknown)[0])
    pd.testing.assert_frame_equal(compare_pairs(noisy)[0], compare_pairs(noisy, images=10**9)[0])


def test_compare_pairs_rounding_error_is_no_difference() -> None:
    table = pd.DataFrame([[0.9, 0.9, 0.9], [0.1 + 0.2 + 0.6, 0.9, 0.3 * 3]], index=["a", "b"])
    assert table.T.nunique(axis=1).max() == 2
    (row,) = compare_pairs(table)[0].to_dict("records")
    assert (row["difference"], row["p"]) == (0.0, 1.0)


def test_compare_pairs_intervals_stay_within_bounds() -> None:
    table = pd.DataFrame([[0.98, 0.0, 0.97], [0.97, 0.96, 0.0], [0.2, 0.9, 0.4]], index=["a", "b", "c"])
    pairs, _ = compare_pairs(table, bounds=(0, 1))
    assert pairs["ci_low"].ge(-1).all()
    assert pairs["ci_high"].le(1).all()
    pairs, _ = compare_pairs(table.iloc[:2] + 4, bounds=(4, 5))
    assert pairs[["ci_low", "ci_high"]].to_numpy().tolist() == [[-1, 1]]


@pytest.mark.parametrize("sign", [-1, 1])
def test_compare_pairs_interval_beyond_one_side_of_the_margin_is_inconclusive(sign: int) -> None:
    table = pd.DataFrame([[-0.020, -0.010, 0.000, -0.012], [0.0] * 4], index=["a", "b"]) * sign
    for margin, verdict in ((0.020, "inconclusive"), (0.024, "equivalent")):
        pairs, _ = compare_pairs(table, margin=margin)
        assert pairs["verdict"].tolist() == [verdict]
        assert np.abs(pairs[["ci_low", "ci_high"]].to_numpy()).min() < 0.003


def test_compare_pairs_of_unequal_effort_are_not_tested() -> None:
    table = simulated(3, 5, effect=20.0)
    ten, one = TuningEffort(((5, 10),)), TuningEffort(((5, 1),))
    same, _ = compare_pairs(table, efforts={"c0": ten, "c1": TuningEffort(((5, 10),)), "c2": one})
    free, _ = compare_pairs(table)
    by_pair = same.set_index(["a", "b"])
    assert by_pair["verdict"]["c0", "c1"] == free["verdict"].iloc[0] == "better"
    assert list(by_pair.loc[("c0", "c2"), ["verdict", "reason"]]) == ["not tested", "unequal tuning"]
    declined = same[same["b"] == "c2"]
    assert declined[["ci_low", "ci_high", "p", "p_corrected", "additional_seeds"]].isna().all(axis=None)
    assert declined["difference"].notna().all()
    pd.testing.assert_frame_equal(compare_pairs(table, efforts=dict.fromkeys(table.index, ten))[0], free)


def test_compare_pairs_of_many_cells_corrects_for_all_pairs() -> None:
    table = simulated(MAX_CELLS + 1, 3, effect=8.0)
    pairs, cells = compare_pairs(table)
    assert len(pairs) == (MAX_CELLS + 1) * MAX_CELLS / 2
    assert cells == MAX_CELLS + 1
    assert pairs["p_corrected"].iloc[0] == pytest.approx(1 - (1 - pairs["p"].iloc[0]) ** (151 * 150 / 2), rel=1e-3)


def test_report_of_many_cells_shows_pairs_with_the_best_cell(
    tmp_path: Path, write_run: Write, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "MAX_CELLS", MAX_CELLS // 10)  # fewer figures and no heatmap, for speed
    cells = {
        (f"init{n}", "nag", 0.0): [0.6 + n / 1000 + seed / 2000 * (1 + n % 3) for seed in (0, 1, 2)]
        for n in range(MAX_CELLS)
    }
    cells["he", "adam", 0.0] = [0.97, 0.5, 0.98]  # the best, and too noisy to differ from any other
    cells["he", "sgd", 0.0] = [0.5, 0.4, 0.5]
    cells["he", "momentum", 0.9] = [0.45, 0.5, 0.44]  # worse within the noise
    for (init, optim, momentum), accuracies in cells.items():
        for seed, accuracy in enumerate(accuracies):
            target = {"_target_": "torch.optim.SGD", "momentum": momentum}
            write_run(init, optim, seed, test=[0.1, accuracy], optim_config=target)
    report()
    text = (tmp_path / "report/report.md").read_text()
    pairs = math.comb(MAX_CELLS + 3, 2)
    assert re.search(rf"every other cell is inconclusive; .* [0-9]+ of {pairs} pairs do differ, such as", text)
    assert "Many cells" in text
    assert "Momentum loses" not in text
    shown = pd.read_csv(tmp_path / "report/pairs.csv")
    assert len(shown) == MAX_CELLS + 2
    assert set(shown["optim_a"]) == {"adam"}
    assert f"Only pairs with the best cell, of {pairs:,} pairs." in (tmp_path / "report/index.html").read_text()


EQUAL = {(d.name, d.cells, d.seeds): d for d in designs()}
SOME = [
    ("equal noise", 4, 3),
    ("a third twice as noisy", 24, 5),
    ("a third four times", 4, 5),
    ("a third four times", 16, 3),
    ("log-normal noise", 4, 5),
    ("one outlier in fifty", 2, 5),
    ("binomial, 100 images", 4, 10),
    ("binomial, 1,000 images", 2, 5),
    ("two of n = 2, four times", 4, 10),
    ("one with seeds of its own, three times", 4, 18),
    ("a third four times, 2 seeds left", 24, 10),
    ("a third four times, 3 seeds left", 24, 5),
]


def share_with(design: Design, sweeps: int, verdicts: list[str]) -> float:
    """Return the share of simulated sweeps with one of these verdicts."""
    return float(
        np.mean(
            [
                compare_pairs(
                    pd.DataFrame(design.make(np.random.default_rng(n), design.cells, design.seeds)), design.images
                )[0]["verdict"]
                .isin(verdicts)
                .any()
                for n in range(sweeps)
            ]
        )
    )


@pytest.fixture
def _without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the search for the widths of intervals, which takes 80% of the time and affects no verdict.

    If a verdict depended on the widths, intervals of width zero would make every difference significant.
    """
    monkeypatch.setattr(Noise, "quantile", lambda noise, level, which: np.zeros(len(which)))


@pytest.mark.usefixtures("_without_intervals")
@pytest.mark.parametrize("name", SOME, ids=str)
def test_compare_pairs_false_verdicts_are_rare(name: tuple[str, int, int]) -> None:
    """For all designs and more sweeps, see benchmarks/verdicts.py."""
    sweeps = 100
    assert share_with(EQUAL[name], sweeps, ["better", "worse"]) <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / sweeps)


@pytest.mark.parametrize(("cells", "least"), [(2, 0.85), (24, 0.65)])
def test_compare_pairs_finds_true_difference_with_five_seeds(cells: int, least: float) -> None:
    found = [
        (compare_pairs(simulated(cells, 5, number, effect=3))[0].query("a == 'c0'")["verdict"] == "better").mean()
        for number in range(60)
    ]
    assert np.mean(found) >= least  # 94% and 73% over hundreds of sweeps
