"""Panels, lines, legends, axes and widths of figures."""

import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.curves import against, numeric_axis
from mnist_mlp.analysis.load import load
from mnist_mlp.analysis.roles import cell_names, each_cell
from mnist_mlp.report.figures import panels, plots
from mnist_mlp.report.figures.draw import draw, figures, heading, view_of
from mnist_mlp.report.figures.scales import bounds, least_error, ticks, with_errors
from mnist_mlp.report.figures.style import OPTIMIZERS, REFERENCE, Appearance, appearance, styles
from mnist_mlp.report.figures.svg import Series
from tests.helpers.runs import Write


def compared(tmp_path: Path, by: Sequence[str] = ("init", "optim")) -> Comparison:
    return compare(load([tmp_path / "sweep"]), 0.97, by)


class Made(NamedTuple):
    figure: Figure
    caption: str
    look: Appearance


def made(comparison: Comparison) -> dict[str, Made]:
    """Return the figures of a report by kind, unsaved."""
    return {kind: Made(figure, caption, look) for figure, kind, _, caption, look in figures(view_of(comparison))}


def curves_of(comparison: Comparison) -> Figure:
    curves = with_errors(comparison.curves, least_error(comparison.runs))
    look = appearance(comparison.summary, comparison.by, reference=comparison.summary["cell"][0])
    figure = panels.learning_curves(curves, look)
    figure.savefig(io.BytesIO())  # some errors occur only when drawing
    return figure


def grid(inits: Sequence[str], optims: Sequence[str]) -> Appearance:
    """Return the appearance of these cells; the last of each is the best."""
    cells = [(i, o) for o in reversed(optims) for i in reversed(inits)]
    summary = pd.DataFrame(cells, columns=["init", "optim"]).assign(cell=[f"{i} / {o}" for i, o in cells])
    return appearance(summary, ["init", "optim"], reference=summary["cell"][0])


def drawn(ax: Axes) -> list[list[float]]:
    return sorted(np.asarray(line.get_ydata()).tolist() for line in ax.lines if line.get_gid() != REFERENCE.group)


def drawn_with(marker: str, ax: Axes) -> list[list[tuple[float, ...]]]:
    lines = (line.get_xydata() for line in ax.lines if line.get_marker() == marker)
    return [list(map(tuple, np.asarray(points).tolist())) for points in lines]


def thin(ax: Axes) -> list[list[float]]:
    """Return the line of the best cell in a panel of other cells."""
    return [np.asarray(line.get_ydata()).tolist() for line in ax.lines if line.get_gid() == REFERENCE.group]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_heatmap_and_curves_show_the_numbers(tmp_path: Path, write_run: Write) -> None:
    write_run(optim="adam", init="default", test=[0.1, 0.9])
    write_run(optim="sgd", init="he", test=[0.1, 0.8])
    comparison = compared(tmp_path)
    map_, _ = panels.heatmap(comparison.summary, comparison.by).axes
    assert {text.get_text(): text.get_gid() for text in map_.texts} == {
        "90.00": "fixed",
        "80.00": "fixed",
        "none": None,
    }
    look = appearance(comparison.summary, comparison.by)
    parts = dict(each_cell(comparison.curves[comparison.curves["split"] == "test"]))
    ax = plots.plot_learning_curves(Figure().subplots(), parts, list(parts), look, "loss")
    assert drawn(ax) == [pytest.approx([0.9, 0.1]), pytest.approx([0.9, 0.2])]
    styles = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len({color for color, _ in styles}) == len({style for _, style in styles}) == 2


