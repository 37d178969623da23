"""Variance components of the seeds: hand calculation, simulation, and the report."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import replicates
from mnist_mlp.analysis.roles import CELL, REPLICATE, STREAMS
from mnist_mlp.analysis.sources import independent, seeds_by_source, variance_by_source
from mnist_mlp.base.errors import UserError
from mnist_mlp.report import compare_sweeps, report_on, tables
from mnist_mlp.report.figures.draw import draw
from mnist_mlp.report.text import noise
from mnist_mlp.report.text.answer import answer
from mnist_mlp.stats.means import mean_intervals
from mnist_mlp.stats.variance_components import (
    CROSSED,
    NUMBERS,
    ONE_AT_A_TIME,
    VarianceComponents,
    crossed_components,
    estimate_components,
    single_component,
)
from tests.helpers.runs import Report, Write

Streams = list[tuple[int, int, int, int]]
ALL = "weights, batches, dropout and modules"
GRID: Streams = [(w, b, 0, 0) for w, b in product(range(3), repeat=2)]
STAR: Streams = [(0, 0, 0, 0), *((s, 0, 0, 0) for s in (1, 2, 3)), *((0, 0, s, s) for s in (1, 2, 3))]
SCORES = np.array(
    [[[0.90, 0.93, 0.91], [0.95, 0.94, 0.99]], [[0.80, 0.82, 0.85], [0.81, 0.80, 0.88]]]
)  # 2 cells, 2 x 3


def runs(streams: Streams, *cells: Any) -> pd.DataFrame:
    """Return completed runs with these scores per cell, in the order of the streams."""
    parts = [
        pd.DataFrame({CELL: f"c{number}", STREAMS: streams, "score": np.ravel(scores), "status": "completed"})
        for number, scores in enumerate(cells)
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(**{REPLICATE: replicates(frame[STREAMS].tolist(), [0] * len(frame))})


def components(frame: pd.DataFrame) -> VarianceComponents:
    of = variance_by_source(frame)
    assert of is not None
    return of


@pytest.mark.parametrize(
    ("streams", "names"),
    [
        ([(s, s, s, s) for s in (0, 7, 2)], [ALL]),
        ([(0, 0, 0, 0)], []),
        ([(s, 0, 0, 0) for s in (0, 1)], ["weights"]),
        (GRID, ["weights", "batches"]),
        (STAR, ["weights", "dropout and modules"]),
        ([(w, s, s, s) for w, s in product((0, 1), (0, 1))], ["weights", "batches, dropout and modules"]),
        ([(1, 2, 0, 0), (2, 1, 0, 0), (3, 3, 0, 0)], ["weights and batches"]),  # always together
    ],
)
def test_apart_streams_that_vary_together_are_one_source(streams: Streams, names: list[str]) -> None:
    assert list(seeds_by_source(pd.Series(streams))) == names


@pytest.mark.parametrize(
    ("streams", "taken"),
    [
        ([(s, s, s, s) for s in range(4)], range(4)),
        ([(s, 0, 0, 0) for s in range(4)], range(4)),
        (GRID, [0, 4, 8]),
        ([(w, b, 0, 0) for w, b in product(range(5), repeat=2)], range(0, 25, 6)),
        (STAR, [0]),
        ([*STAR, (4, 4, 4, 4), (5, 5, 5, 5)], [0, 7, 8]),
    ],
)
def test_independent_replicates_share_no_varying_seed(streams: Streams, taken: Any) -> None:
    frame = runs(sorted(streams), np.zeros(len(streams)))
    kept = {tuple(of) for of in frame[STREAMS][independent(frame)]}
    assert len(kept) == len(taken)
    assert kept == {streams[number] for number in taken}


def test_independent_prefers_replicates_that_most_cells_have() -> None:
    frame = pd.concat([runs(GRID, np.zeros(9)), runs(GRID[1:], np.zeros(8)).assign(**{CELL: "other"})])
    frame[REPLICATE] = replicates(frame[STREAMS].tolist(), [0] * len(frame))
    assert set(frame[STREAMS][independent(frame)]) == {(0, 1, 0, 0), (1, 0, 0, 0), (2, 2, 0, 0)}


def test_mean_intervals_use_independent_replicates_only() -> None:
    frame = runs(GRID, [0.1, 0.9, 0.5, 0.5, 0.3, 0.5, 0.5, 0.5, 0.5]).rename(columns={"score": "x"})
    row = mean_intervals(frame.assign(independent=independent(frame)), [CELL], ["x"]).iloc[0]
    half = stats.t.ppf(0.975, 2) * np.std([0.1, 0.3, 0.5], ddof=1) / np.sqrt(3)
    assert row["x_mean"] == pytest.approx(frame["x"].mean())
    assert [row["x_ci_low"], row["x_ci_high"]] == pytest.approx([row["x_mean"] - half, row["x_mean"] + half])


def mean_squares(cell: np.ndarray) -> tuple[float, float, float]:
    """Return the mean squares of a two-way table: rows, columns and residual."""
    (a, b), mean = cell.shape, cell.mean()
    rows, columns = cell.mean(axis=1), cell.mean(axis=0)
    left = cell - rows[:, None] - columns + mean
    return (
        b * ((rows - mean) ** 2).sum() / (a - 1),
        a * ((columns - mean) ** 2).sum() / (b - 1),
        (left**2).sum() / (a - 1) / (b - 1),
    )


def test_crossed_components_of_two_sources_equal_hand_calculation() -> None:
    rows, columns, left = np.mean([mean_squares(cell) for cell in SCORES], axis=0)
    variances = np.array([(rows - left) / 3, (columns - left) / 2, left])
    assert (variances > 0).all()
    table = crossed_components(SCORES)
    assert table[:, 0] == pytest.approx(np.sqrt([*variances, variances.sum()]))
    assert table[:, 3] == pytest.approx([*variances / variances.sum(), 1])
    assert (table[:, 1] <= table[:, 0]).all()
    assert (table[:, 0] <= table[:, 2]).all()


def test_crossed_components_negative_variance_becomes_zero() -> None:
    cell = np.array([[0.9, 0.8], [0.8, 0.91]])
    rows, columns, left = mean_squares(cell)
    assert max(rows, columns) < left
    table = crossed_components(cell[None])
    assert table[:2, [0, 1, 3, 4]].tolist() == [[0.0] * 4] * 2
    assert table[2, 0] == pytest.approx(np.sqrt(left))
    assert table[3, 0] == pytest.approx(np.sqrt((rows - left) / 2 + (columns - left) / 2 + left))
    assert table[2:, 3].tolist() == [1, 1]


def test_crossed_components_interaction_has_chi_square_interval() -> None:
    cell = np.random.default_rng(0).standard_normal((1, 4, 5))
    table = crossed_components(cell)
    left = mean_squares(cell[0])[2]
    exact = np.sqrt(12 * left / stats.chi2.ppf([0.975, 0.025], 12))
    assert table[2, 1:3] == pytest.approx(exact, rel=0.03)
    assert crossed_components(np.concatenate([cell] * 6)) == pytest.approx(table)
    other = np.random.default_rng(1).standard_normal((1, 4, 5))
    more = crossed_components(np.concatenate([cell, other]))
    assert np.ptp(np.log(more[2, 1:3])) < 0.9 * np.ptp(np.log(table[2, 1:3]))  # two cells give a narrower interval


def test_crossed_components_of_three_sources_recover_true_variances() -> None:
    rng = np.random.default_rng(3)
    shape, y = (30, 29, 28), 0
    for axes, variance in (((0,), 4), ((1,), 1), ((2,), 0.25), ((0, 1), 9), ((1, 2), 1), ((0, 1, 2), 2)):
        y = y + np.sqrt(variance) * rng.standard_normal([n if axis in axes else 1 for axis, n in enumerate(shape)])
    table = crossed_components(np.asarray(y)[None])
    true = np.array([4, 1, 0.25, 12, 17.25])
    assert (table[:, 1] ** 2 < true).all()
    assert (true < table[:, 2] ** 2).all()
    assert table[3, 0] ** 2 == pytest.approx(12, rel=0.1)
    assert table[:, 3] == pytest.approx(true / true[-1], abs=0.08)


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_crossed_components_intervals_cover_simulated_truth(shared: float) -> None:
    """Coverage over 200 sweeps of two cells and five seeds per stream, with shared or separate seed effects."""
    rng, sweeps, shape = np.random.default_rng(5), 200, (2, 5, 5)
    variances = np.array([1.0, 0.3, 0.5])  # weights, batches and their interaction

    def draw(*seeds: int) -> np.ndarray:
        common, own = rng.standard_normal((sweeps, 1, *seeds)), rng.standard_normal((sweeps, 2, *seeds))
        return np.asarray(np.sqrt(shared) * common + np.sqrt(1 - shared) * own)

    weights, batches, both = np.sqrt(variances) * 0.003
    y = 0.97 + weights * draw(5, 1) + batches * draw(1, 5) + both * draw(5, 5)
    tables = np.array([crossed_components(sweep) for sweep in np.broadcast_to(y, (sweeps, *shape))])
    true = np.append(variances, variances.sum())
    for first, truth in ((1, np.sqrt(true) * 0.003), (4, true / true[-1])):
        held = (tables[:, :, first] <= truth + 1e-12) & (truth <= tables[:, :, first + 1] + 1e-12)
        assert held.mean(axis=0).min() >= 0.9
    assert np.median(tables[:, :, 0], axis=0) == pytest.approx(np.sqrt(true) * 0.003, rel=0.25)
    assert np.mean(tables[:, 2, 2] / tables[:, 2, 1]) < 2.2  # and are not too wide


def test_single_component_equals_hand_calculation() -> None:
    scores = np.array([[0.90, 0.93, 0.91, 0.97]])
    sd, low, high, *shares = single_component(scores)
    assert sd == pytest.approx(scores.std(ddof=1))
    assert [low, high] == pytest.approx(sd * np.sqrt(3 / stats.chi2.ppf([0.975, 0.025], 3)))
    assert np.isnan(shares).all()
    assert single_component(np.concatenate([scores, scores - 0.1]))[:3] == pytest.approx([sd, low, high])


def test_split_variance_uses_completed_cells_only() -> None:
    rng = np.random.default_rng(0)
    one, two = 0.9 + rng.standard_normal((2, 9)) / 100
    whole = components(runs(GRID, one))
    assert (whole.design, whole.cells, whole.of) == (CROSSED, 1, 1)
    assert whole.table["source"].tolist() == ["weights", "batches", "interaction", "all together"]
    assert whole.table["seeds"].tolist() == [3, 3, 9, 9]
    assert whole.table["sd"].to_numpy() == pytest.approx(crossed_components(one.reshape(1, 3, 3))[:, 0])
    both = runs(GRID, two, one)
    lost = both.assign(status=["diverged", *["completed"] * 17], score=both["score"].where(both.index > 0, 0.0))
    rest = components(lost.sample(frac=1, random_state=0))  # in any order
    pd.testing.assert_frame_equal(rest.table, whole.table)
    assert (rest.cells, rest.of) == (1, 2)
    assert "averaged over 1 cell, so" in noise.method(rest)[1]
    assert "in the others of 2 cells, runs did not complete" in noise.method(rest)[1]
    none = components(lost.iloc[:9])
    assert noise.sentence(none) == (
        "The sources of noise were not estimated: in no cell were the runs of all 9 seeds completed."
    )
    assert noise.table(none).empty
    assert len(noise.method(none)) == 1


def test_split_variance_one_at_a_time_reports_each_source() -> None:
    scores = [0.90, 0.93, 0.91, 0.97, 0.90, 0.901, 0.902]
    of = components(runs(STAR, scores))
    assert of.design == ONE_AT_A_TIME
    assert of.table["source"].tolist() == ["weights", "dropout and modules"]
    assert of.table["seeds"].tolist() == [4, 4]
    assert of.table["sd"].tolist() == pytest.approx(
        [np.std(arm, ddof=1) for arm in (scores[:4], scores[:1] + scores[4:])]
    )
    assert noise.sentence(of) == (
        "With the other seeds fixed, the standard deviation of an accuracy is 3.10 points [1.75, 11.54] over the "
        "weights and 0.10 points [0.05, 0.36] over dropout and modules."
    )
    assert noise.table(of).columns.tolist() == ["source", "seeds", "standard deviation (points)"]
    assert "Bouthillier" in noise.method(of)[1]


@pytest.mark.parametrize(
    ("streams", "scores", "why"),
    [
        (GRID[:-1], range(8), "the seeds were neither crossed nor varied one at a time around one run"),
        ([(0, 1, 0, 0), (1, 0, 0, 0), (1, 2, 0, 0)], range(3), "the seeds were neither crossed nor"),
        (GRID, [0.1 + 0.2, *[0.3] * 8], "the seeds made no difference at all"),
    ],
)
def test_noise_sentence_without_split_states_the_reason(streams: Streams, scores: Any, why: str) -> None:
    of = components(runs(streams, list(scores)))
    assert (of.design, len(of.table), of.cells, of.of) == ("", 0, 0, 1)
    assert of.table.columns.tolist() == ["source", "seeds", *NUMBERS]
    assert noise.sentence(of).startswith(f"The sources of noise were not estimated: {why}")


def table_of(scores: np.ndarray, *sources: str) -> pd.DataFrame:
    seeds = pd.MultiIndex.from_product([[f"{source} {n}" for n in range(3)] for source in sources], names=sources)
    return pd.DataFrame(scores.reshape(-1, len(seeds)), columns=seeds)


def test_estimate_components_uses_complete_cells_only() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 9))
    table = table_of(scores, "weights", "batches")
    of = estimate_components(table)
    assert (of.design, of.cells, of.of, of.reason) == (CROSSED, 3, 3, "")
    assert of.table["source"].tolist() == ["weights", "batches", "interaction", "all together"]
    assert of.table.columns.tolist() == ["source", "seeds", *NUMBERS]
    three = estimate_components(
        table_of(np.random.default_rng(0).normal(size=(1, 27)), "weights", "batches", "dropout")
    )
    assert three.table["source"].tolist() == ["weights", "batches", "dropout", "interactions", "all together"]
    assert of.table["sd"].to_numpy() == pytest.approx(crossed_components(scores.reshape(3, 3, 3))[:, 0])
    turned = estimate_components(table.iloc[::-1, [4, 2, 7, 0, 8, 1, 3, 5, 6]])
    np.testing.assert_allclose(turned.table["sd"], of.table["sd"])
    table.iloc[0, 4] = np.nan
    rest = estimate_components(table)
    assert (rest.cells, rest.of) == (2, 3)
    pd.testing.assert_frame_equal(rest.table, estimate_components(table.iloc[1:]).table)
    arms = estimate_components(table.iloc[1:, [0, 1, 2, 3, 6]])
    assert arms.design == ONE_AT_A_TIME
    assert arms.table["sd"].to_numpy() == pytest.approx(
        [single_component(scores[1:, places])[0] for places in ([0, 3, 6], [0, 1, 2])]
    )


@pytest.mark.parametrize(
    "table",
    [
        table_of(np.zeros((2, 3)), "weights"),
        table_of(np.zeros((2, 9)), "weights", "batches").iloc[:, :3],  # one seed of the weights
        pd.DataFrame(np.zeros((2, 3))),
    ],
)
def test_estimate_components_of_invalid_table_raises(table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="expected at least two sources with at least two seeds each"):
        estimate_components(table)


def test_split_variance_of_seeds_varied_together_returns_none() -> None:
    for streams in ([(s, s, s, s) for s in range(5)], [(s, 0, 0, 0) for s in range(5)], []):
        assert variance_by_source(runs(streams, range(len(streams)))) is None
    assert (noise.sentence(None), noise.method(None), noise.table(None).empty) == ("", [], True)


@pytest.fixture
def crossed_seeds(write_run: Write) -> None:
    """Write runs of two optimizers by three seeds of weights and three of batches; one run is given in two ways."""
    for optim, better in (("adam", 0.05), ("sgd", 0.0)):
        for w, b in product(range(3), repeat=2):
            final = 0.9 + better + w / 100 + b / 1000 + (w * b) / 3000 + better * (w * w - b) / 200
            write_run(optim=optim, seeds={"weights": w, "batches": b}, test=[0.1, final])
    write_run(seed=1, seeds={"weights": 0, "batches": 0, "dropout": 0, "modules": 0}, test=[0.1, 0.95])


@pytest.mark.usefixtures("crossed_seeds")
def test_report_on_crossed_seeds_has_variance_components(tmp_path: Path, report: Report) -> None:
    summary = report()
    assert summary["n"].tolist() == [9, 9]
    table = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert len(table) == 18
    assert {"seed", "seeds.weights", "seeds.batches"} < set(table.columns)
    assert REPLICATE not in table
    (pair,) = pd.read_csv(tmp_path / "report" / "pairs.csv").to_dict("records")
    assert pair["n"] == 3
    assert pair["difference"] == pytest.approx(0.05 + 0.05 * (4 - 2) / 200 / 3)  # over (0, 0), (1, 1) and (2, 2)
    for name in ("index.html", "report.md"):
        text = (tmp_path / "report" / name).read_text()
        assert text.count("Sources of noise") == 2  # as a heading, and in the method
        assert "Of the variance between seeds, 9" in text
        assert "standard deviation (points)" in text


@pytest.mark.usefixtures("crossed_seeds")
def test_compare_crossed_seeds_explains_independent_replicates(tmp_path: Path) -> None:
    comparison = only_comparison(tmp_path)
    notes = {note.topic: note.text for note in comparison.notes}
    assert notes["Fixed seeds"].startswith("dropout and modules had one seed in all runs, so differences hold for")
    assert notes["Seeds varied independently"].startswith(
        "runs with the same seed of weights or of batches are not independent, so intervals and verdicts use 3 of 9 "
    )
    assert "Unequal seeds" not in notes
    winner, second, *_ = answer(comparison)
    assert "5.02 points behind over 3 independent replicates" in winner
    assert second.startswith("Of the variance between seeds, ")
    assert second.endswith(" from their interaction.")
    (other,) = noise.method(comparison.variance_components)[1:]
    assert "averaged over 2 cells" in other
    for key in ("seeds.weights", "seeds.dropout", "seed"):
        with pytest.raises(UserError, match=rf"--by {key}: expected one of init, optim.* Seeds are the replicates"):
            report_on([tmp_path / "sweep"], by=[key])


@pytest.mark.usefixtures("crossed_seeds")
def test_captions_on_crossed_seeds_name_independent_runs(tmp_path: Path) -> None:
    comparison = only_comparison(tmp_path)
    latex = tables.latex(comparison, "mnist", "mnist")
    assert "mean over n runs, and the [95\\% interval] over the independent ones" in latex
    (drawing, *_) = draw(tmp_path, comparison, "", [])
    by = "95% t-interval of the mean over the independent runs, clipped where it is very wide"
    assert f"mean over runs (n = 9; band: {by})" in drawing.caption


def test_answer_on_few_independent_replicates_has_no_interval(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        for w, b in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0)):
            write_run(optim=optim, seeds={"weights": w, "batches": b}, test=[0.1, 0.9 + w / 100 + b / 300])
    comparison = only_comparison(tmp_path)
    assert answer(comparison)[0].endswith(
        "% test accuracy (n = 5), but no difference was tested: fewer than 3 independent replicates in common."
    )
    (drawing, *_) = draw(tmp_path, comparison, "", [])
    assert "mean over runs (n = 5)." in drawing.caption


def test_answer_names_cell_ahead_over_independent_replicates_only(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        for w, b in product(range(3), repeat=2):
            better = 0 if optim == "sgd" else -0.01 - w / 1000 if w == b else 0.02
            write_run(optim=optim, seeds={"weights": w, "batches": b}, test=[0.1, 0.9 + w / 100 + better + w * b / 1e4])
    sentence = answer(only_comparison(tmp_path))[0]
    assert "but over the independent replicates, he / sgd is better: the means are over all runs." in sentence


def test_compare_seeds_fixed_in_all_cells_makes_note_and_no_split(tmp_path: Path, write_run: Write) -> None:
    for w in range(3):
        write_run(seeds={"weights": w}, test=[0.1, 0.9 + w / 100])
    comparison = only_comparison(tmp_path)
    assert comparison.variance_components is None
    assert {note.topic for note in comparison.notes} == {"Fixed seeds"}
    assert comparison.summary["n"].tolist() == [3]


def only_comparison(tmp_path: Path) -> Comparison:
    (comparison,) = compare_sweeps([tmp_path / "sweep"])[1].values()
    return comparison
