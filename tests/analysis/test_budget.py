"""Budget curves: enumeration of all draws, hand calculation, general properties, and the report."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnist_mlp.analysis.budget import curves
from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.load import load
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import is_scored
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.report.figures import panels
from mnist_mlp.report.figures.scales import with_errors
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text.budget import answer, as_accuracies, reading
from mnist_mlp.stats.tuning_curves import Lead, _mean_and_ends, best_of, expected_best, leads
from tests.helpers.runs import Report, Write

Scores = Sequence[tuple[float, float]]  # validation and test accuracy of each configuration, in order
EXACT = 1e-12


def runs_of(cells: Mapping[str, Scores]) -> pd.DataFrame:
    """Return one completed run per configuration; the tuned key is lr."""
    rows = [(cell, lr, val, test) for cell, scores in cells.items() for lr, (val, test) in enumerate(scores)]
    frame = pd.DataFrame(rows, columns=[CELL, "lr", "val_accuracy", "test_accuracy"])
    return frame.assign(status="completed", validated=True, val_loss=1.0, **{REPLICATE: 0})


def curves_of(cells: Mapping[str, Scores]) -> pd.DataFrame:
    return curves(runs_of(cells), ["lr"], list(cells)).set_index([CELL, "k"])


def draws(scores: Scores, k: int) -> list[tuple[float, float]]:
    """Return validation and test accuracy of the selection from every draw of k configurations."""
    return _draws(tuple(scores), k)


@cache  # selection is slow
def _draws(scores: tuple[tuple[float, float], ...], k: int) -> list[tuple[float, float]]:
    runs = runs_of({"a": scores})
    drawn = [runs.loc[list(places)] for places in combinations(range(len(scores)), k)]
    selected = [part[is_scored(part, ["lr"])] for part in drawn]
    return [(float(run["val_accuracy"].iloc[0]), float(run["test_accuracy"].iloc[0])) for run in selected]


def quantile(values: Sequence[float], share: Fraction) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


ENUMERATED: dict[str, dict[str, Scores]] = {
    "no ties": {
        "a": [(0.91, 0.90), (0.97, 0.93), (0.50, 0.55), (0.96, 0.96), (0.80, 0.79)],
        "b": [(0.92, 0.91), (0.95, 0.94), (0.10, 0.20), (0.94, 0.95), (0.93, 0.89)],
    },
    "ties everywhere": {
        "a": [(0.9, 0.8), (0.9, 0.7), (0.0, 0.0), (0.8, 0.9), (0.8, 0.8)],
        "b": [(0.9, 0.7), (0.8, 0.8), (0.9, 0.9), (0.0, 0.0)],
        "c": [(0.0, 0.0), (0.9, 0.8), (0.9, 0.8), (0.8, 0.9)],
    },
    "unequal numbers": {
        "a": [(0.7, 0.7), (0.8, 0.75), (0.9, 0.8)],
        "b": [(0.6, 0.9), (0.9, 0.6), (0.8, 0.7), (0.5, 0.5), (0.7, 0.8)],
        "c": [(0.65, 0.7), (0.7, 0.6), (0.8, 0.75), (0.6, 0.8)],
    },
    "all alike": {cell: [(0.9, 0.9)] * 3 for cell in "abcd"},
}


@pytest.mark.parametrize("name", ENUMERATED)
def test_curves_equal_enumeration_of_every_draw(name: str) -> None:
    cells = ENUMERATED[name]
    table = curves_of(cells)
    assert list(table.index) == [(cell, k) for cell, scores in cells.items() for k in range(1, len(scores) + 1)]
    for cell, k in table.index:
        row, taken = table.loc[(cell, k)], draws(cells[cell], k)
        for of, values in zip(("val", "test"), zip(*taken, strict=True), strict=True):
            assert row[f"{of}_expected"] == pytest.approx(math.fsum(values) / len(values), abs=EXACT)
            ends = [quantile(values, Fraction(share, 10)) for share in (1, 9)]
            assert [row[f"{of}_low"], row[f"{of}_high"]] == ends


def test_curves_of_three_configurations_equal_hand_calculation() -> None:
    # Cell a, worst first: 0.5, 0.8, 0.9. The best of two is the second in one draw of three, the third in two.
    table = curves_of({"a": [(0.8, 0.7), (0.5, 0.6), (0.9, 0.5)], "b": [(0.2, 0.3), (0.3, 0.55), (0.4, 0.65)]})
    a, b = table.loc["a"], table.loc["b"]
    assert a["val_expected"].tolist() == pytest.approx([2.2 / 3, 2.6 / 3, 0.9])
    assert a["test_expected"].tolist() == pytest.approx([0.6, 1.7 / 3, 0.5])
    assert b["test_expected"].tolist() == pytest.approx([0.5, 1.85 / 3, 0.65])
    assert a[["test_low", "test_high"]].to_numpy().tolist() == [[0.5, 0.7], [0.5, 0.7], [0.5, 0.5]]


def test_curves_band_ends_at_lowest_and_highest_tenth_of_draws() -> None:
    scores = [(level / 100, level / 100) for level in range(10)]  # one of ten is exactly the lowest tenth
    table = curves_of({"a": scores, "b": scores}).loc["a"]
    assert table[["val_low", "val_high"]].to_numpy().tolist()[0] == [0.0, 0.08]
    assert table[["val_low", "val_high"]].to_numpy().tolist()[-1] == [0.09, 0.09]


accuracies = st.integers(0, 8).map(lambda eighths: eighths / 8)
some_cells = st.lists(st.lists(st.tuples(accuracies, accuracies), min_size=3, max_size=12), min_size=2, max_size=6)


@settings(deadline=None, max_examples=20)
@given(some_cells)
@example([[(0.0, 0.0)] * 3] * 5)
def test_curves_of_any_scores_rise_and_end_at_the_selection(cells: list[list[tuple[float, float]]]) -> None:
    named = {f"c{number}": scores for number, scores in enumerate(cells)}
    runs = runs_of(named)
    table, selected = curves_of(named), runs[is_scored(runs, ["lr"])].set_index(CELL)
    for cell, scores in named.items():
        curve, means = table.loc[cell], np.mean(scores, axis=0)
        assert curve[["val_expected", "test_expected"]].iloc[0].tolist() == pytest.approx(means.tolist())
        assert np.diff(curve["val_expected"].to_numpy()).min() >= -EXACT
        for of in ("val", "test"):  # with all configurations there is one draw: the selection
            end = curve[[f"{of}_expected", f"{of}_low", f"{of}_high"]].iloc[-1]
            assert end.tolist() == [selected.loc[cell, f"{of}_accuracy"]] * 3
            assert (curve[f"{of}_high"] - curve[f"{of}_low"] >= 0).all()
    ahead = leads(table.reset_index())
    assert [lead.first for lead in ahead] == [1, *(lead.last + 1 for lead in ahead[:-1])]
    assert ahead[-1].last == min(map(len, cells))
    assert all(one.cell != other.cell for one, other in pairwise(ahead))


def test_best_of_thousands_of_configurations_is_exact() -> None:
    masses: Iterator[np.ndarray] = best_of(4000)
    for k, mass in enumerate(masses, start=1):
        assert mass.sum() == pytest.approx(1, abs=1e-10)
        # The expected maximum of k numbers out of 1, 2, …, N is k (N + 1) / (k + 1).
        assert mass @ np.arange(1, 4001) == pytest.approx(k * 4001 / (k + 1), rel=1e-10)


def test_curves_count_divergence_as_zero_and_exclude_failure() -> None:
    runs = runs_of({"a": [(0.9, 0.8)] * 4, "b": [(0.5, 0.5)] * 3})
    more = runs_of({"a": [(0.7, 0.6)] * 4}).assign(replicate=1, status=["completed", "diverged", "failed", "completed"])
    runs.loc[3, "status"] = more.loc[3, "status"] = "failed"
    table = curves(pd.concat([runs, more], ignore_index=True), ["lr"], ["b", "a"], ONCE)
    assert table[CELL].tolist() == ["b"] * 3 + ["a"] * 3  # a has three configurations with results
    first = table[table["k"] == 1].iloc[1]
    assert first["val_expected"] == pytest.approx((0.8 + 0.45 + 0.9) / 3)
    assert first["test_expected"] == pytest.approx((0.7 + 0.4 + 0.8) / 3)


def test_curves_without_result_or_tuned_key_are_empty() -> None:
    failed = runs_of({"a": [(0.9, 0.8)] * 3, "b": [(0.5, 0.5)] * 3}).assign(status="failed")
    for how in (EACH, ONCE):
        for tuned in (["lr"], []):
            assert curves(failed, tuned, ["a", "b"], how).columns.tolist() == [
                *(CELL, "k", "val_expected", "val_low", "val_high", "test_expected", "test_low", "test_high")
            ]


def test_mean_and_ends_are_tenths_of_all_draws() -> None:
    values = [np.arange(50.0), np.arange(50.0, 100)]
    assert _mean_and_ends(values, [np.full(50, 1 / 50)] * 2) == (49.5, 9, 89)


def test_expected_best_is_mean_over_replicates() -> None:
    rows = [
        *(("b", 0, 0.1, 5.0), ("b", 0, 0.3, 7.0), ("b", 0, 0.3, 9.0), ("b", 0, np.nan, 0.0)),
        *(("b", 1, 0.2, 1.0), ("a", 0, 4.0, np.nan), ("a", 0, 3.0, 2.0), ("c", 0, np.nan, 1.0)),
    ]
    candidates = pd.DataFrame(rows, columns=["cell", "replicate", "selection", "test"])
    table = expected_best(candidates)
    assert [*zip(table["cell"], table["k"], strict=True)] == [("b", 1), ("b", 2), ("b", 3), ("a", 1), ("a", 2)]
    # Of equal selection scores the first row is selected: of two in b's first replicate, 7, 7 or 9.
    assert table["test_expected"].tolist() == pytest.approx([4.0, (23 / 3 + 1) / 2, 4.0, 2.0, np.nan], nan_ok=True)
    assert table["selection_expected"].tolist() == pytest.approx([(0.7 / 3 + 0.2) / 2, (0.3 + 0.2) / 2, 0.25, 3.5, 4.0])
    assert leads(table) == [Lead("b", 1, 2)]
    assert expected_best(candidates.head(0)).columns.equals(table.columns)


def test_leads_means_equal_up_to_rounding_are_tied() -> None:
    table = curves_of({"b": [(0.5, 0.3)] * 3, "a": [(0.5, 0.1 + 0.2)] * 3})
    assert leads(table.reset_index()) == [Lead("b", 1, 3)]


def test_curves_need_two_cells_of_three_configurations() -> None:
    three, two = [(0.9, 0.9), (0.8, 0.8), (0.7, 0.7)], [(0.9, 0.9), (0.8, 0.8)]
    assert curves_of({"a": three, "b": two}).empty
    assert curves(runs_of({"a": three, "b": three}), [], ["a", "b"]).empty
    assert set(curves_of({"a": three, "b": two, "c": three}).index.get_level_values(CELL)) == {"a", "c"}


def test_leads_report_each_change_of_the_best_cell() -> None:
    table = pd.DataFrame(
        {
            CELL: ["a"] * 5 + ["b"] * 4,
            "k": [1, 2, 3, 4, 5, 1, 2, 3, 4],
            "test_expected": [0.5, 0.7, 0.8, 0.9, 0.0, 0.6, 0.7, 0.7, 1.0],
        }
    )
    assert leads(table) == [Lead("b", 1, 2), Lead("a", 3, 3), Lead("b", 4, 4)]
    assert leads(table[table["k"] == 2]) == [Lead("a", 2, 2)]  # tied: the first
    assert leads(table[table["k"] == 2].iloc[::-1]) == [Lead("b", 2, 2)]


def write_tuned(write_run: Write) -> None:
    """Write runs of Adam, good at any rate, and of SGD, which is better at one rate and diverges at another."""
    for lr, test in ((0.001, 0.93), (0.01, 0.94), (0.1, 0.92)):
        write_run(optim="adam", lr=lr, test=[0.1, test])
    write_run(optim="sgd", lr=0.1, test=[0.1, 0.97])
    write_run(optim="sgd", lr=0.01, test=[0.1, 0.9])
    write_run(optim="sgd", lr=1.0, test=[0.1], epochs=1, status="diverged", reason="nan")


def compared(tmp_path: Path) -> Comparison:
    return compare(load([tmp_path / "sweep"]), target=0.9)


EXPECTED = {"adam": [0.93, (0.93 + 2 * 0.94) / 3, 0.94], "sgd": [1.87 / 3, (0.9 + 2 * 0.97) / 3, 0.97]}


def test_report_states_which_cell_leads_at_each_budget(
    write_run: Write, report: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tuned(write_run)
    report()
    sentence = (
        "Which cell is ahead depends on how many configurations are tried: by expected test accuracy, he / adam with "
        "1, he / sgd with 2 or 3. "
    )
    text, page = ((tmp_path / "report" / name).read_text() for name in ("report.md", "index.html"))
    assert sentence in capsys.readouterr().out
    assert sentence in text
    assert "whether a lead is more than chance over seeds is not tested" in text
    assert "Band, only at the best cell of each panel: the middle 80% of the draws of all seeds" in text
    assert "![Expected test error against the number of configurations tried, for 2 cells.](figures/budget.png)" in text
    assert "- Tuning curves: k of a cell's configurations are drawn without replacement" in text
    assert '<a href="budget.csv">' in page
    assert (tmp_path / "report/figures/budget.svg").exists()
    table = pd.read_csv(tmp_path / "report" / "budget.csv")
    ends = [f"{of}_{what}" for of in ("val", "test") for what in ("expected", "low", "high")]
    assert list(table.columns) == ["init", "optim", "k", *ends]
    assert table["optim"].tolist() == ["sgd"] * 3 + ["adam"] * 3  # in the order of the leaderboard
    assert table["test_expected"].tolist() == pytest.approx(EXPECTED["sgd"] + EXPECTED["adam"])
    assert table["val_expected"].tolist() == pytest.approx([0.9 * value for value in table["test_expected"]])


def test_budget_figure_shows_expected_errors(write_run: Write, tmp_path: Path) -> None:
    write_tuned(write_run)
    comparison = compared(tmp_path)
    table = with_errors(as_accuracies(comparison), 1e-4)
    (ax,) = panels.budget(table, appearance(comparison.summary, comparison.by)).axes
    lines = sorted(np.asarray(line.get_xydata()).tolist() for line in ax.lines)
    errors = [[[k, 1 - value] for k, value in enumerate(EXPECTED[optim], start=1)] for optim in ("adam", "sgd")]
    assert lines == [pytest.approx(np.array(curve)) for curve in errors]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlim() == pytest.approx((1 / 1.1, 3 * 1.1))  # the ticks at its ends keep clear of the next panel's
    (band,) = ax.collections  # of the best cell
    assert band.get_paths()[0].get_extents().get_points()[:, 1] == pytest.approx([0.03, 1])


def test_answer_without_change_of_lead_is_empty(write_run: Write, tmp_path: Path) -> None:
    for lr in (0.001, 0.01):
        for optim, worse in (("adam", 0.0), ("sgd", 0.1)):
            write_run(optim=optim, lr=lr, test=[0.1, 0.9 - worse - lr])
    assert compared(tmp_path).budget.empty
    assert answer(compared(tmp_path)) == ""
    for optim, worse in (("adam", 0.0), ("sgd", 0.1)):
        write_run(optim=optim, lr=0.1, test=[0.1, 0.9 - worse])
    assert leads(compared(tmp_path).budget) == [Lead("he / adam", 1, 3)]
    assert answer(compared(tmp_path)) == ""


def test_answer_counts_cells_without_curve(write_run: Write, tmp_path: Path) -> None:
    write_tuned(write_run)
    write_run(optim="nag", test=[0.1, 0.99])
    assert answer(compared(tmp_path)).startswith(
        "Of the 2 cells with at least 3 configurations, which is ahead depends on"
    )
    assert reading(compared(tmp_path)).endswith(" 1 cell with fewer than 3 configurations left out.")


def test_report_budget_csv_exists_only_with_curves(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    write_tuned(write_run)
    write_run(data="digits", digest="e" * 64)
    summarize()
    table = pd.read_csv(tmp_path / "report/budget.csv")
    assert table.columns[0] == "data"
    assert table["data"].tolist() == ["mnist"] * 6
    shutil.rmtree(next((tmp_path / "sweep").glob("*adam-0-1-*")))
    summarize()
    assert not (tmp_path / "report/budget.csv").exists()
    (tmp_path / "report/budget.csv").write_text("month,euros\n")  # a user's file
    summarize()
    assert (tmp_path / "report/budget.csv").read_text() == "month,euros\n"


def test_report_budget_csv_without_validation_has_training_columns(
    write_run: Write, summarize: Report, tmp_path: Path
) -> None:
    for optim in ("adam", "sgd"):
        for lr in (0.001, 0.01, 0.1):
            write_run(optim=optim, lr=lr, test=[0.1, 0.9], train=[0.1, 0.5 + lr], val=[])
    summarize()
    table = pd.read_csv(tmp_path / "report/budget.csv")
    assert list(table.columns[3:6]) == ["train_expected", "train_low", "train_high"]
    assert table["train_expected"][0] == pytest.approx(0.5 + 0.111 / 3)