def test_learning_curves_are_panels_of_errors(tmp_path: Path, write_run: Write) -> None:
    finals = {("he", "sgd"): 0.8, ("lecun", "sgd"): 0.75, ("he", "adam"): 0.9, ("lecun", "adam"): 0.96}
    for (init, optim), final in finals.items():
        write_run(init, optim, test=[0.1, final], train=[0.2, 0.5])
    figure = curves_of(compared(tmp_path))
    errors, losses = figure.axes[:2], figure.axes[2:]
    assert [ax.get_title() for ax in figure.axes] == ["sgd", "adam"] * 2  # in the order of all figures
    sgd, adam = errors
    assert drawn(adam) == [pytest.approx([0.9, 0.04]), pytest.approx([0.9, 0.1])]
    assert drawn(sgd) == [pytest.approx([0.9, 0.2]), pytest.approx([0.9, 0.25])]
    assert thin(adam) == []
    assert thin(sgd) == [pytest.approx([0.9, 0.04])]  # lecun / adam is the best cell
    assert drawn(losses[0]) == [pytest.approx([0.8, 0.5])] * 2
    assert thin(losses[0]) == [pytest.approx([0.8, 0.5])]
    assert {ax.get_yscale() for ax in figure.axes} == {"log"}
    assert errors[0].get_ylim() == errors[1].get_ylim() == pytest.approx((0.02, 1))
    assert [t.get_text() for t in errors[0].get_yticklabels()] == ["2", "5", "10", "20", "50", "100"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["Test error (%)", "", "Training loss (nats)", ""]
    assert [ax.get_xlabel() for ax in figure.axes] == ["Epoch"] * 4
    assert texts(figure) == ["he", "lecun", "best cell"]
    colors = {line.get_color() for line in adam.lines}
    assert len(colors) == 2
    assert {line.get_color() for line in sgd.lines} == {*colors, REFERENCE.color}


def test_learning_curves_with_zero_error_show_half_an_image(tmp_path: Path, write_run: Write) -> None:
    for optim, final in (("adam", 1.0), ("sgd", 0.9)):
        write_run(optim=optim, test=[0.1, final], train=[0.1, 1.0], data_facts={"test": 200})
    figure = curves_of(compared(tmp_path))
    assert drawn(figure.axes[0])[0] == pytest.approx([0.9, 0.5 / 200])
    low, high = figure.axes[0].get_ylim()
    assert (low, high) == pytest.approx((0.002, 1))
    assert least_error(pd.DataFrame({"test_size": [np.nan]})) == 0.5 / 10_000


def test_learning_curves_of_two_cells_share_a_panel(tmp_path: Path, write_run: Write) -> None:
    for optim in ("adam", "sgd"):
        write_run(optim=optim)
    figure = curves_of(compared(tmp_path))
    error, loss = figure.axes
    assert (len(error.lines), thin(error), len(loss.lines)) == (2, [], 2)
    assert (error.get_ylabel(), loss.get_ylabel()) == ("Test error (%)", "Training loss (nats)")
    assert error.get_position().y0 == loss.get_position().y0  # side by side
    assert error.get_position().x1 < loss.get_position().x0
    assert texts(figure) == ["sgd", "adam"]


def test_learning_curves_of_one_key_share_a_panel(tmp_path: Path, write_run: Write) -> None:
    for batch_size in (16, 128, 32):
        write_run(batch_size=batch_size)
    figure = curves_of(compared(tmp_path, ["batch_size"]))
    assert [len(ax.lines) for ax in figure.axes] == [3, 3]
    assert texts(figure) == ["16", "32", "128"]
    assert figure.legends[0].get_title().get_text() == "batch size"
    assert len({line.get_color() for line in figure.axes[0].lines}) == 3


def test_learning_curves_of_long_names_have_distinct_labels(tmp_path: Path, write_run: Write) -> None:
    long = "an_initialization_with_a_name_that_is_too_long"
    for number, (middle, optim, depth) in enumerate(product("ab", ("adam", "sgd"), (4, 8))):
        write_run(f"{long}{middle}{long}", optim, model={"hidden": [64] * depth}, log_interval=number + 1)
    figure = curves_of(compared(tmp_path, ("init", "optim", "model.hidden")))
    assert {ax.get_title() for ax in figure.axes} == {
        f"{optim} / model.hidden={depth} × 64" for optim in ("adam", "sgd") for depth in (4, 8)
    }
    assert len({*texts(figure)}) == 3  # with the best cell
    (legend,) = figure.legends
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    figure = curves_of(compared(tmp_path, ("model.hidden", "optim", "init")))
    assert len({ax.get_title() for ax in figure.axes}) == 4
    assert texts(figure) == ["4 × 64", "8 × 64", "best cell"]
    for ax in figure.axes:
        assert ax.title.get_window_extent().width < ax.get_window_extent().width + 20


def test_learning_curves_of_one_cell_have_no_legend(tmp_path: Path, write_run: Write) -> None:
    write_run()
    figure = curves_of(compared(tmp_path))
    assert [len(ax.lines) for ax in figure.axes] == [1, 1]
    assert figure.legends == []


def test_appearance_assigns_keys_to_lines_and_panels() -> None:
    both = grid(["he", "lecun"], ["adam", "sgd"])
    assert list(both.panels(set(both.panel)).items()) == [
        ("sgd", ["lecun / sgd", "he / sgd"]),
        ("adam", ["lecun / adam", "he / adam"]),
    ]
    assert list(both.legend(set(both.panel))) == ["he", "lecun"]
    assert both.reading(set(both.panel), 8) == (
        "A panel for each optimizer, a line for each initialization. The thin line, for comparison: the best cell, "
        "lecun / sgd."
    )
    many = [f"i{number:02}" for number in range(12)]
    swapped = grid(many, ["adam", "sgd"])  # two lines in twelve panels are more legible
    assert list(swapped.panels(set(swapped.panel))) == many
    assert list(swapped.panels(set(swapped.panel), 3)) == many[-3:]  # the best three, in the same order
    assert list(swapped.legend(set(swapped.panel))) == ["sgd", "adam"]
    alone = grid(["he"], [f"o{number}" for number in range(9)])
    assert len(alone.panels(set(alone.panel))) == 9
    assert alone.legend(set(alone.panel)) == {}
    assert "A panel for each optimizer (the 4 best of 9)." in alone.reading(set(alone.panel), 4)


def test_learning_curves_of_many_panels_show_the_best(tmp_path: Path, write_run: Write) -> None:
    for number in range(14):
        write_run(optim=f"o{number:02}", test=[0.1, 0.9 - number / 100])
    figure = curves_of(compared(tmp_path))
    assert [ax.get_title() for ax in figure.axes] == [f"o{number:02}" for number in range(12)]
    assert [(len(drawn(ax)), len(thin(ax))) for ax in figure.axes] == [(1, 0)] + [(1, 1)] * 11


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([0.0, 0.5], "linear", ["0", "0.5"]),
        ([0.0, 0.2, 0.8], "linear", ["0", "0.2", "0.8"]),
        ([0.0, 1e-5, 1e-3, 1e-2], "symlog", ["0", "1e-05", "0.001", "0.01"]),
        ([1.0, 1e300], "linear", ["1", "1e+300"]),
        ([32, 64, 128, 256, 512, 1024], "log", ["32", "64", "128", "256", "512", "1024"]),
    ],
)
def test_figure_against_numeric_key_has_lines_panels_and_marks(
    tmp_path: Path, write_run: Write, values: list[float], scale: str, ticks: list[str]
) -> None:
    for init, optim, (place, value), seed in product(("he", "lecun"), ("adam", "sgd"), enumerate(values), range(3)):
        accuracy = 0.9 - place / 100 + seed / 500 + (init == "he") / 100 - (optim == "sgd") / 50
        model = {"dropout": value}
        if (init, optim, place, seed) == ("he", "sgd", 0, 0):
            write_run(init, optim, seed, test=[0.1], epochs=1, status="diverged", reason="nan", model=model)
        elif (init, optim, place) == ("lecun", "sgd", 1):
            facts = {"test": 10_000, "commonest_test_share": 0.1135}
            write_run(init, optim, seed, test=[0.1, 0.11], model=model, data_facts=facts)
        else:
            write_run(init, optim, seed, test=[0.1, accuracy], model=model)
    comparison = compared(tmp_path, ("init", "optim", "model.dropout"))
    drawing = made(comparison)["against_model_dropout"]
    assert heading("against_model_dropout") == "Error against model dropout"
    assert list(drawing.look.legend(set(drawing.look.panel))) == ["he", "lecun"]
    assert "A cross: some runs diverged" in drawing.caption
    assert "A hollow marker: some runs are not shown to beat chance." in drawing.caption
    axis = numeric_axis(comparison.scored["model.dropout"], "model.dropout")
    assert axis is not None
    table = against(comparison.scored.assign(cell=cell_names(comparison.scored, ["init", "optim"])), axis)
    look = grid(["lecun", "he"], ["sgd", "adam"])
    figure = panels.against(with_errors(table, 1e-4), look, "model.dropout", "test ")
    figure.savefig(io.BytesIO())
    sgd, adam = figure.axes
    assert (adam.get_xscale(), adam.get_xlabel(), sgd.get_title()) == (scale, "Dropout rate", "sgd")
    assert [label.get_text() for label in adam.get_xticklabels()] == ticks
    crosses = [points for points in drawn_with("x", sgd) if points]
    assert [[x for x, _ in points] for points in crosses] == [[values[0]]]
    hollow = [np.asarray(line.get_xdata()).tolist() for line in sgd.lines if line.get_markerfacecolor() == "white"]
    assert [points for points in hollow if points] == [[values[1]]]


