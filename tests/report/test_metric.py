"""Reports by a metric other than the accuracy: orientation, units, diverged runs and messages."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy import stats

from mnist_mlp.analysis import compare_sweeps
from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.metrics import Metric, metric_of
from mnist_mlp.report import report_on, tables
from mnist_mlp.report.figures import draw, plots
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.headline import headline
from mnist_mlp.report.text.units import OF_ACCURACY, Unit
from tests.helpers.runs import Write

TARGET = "tests.report.test_metric.anything"
NLL = {"_target_": TARGET, "better": "less", "worst": 10}
RATE = {"_target_": TARGET, "better": "less", "bounds": [0, 1]}
SHARE = {"_target_": TARGET, "bounds": [0, 1]}
NLLS = {  # by cell and seed
    "adam": [0.31, 0.33, 0.29, 0.34],
    "sgd": [0.52, 0.50, 0.49, 0.55],
    "radam": [0.30, 0.36, 0.27, 0.35],
}


def write_nlls(write_run: Write, node: dict[str, Any] = NLL, **by_optim: Sequence[float | str]) -> None:
    for optim, values in (by_optim or NLLS).items():
        for seed, value in enumerate(values):
            write_run(
                optim=optim,
                seed=seed,
                values={"nll": [2.3, 1.0, value]},
                metrics={"nll": node},
                data_facts={"test": 10},  # must not matter: only the variance of accuracies has a lower limit
            )


def compared(tmp_path: Path, metric: str = "nll", **more: Any) -> Comparison:
    _, sections = compare_sweeps([tmp_path / "sweep"], metric=metric, **more)
    (section,) = sections.values()
    return section


def test_losses_without_bounds_have_the_intervals_of_a_hand_calculation(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run, adam=NLLS["adam"], sgd=NLLS["sgd"])
    comparison = compared(tmp_path)
    assert comparison.summary["optim"].tolist() == ["adam", "sgd"]  # the lower loss first
    gaps = np.subtract(NLLS["adam"], NLLS["sgd"])
    half = stats.t.ppf(0.975, 3) * gaps.std(ddof=1) / 2
    (pair,) = comparison.pairs.to_dict("records")
    assert (pair["a"], pair["b"], pair["verdict"]) == ("he / adam", "he / sgd", "better")
    assert [pair["difference"], pair["ci_low"], pair["ci_high"]] == pytest.approx(
        [gaps.mean(), gaps.mean() - half, gaps.mean() + half]
    )
    assert pair["p"] == pytest.approx(stats.ttest_rel(NLLS["adam"], NLLS["sgd"]).pvalue)
    half = stats.t.ppf(0.975, 3) * np.std(NLLS["adam"], ddof=1) / 2
    assert comparison.summary["test_nll_ci_high"][0] == pytest.approx(np.mean(NLLS["adam"]) + half)


def test_less_is_better_mirrors_more_is_better(tmp_path: Path, write_run: Write) -> None:
    shares = {"adam": [0.9, 0.92, 0.91], "sgd": [0.7, 0.75, 0.71], "nag": [0.8, 0.79, 0.83]}
    for init in ("he", "lecun"):
        for optim, values in shares.items():
            for seed, value in enumerate(values):
                value -= 0.05 * (init == "lecun") + 0.01 * seed * (optim == "nag")
                write_run(
                    init=init,
                    optim=optim,
                    seed=seed,
                    values={"share": [0.1, value], "rate": [0.9, 1 - value]},
                    metrics={"share": SHARE, "rate": RATE},
                    test=[0.1, 0.5],
                )
    share, rate = compared(tmp_path, "share"), compared(tmp_path, "rate")
    assert list(share.summary["cell"]) == list(rate.summary["cell"])
    assert list(share.pairs["verdict"]) == list(rate.pairs["verdict"])
    assert share.claims.of[0].groups == rate.claims.of[0].groups
    for one, other in ((share.pairs, rate.pairs), (share.effects.table, rate.effects.table)):
        mirrored = pd.DataFrame({"difference": -other["difference"], "ci_low": -other["ci_high"], "p": other["p"]})
        pd.testing.assert_frame_equal(one[["difference", "ci_low", "p"]], mirrored, check_exact=False)
    means = share.effects.means["mean"] + rate.effects.means["mean"]
    assert means.to_numpy(dtype=float) == pytest.approx(1.0)
    assert headline(share).startswith("By share (more is better): without tuning, ")
    assert headline(share).replace("share (more", "rate (less") == headline(rate)


def test_report_by_a_loss_names_it_everywhere(
    tmp_path: Path, write_run: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nlls(write_run)
    for seed in range(4):
        write_run(optim="nag", seed=seed, status="diverged", values={"nll": ["", "", ""]}, metrics={"nll": NLL})
    report_on([tmp_path / "sweep"], tmp_path / "report", metric="nll")
    shown = capsys.readouterr().out
    for words in (
        "scored lowest: 0.3175 [",
        "note: Scored by nll: less is better, and a diverged run counts as 10.",
        "where they count as 10 in the score",
        "with he / radam is inconclusive (0.00250 behind: ",
    ):
        assert words in shown
    page, latex = ((tmp_path / "report" / name).read_text() for name in ("index.html", "summary.tex"))
    for words in ("test nll", "Mean test nll", "Test nll minus that of the best cell", "--metric nll"):
        assert words in page, words
    assert "\\caption{Test nll on mnist" in latex
    board = tables.leaderboard(compared(tmp_path))
    assert board["score"].tolist() == ["0.3175", "0.3200", "0.5150", "10.00"]
    assert board["test nll"].tolist()[3] == ""
    assert tables.runs_csv(compared(tmp_path))["test_nll"].notna().sum() == 12
    assert next(iter(tables.pairs(compared(tmp_path))["difference"])) == "-0.00250"


def test_interval_of_a_mean_ends_at_the_bound_of_its_metric(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run, NLL | {"bounds": [0, None]}, adam=[0.0, 0.5, 0.1])
    summary = compared(tmp_path).summary
    assert summary["test_nll_ci_low"].tolist() == [0]
    assert (summary["test_nll_ci_high"] > 0.5).all()


def test_heatmap_of_a_loss_is_dark_where_it_is_low(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run)
    for seed in range(4):
        write_run(optim="nag", seed=seed, status="diverged", values={"nll": ["", "", ""]}, metrics={"nll": NLL})
    comparison = compared(tmp_path)
    ax = plots.plot_heatmap(Figure().subplots(), comparison.summary, comparison.by, unit=Unit(comparison.metric))
    (image,) = ax.images
    assert image.get_clim() == pytest.approx((0.3175, 0.515))
    colors = {value: sum(image.to_rgba(np.array(value))[:3]) for value in (0.3175, 0.515)}
    assert colors[0.3175] < colors[0.515]
    assert tuple(image.cmap.get_over()) == to_rgba(plots.BELOW)


def test_figures_about_the_accuracy_are_left_out_unless_they_say_so(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run)
    kinds = {kind for _, kind, *_ in draw.figures(draw.view_of(compared(tmp_path)))}
    assert {"learning_curves", "heatmap", "differences", "pairs", "seeds", "time_to_target"} >= kinds
    assert {"heatmap", "differences", "seeds"} <= kinds


def test_missing_values_are_not_scored_and_noted(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run, adam=[0.3, 0.31, 0.32, ""], sgd=["", "", "", ""], nag=[0.4, 0.42, 0.43, 0.45])
    comparison = compared(tmp_path)
    assert dict(zip(comparison.summary["optim"], comparison.summary["n"], strict=True)) == {
        "adam": 3,
        "nag": 4,
        "sgd": 0,
    }
    assert "Without nll: 5 of 12 completed runs cannot be scored." in map(str, comparison.notes)
    assert "1 more cell has no result" in answer(comparison)[0]


def test_metric_at_the_best_epoch_is_that_of_the_epoch_best_on_validation(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):
        write_run(seed=seed, val=[0.1, 0.9, 0.8], values={"nll": [2.3, 1.0, 0.5]}, metrics={"nll": NLL})
    assert compared(tmp_path, at="best").summary["score"].tolist() == [1.0]
    assert compared(tmp_path).summary["score"].tolist() == [0.5]


def test_final_metric_that_is_undefined_does_not_use_an_earlier_epoch(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run, adam=[0.3, 0.31, 0.32], sgd=["", 0.5, 0.6])
    runs = compared(tmp_path).runs
    assert runs.loc[(runs["optim"] == "sgd") & (runs["seed"] == 0), "test_nll"].isna().all()


def test_selection_stays_by_validation_accuracy(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):
        for lr, val, nll in ((0.1, 0.9, 0.6), (0.2, 0.8, 0.3)):
            write_run(seed=seed, lr=lr, val=[0.1, val], test=[0.1, 0.5], values={"nll": [2, nll]}, metrics={"nll": NLL})
    comparison = compared(tmp_path)
    assert comparison.summary[["optim.lr", "score"]].to_numpy().tolist() == [[0.1, pytest.approx(0.6)]]


def test_unknown_metric_and_others_that_cannot_be_scored_have_one_message(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run, adam=["", "", ""])
    with pytest.raises(UserError, match="--metric nll: expected a final value of at least one run"):
        compared(tmp_path)
    with pytest.raises(UserError, match="--metric top2: expected a metric of these runs: accuracy, nll"):
        compared(tmp_path, "top2")
    write_nlls(write_run, sgd=[0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="--margin: expected a metric in percent"):
        compared(tmp_path, margin=0.01)
    write_nlls(write_run, NLL | {"worst": 20}, nag=[0.1, 0.2, 0.3])
    with pytest.raises(UserError, match="--metric nll: expected one meaning"):
        compared(tmp_path)


def test_accuracy_is_the_default_metric(tmp_path: Path, write_run: Write) -> None:
    write_nlls(write_run)
    assert compared(tmp_path, "accuracy").metric.name == "accuracy"
    _, sections = compare_sweeps([tmp_path / "sweep"])
    assert next(iter(sections.values())).metric == compared(tmp_path, "accuracy").metric


@pytest.mark.parametrize(
    ("node", "numbers"),
    [
        (SHARE, ("97.32", "+0.40", "0.40 points", "0.4 points", "0.5 points", "0")),
        (RATE, ("97.32", "+0.40", "0.40 points", "0.4 points", "0.5 points", "100%")),
        (NLL, ("0.9732", "+0.00404", "0.00404", "0.004", "0.0041", "10")),
    ],
)
def test_unit_formats_scores_and_differences(node: dict[str, Any], numbers: tuple[str, ...]) -> None:
    unit = Unit(metric_of("mine", node))
    shown = (
        unit.number(0.97321),
        unit.signed(0.00404),
        unit.size(-0.00404),
        unit.about(0.00404),
        unit.at_most(0.00404),
    )
    assert (*shown, unit.worst) == numbers
    assert (unit.number(math.nan), unit.signed(math.nan), unit.signed_interval(math.nan, math.nan)) == ("", "", "")


def test_unit_of_plain_numbers_of_any_size_is_readable() -> None:
    unit = Unit(Metric("mine", is_less_better=False, worst=0.0, bounds=(-math.inf, math.inf)))
    assert [unit.number(x) for x in (0, 1234, 12345.6, 1e-7, -3)] == [
        "0.000",
        "1234",
        "1.235e+04",
        "1.000e-07",
        "-3.000",
    ]
    assert [unit.at_most(x) for x in (0, 0.0101, 99.1, 1234)] == ["0", "0.011", "1e+02", "1.3e+03"]
    assert OF_ACCURACY.at_most(0.00404) == "0.5 points"