def test_interaction_of_two_keys_has_a_line_per_value_and_breaks_it_at_divergence(
    tmp_path: Path, write_run: Write
) -> None:
    optims = ("sgd", "nag", "adam")
    for (place, optim), init, seed in product(enumerate(optims), ("he", "lecun"), range(3)):
        if (init, optim, seed) == ("he", "nag", 0):
            write_run(init, optim, seed, test=[0.1], epochs=1, status="diverged", reason="nan")
        else:
            write_run(init, optim, seed, test=[0.1, 0.9 - place / 50 + seed / 500 + (init == "he") / 50])
    drawing = made(compared(tmp_path))["interaction"]
    assert (drawing.look.title, texts(drawing.figure)) == ("initialization", ["he", "lecun"])
    assert "A cross: some runs diverged" in drawing.caption
    scored = compared(tmp_path).scored
    table = against(scored.assign(cell=scored["init"]), scored["optim"].map(optims.index).rename("place").astype(float))
    table["label"] = [optims[int(place)] for place in table["place"]]
    look = appearance(pd.DataFrame({"cell": ["he", "lecun"], "init": ["he", "lecun"]}), ["init"])
    figure = panels.interaction(with_errors(table, 1e-4), look, optims, "optim")
    figure.savefig(io.BytesIO())
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_xticklabels()] == list(optims)
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("linear", "Optimizer", "Test error (%)")
    he, lecun = (np.asarray(line.get_ydata(), dtype=float) for line in ax.lines if line.get_linestyle() != "None")
    np.testing.assert_allclose(he, [7.8, np.nan, 11.8], rtol=1e-6)
    np.testing.assert_allclose(lecun, [9.8, 11.8, 13.8], rtol=1e-6)
    (cross,) = [points for points in drawn_with("x", ax) if points]
    assert cross[0][1] <= ax.get_ylim()[1] < 20  # at the upper end, not at its error of 36%


def test_interaction_is_drawn_for_two_options_only(tmp_path: Path, write_run: Write) -> None:
    for optim, value, seed in product(("sgd", "adam"), (0.1, 0.2), range(3)):
        write_run("he", optim, seed, test=[0.1, 0.9 + value / 100 + seed / 500], model={"dropout": value})
    drawings = made(compared(tmp_path, ["optim", "model.dropout"]))
    assert {*drawings} >= {"against_model_dropout", "heatmap"}
    assert "interaction" not in drawings


def test_sensitivity_marks_diverged_rates_at_full_error(tmp_path: Path, write_run: Write) -> None:
    for init in ("he", "lecun"):
        for optim in ("adam", "sgd"):
            write_run(init, optim, test=[0.1, 0.9], val=[0.1, 0.95], lr=0.01)
            if optim == "sgd":
                write_run(init, optim, test=[0.1], lr=1.0, epochs=1, status="diverged", reason="nan")
            else:
                write_run(init, optim, test=[0.1, 0.9], val=[0.1, 0.98], lr=1.0)
    comparison = compared(tmp_path)
    table = with_errors(comparison.sensitivity, least_error(comparison.runs))
    look = appearance(comparison.summary, comparison.by, reference="he / adam")
    figure = panels.against(table, look, "lr", "validation ")
    sgd, adam = figure.axes
    assert (sgd.get_title(), adam.get_title(), sgd.get_ylabel()) == ("sgd", "adam", "Validation error (%)")
    crosses = {ax: [c for c in drawn_with("x", ax) if c] for ax in (adam, sgd)}
    assert crosses == {adam: [], sgd: [[(1.0, 1.0)]] * 2}
    assert thin(adam) == []
    assert thin(sgd) == [pytest.approx([0.05, 0.02])]
    assert (adam.get_xscale(), adam.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in adam.get_xticklabels()] == ["0.01", "0.1", "1"]


@pytest.mark.parametrize(
    ("values", "ends", "labels"),
    [
        ([0.016, 0.9], (0.01, 1), [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]),
        ([0.02, 0.05], (0.02, 0.05), [0.02, 0.05]),
        ([0.02], (0.02, 0.05), [0.02, 0.05]),
        ([3e-5, np.nan, 2.3], (2e-5, 5), [1e-4, 1e-3, 1e-2, 0.1, 1]),
        ([0.0, -1], (0.1, 1), [0.1, 0.2, 0.5, 1]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], ends: tuple[float, float], labels: list[float]) -> None:
    assert bounds(values) == ends
    assert ticks(*ends, 7) == labels


def test_learning_curves_without_epochs_are_points(tmp_path: Path, write_run: Write) -> None:
    for optim, accuracy in (("adam", 0.1), ("sgd", 0.12)):
        for seed in range(3):
            for init in ("he", "lecun"):
                write_run(init, optim, seed, test=[accuracy + seed / 1000])
    figure = curves_of(compared(tmp_path))
    for ax in figure.axes:
        points = [line for line in ax.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type]
        assert {str(line.get_marker()) for line in points if line.get_gid() != REFERENCE.group} == {"s", "^"}
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [0]


@pytest.mark.parametrize(("spread", "lowest"), [(0.001, 0.01), (0.018, 0.005)])
def test_bounds_with_intervals_extend_the_axis_up_to_a_limit(
    tmp_path: Path, write_run: Write, spread: float, lowest: float
) -> None:
    for seed in (-1, 0, 1):
        write_run(seed=seed + 1, test=[0.1, 0.982 + spread * seed])
    comparison = compared(tmp_path)
    # 4.3027 * spread / sqrt(3) on either side of an error of 1.8%: down to 1.55%, or below zero
    error = with_errors(comparison.curves, least_error(comparison.runs))["error_ci_low"].min()
    assert error == pytest.approx(max(0.018 - 4.3027 * spread / 3**0.5, least_error(comparison.runs)), rel=1e-3)
    assert curves_of(comparison).axes[0].get_ylim()[0] == pytest.approx(lowest)


def write_grid(
    write_run: Write, inits: Sequence[str] = ("he", "lecun"), optims: Sequence[str] = ("sgd", "adam")
) -> None:
    """Write runs of all combinations; SGD is significantly worse."""
    for (i, init), optim, seed in product(enumerate(inits), optims, range(4)):
        worse = 0.1 * (optim == "sgd") + 0.002 * i
        write_run(init, optim, seed, test=[0.1, 0.5, 0.95 - worse + 0.001 * (seed * (i + 1) % 3)], epochs=2)


def test_pairs_show_verdict_and_difference_of_row_minus_column(tmp_path: Path, write_run: Write) -> None:
    write_grid(write_run)
    comparison = compared(tmp_path)
    cells = list(comparison.summary["cell"])
    assert cells == ["he / adam", "lecun / adam", "he / sgd", "lecun / sgd"]
    (ax,) = panels.pairs(comparison.pairs, cells).axes
    backs = {patch.get_xy(): to_hex(patch.get_facecolor()) for patch in ax.patches if isinstance(patch, Rectangle)}
    for a, b, difference, verdict in comparison.pairs[["a", "b", "difference", "verdict"]].itertuples(index=False):
        place = (cells.index(b) - 1, cells.index(a))
        (text,) = (text.get_text() for text in ax.texts if text.get_position() == place)
        assert text == f"{100 * difference:+.2f}"
        significant = verdict in ("better", "worse")
        color = plots.OF_VERDICT["significant" if significant else verdict][0].lower()
        assert backs[place[0] - 0.5, place[1] - 0.5] == color
        assert significant or "sgd" in a or "adam" in b


@pytest.mark.parametrize(("count", "drawn"), [(2, False), (3, True), (12, True), (13, False)])
def test_pairs_are_drawn_for_few_cells(tmp_path: Path, write_run: Write, count: int, drawn: bool) -> None:
    for number, seed in product(range(count), range(3)):
        write_run(optim=f"o{number:02}", seed=seed, test=[0.9 - number / 100 + seed * (number + 1) / 1000], epochs=0)
    kinds = made(compared(tmp_path)).keys()
    assert ("pairs" in kinds) == drawn
    assert "differences_grouped" not in kinds  # there is a single initialization


def test_grouped_differences_have_one_row_per_panel(tmp_path: Path, write_run: Write) -> None:
    write_grid(write_run, inits=("default", "he", "lecun"), optims=("sgd", "nag", "adam"))
    comparison = compared(tmp_path)
    cells, best = list(comparison.summary["cell"]), comparison.summary["cell"][0]
    look = appearance(comparison.summary, comparison.by, reference=best)
    ax = plots.plot_differences(Figure().subplots(), comparison.pairs, best, cells, look, grouped=True)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["sgd", "nag", "adam"]
    place = {line.cell: float(np.asarray(line.get_ydata())[0]) for line in ax.findobj(Series)}
    for row, optim in enumerate(("sgd", "nag", "adam")):
        rows = [place[f"{init} / {optim}"] for init in ("default", "he", "lecun")]
        assert rows == sorted(rows)
        assert np.mean(rows) == pytest.approx(row)
    marks = {line.cell: line.get_marker() for line in ax.findobj(Series) if line.cell != best}
    assert {marks[cell] for cell in marks if cell.startswith("he")} == {"s"}
    assert {marks[cell] for cell in marks if cell.startswith("lecun")} == {"^"}


def test_curves_from_best_leave_the_first_epochs_outside(tmp_path: Path, write_run: Write) -> None:
    for (o, optim), seed in product(enumerate(("sgd", "adam")), range(3)):
        late = [0.95 - 0.001 * o + 0.0005 * (seed * (o + 1) % 3 + epoch % 2) for epoch in range(8)]
        write_run("he", optim, seed, test=[0.1, 0.6 + 0.3 * o, *late], epochs=9)
    table = compared(tmp_path).curve_differences
    figure = panels.curves_from_best(
        table[table["epoch"] > 0], appearance(compared(tmp_path).summary, ["init", "optim"])
    )
    figure.savefig(io.BytesIO())
    (ax,) = figure.axes
    low, high = ax.get_ylim()
    assert -0.01 < low < 0 < high < 0.01
    assert table.loc[table["epoch"] == 1, "difference_mean"].abs().min() == pytest.approx(0.3)
    assert ax.get_ylabel() == "Difference from best (points)"


def test_width_changes_the_files_but_not_the_page(tmp_path: Path, write_run: Write) -> None:
    width, inches = "column", 3.25
    assert panels.PAPERS["page"].width == 6.75
    write_grid(write_run)
    drawings = []
    for folder, of in (("page", None), ("paper", width)):
        (tmp_path / folder).mkdir()
        drawings.append(draw(tmp_path / folder, compared(tmp_path), "", ("pdf",), of))
    assert drawings[0] == drawings[1]
    files = [{path.name for path in (tmp_path / folder).iterdir()} for folder in ("page", "paper")]
    assert files[0] == files[1]
    for drawing in drawings[1]:
        path = tmp_path / "paper" / drawing.name
        root = ET.parse(path.with_suffix(".svg")).getroot()
        assert root.attrib["width"] == f"{72 * inches:g}pt"
        assert imread(path.with_suffix(".png")).shape[1] == pytest.approx(300 * inches, abs=1)
        assert b"/Type3" not in path.with_suffix(".pdf").read_bytes()
        texts = [element for element in root.iter() if element.tag.endswith("}text")]
        assert texts


def test_texts_of_a_heatmap_fit_their_cells_in_a_column(tmp_path: Path, write_run: Write) -> None:
    for optim, init in product(OPTIMIZERS, ("he", "lecun")):
        write_run(init, optim)
    summary, medium = compared(tmp_path).summary, panels.PAPERS["column"]
    with mpl.rc_context(medium.settings):
        figure = panels.heatmap(summary, ["init", "optim"], medium=medium)
        figure.canvas.draw()
        ax, _ = figure.axes
        wide = ax.get_window_extent().width / len(OPTIMIZERS)
        assert max(text.get_window_extent().width for text in ax.texts) < wide


def test_heatmap_scale_spans_the_noise(tmp_path: Path, write_run: Write) -> None:
    write_run(optim="adam", test=[0.1, 0.95])
    write_run(optim="sgd", test=[0.1, 0.949])
    ends = []
    for span in (0.0, 2.0):
        ax, _ = panels.heatmap(compared(tmp_path).summary, ["init", "optim"], span).axes
        ends.append(ax.images[0].get_clim())
    assert ends == [pytest.approx((94.9, 95)), pytest.approx((93, 95))]


def test_seeds_with_equal_accuracy_stand_apart(tmp_path: Path, write_run: Write) -> None:
    for seed, final in enumerate((0.9, 0.9, 0.9, 0.91)):
        write_run(seed=seed, test=[0.1, final])
    comparison = compared(tmp_path)
    look = appearance(comparison.summary, comparison.by)
    ax = plots.plot_seeds(Figure().subplots(), comparison.scored, comparison.summary, look)
    (line,) = ax.findobj(Series)
    places = np.asarray(line.get_xydata())
    assert len({*map(tuple, places.round(6).tolist())}) == 4
    assert places[3, 1] == 0
    assert np.abs(places[:, 1]).max() < 0.5


@pytest.mark.parametrize(("count", "bands"), [(4, 4), (5, 0)])
def test_crowded_panels_have_no_bands(tmp_path: Path, write_run: Write, count: int, bands: int) -> None:
    for number, seed in product(range(count), range(3)):
        write_run(optim=f"o{number}", seed=seed, test=[0.1, 0.9 - number / 100 + seed * (number + 1) / 1000])
    comparison = compared(tmp_path)
    error, _ = curves_of(comparison).axes
    assert (len(error.lines), len(error.collections)) == (count, bands)
    curves = made(comparison)["learning_curves"]
    assert "band: 95% t-interval" in curves.caption
    assert (", only in panels with at most 4 lines" in curves.caption) == (not bands)


def test_interaction_of_many_values_has_a_line_and_a_label_for_each(tmp_path: Path, write_run: Write) -> None:
    for i, o, seed in product(range(9), range(9), range(3)):
        write_run(f"i{i}", f"o{o}", seed, test=[0.9 - (i + o) / 1000 + seed / 5000], epochs=0)
    drawing = made(compared(tmp_path))["interaction"]
    assert texts(drawing.figure) == [f"i{number}" for number in range(9)]
    assert "A line for each initialization." in drawing.caption


def test_curves_of_a_cell_without_validation_leave_it_out(tmp_path: Path, write_run: Write) -> None:
    for (number, size), seed in product(enumerate((0, 5000)), range(3)):
        val: list[float] | None = [] if size == 0 else None
        write_run(seed=seed, test=[0.1, 0.9 + number / 100 + seed / 1000], val=val, data_config={"val_size": size})
    (tmp_path / "figures").mkdir()
    (curves, *_) = draw(tmp_path / "figures", compared(tmp_path, ["data.val_size"]), "", ())
    assert curves.views["validation error"].count('class="label2"') > 0
    assert curves.views["test error"].count('class="label1"') > 0


def test_curves_from_best_name_cells_outside_the_axis_and_lost_runs(tmp_path: Path, write_run: Write) -> None:
    for (number, optim), seed in product(enumerate(OPTIMIZERS), range(4)):
        if optim == "nag" and seed == 3:
            write_run("he", optim, seed, test=[0.1], epochs=4, status="diverged", reason="nan")
        else:
            final = 0.5 if optim == "rmsprop" else 0.95 - number / 1000
            later = [final + seed / 5000 + epoch / 9000 for epoch in range(4)]
            write_run("he", optim, seed, test=[0.1, *later], epochs=4)
    comparison = compared(tmp_path)
    table = comparison.curve_differences
    figure = panels.curves_from_best(table[table["epoch"] > 0], appearance(comparison.summary, ["init", "optim"]))
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["below: rmsprop"]
    assert "Curves of diverged runs are not drawn (1 of 32 runs)" in made(comparison)["curves_from_best"].caption


def test_heatmap_scale_ignores_the_intervals_of_diverging_cells(tmp_path: Path, write_run: Write) -> None:
    for (number, optim), seed in product(enumerate(("sgd", "nag", "adam", "radam")), range(4)):
        if optim in ("nag", "radam") and seed == 0:
            write_run("he", optim, seed, test=[0.1], epochs=1, status="diverged", reason="nan")
        else:
            write_run("he", optim, seed, test=[0.1, 0.95 - number / 100 + seed * (number + 1) / 9000])
    spans = []
    original = panels.heatmap

    def heatmap(summary: pd.DataFrame, by: Sequence[str], span: float, *more: Any) -> Figure:
        spans.append(span)
        return original(summary, by, span, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels, "heatmap", heatmap)
        made(compared(tmp_path))
    assert 0 < spans[0] < 5


@pytest.mark.parametrize("values", [("sgd", "adamax"), ("default", "lsuv"), ("momentum", "adamw", "lion")])
def test_styles_of_known_and_other_options_differ_without_color(values: tuple[str, ...]) -> None:
    found = styles(values)
    assert len({str(style.dash) for style in found.values()}) == len(values)
    assert len({style.marker for style in found.values()}) == len(values)


def test_legend_of_an_option_named_best_cell_keeps_both() -> None:
    look = grid(["best cell", "he"], ["adam", "sgd"])
    assert list(look.legend(set(look.panel), has_reference=True)) == ["best cell", "he", "the best cell"]


def test_markers_of_later_labels_are_smaller_so_that_equal_values_show(tmp_path: Path, write_run: Write) -> None:
    for (number, init), place, seed in product(enumerate(("default", "he", "lecun")), (1, 2), range(3)):
        test = [0.1, 0.9 - number / 100 - place / 10 + seed / 900]
        write_run(init, seed=seed, test=test, model={"dropout": place / 10})
    scored = compared(tmp_path, ["init", "model.dropout"]).scored
    table = with_errors(against(scored.assign(cell=scored["init"]), scored["model.dropout"].astype(float)), 1e-4)
    look = appearance(pd.DataFrame({"cell": ["default", "he", "lecun"], "init": ["default", "he", "lecun"]}), ["init"])
    (ax,) = panels.against(table, look, "model.dropout", "test ").axes
    marks = [line for line in ax.lines if line.get_linestyle() == "None" and line.get_marker() in ("o", "s", "^")]
    assert sorted({line.get_markersize() for line in marks}, reverse=True) == [7, 6, 5]
