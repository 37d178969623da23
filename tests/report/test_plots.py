"""Strips and heatmaps: rows, axes and legible text."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.load import load
from mnist_mlp.report.figures import panels, plots
from mnist_mlp.report.figures.draw import Drawing, draw
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text import captions
from tests.helpers.runs import Write

LOWEST, HIGHEST = "#f7fbff", "#08306b"  # ends of the color map of heatmaps
DOTS = "os^DvPph<"
LONG = "an_initialization_with_a_name_that_is_too_long_for_any_axis"


def compared(tmp_path: Path, by: Sequence[str] = ("init", "optim"), target: float = 0.97) -> Comparison:
    return compare(load([tmp_path / "sweep"]), target, by)


def write_diverging(write_run: Write) -> None:
    """Write runs of Adam (none diverges), SGD (one in four diverges) and NAG (all diverge)."""
    for (i, init), optim, seed in itertools.product(enumerate(("he", "lecun")), ("adam", "sgd", "nag"), range(4)):
        if optim == "nag" or (optim == "sgd" and seed == 0):
            write_run(init, optim, seed, test=[0.1, 0.3], epochs=2, status="diverged", reason="nan")
        else:
            write_run(init, optim, seed, test=[0.1, 0.5, 0.95 - 0.002 * i + 0.001 * (seed * (i + 1) % 3)])


def rows(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def drawn(ax: Axes, marker: str) -> list[tuple[float, float]]:
    """Return the points with one of these markers, by line."""
    lines = (np.asarray(line.get_xydata()).tolist() for line in ax.lines if str(line.get_marker()) in [*marker])
    return [(x, y) for line in lines for x, y in line]


def share(ax: Axes, low: float, high: float) -> float:
    """Return the fraction of an x axis between two values."""
    ends = ax.transData.transform([(low, 0), (high, 0)])[:, 0]
    return float((ends[1] - ends[0]) / ax.get_window_extent().width)


def strip(comparison: Comparison, kind: str) -> tuple[Figure, Axes]:
    """Return the figure of this kind after its layout."""
    summary, look = comparison.summary, appearance(comparison.summary, comparison.by)
    figure, ax = panels.strips(list(summary["cell"]), look, list(summary["cell"]))
    if kind == "differences":
        best, cells = summary["cell"][0], list(summary["cell"])
        plots.plot_differences(ax, comparison.pairs, best, cells, look, captions.unsteady(comparison))
    elif kind == "seeds":
        plots.plot_seeds(ax, comparison.scored, summary, look)
    else:
        plots.plot_time_to_target(ax, comparison.scored, summary, look)
    figure.canvas.draw()
    return figure, ax


def test_draw_with_diverged_runs_shows_and_counts_them(tmp_path: Path, write_run: Write) -> None:
    write_diverging(write_run)
    drawings: dict[str, Drawing] = {d.kind: d for d in draw(tmp_path, compared(tmp_path), "", ())}
    assert "5 are significant." in drawings["differences"].alt
    curves = drawings["learning_curves"].caption
    assert "(n = 3 to 4; band: 95% t-interval of the mean, clipped where it is very wide)" in curves
    assert "Curves of diverged runs are not drawn (10 of 24 runs; no completed run: he / nag, lecun / nag)." in curves
    assert drawings["learning_curves"].alt.endswith("for 4 cells.")
    assert "(n = 4); diverged runs count as 0. The colors span at least" in drawings["heatmap"].caption
    assert "Gray: below the color scale, because runs diverged." in drawings["heatmap"].caption
    for kind in ("differences", "seeds"):
        assert "Gray parts of the axis are compressed, because diverged runs count as 0." in drawings[kind].caption
    assert not any("best of" in drawing.caption for drawing in drawings.values())


def test_strips_with_diverged_runs_compress_the_axis(tmp_path: Path, write_run: Write) -> None:
    write_diverging(write_run)
    comparison = compared(tmp_path)
    _, ax = strip(comparison, "differences")
    assert rows(ax) == list(comparison.summary["cell"])
    assert set(rows(ax)[-2:]) == {"he / nag", "lecun / nag"}
    points = {round(y): x for x, y in drawn(ax, DOTS)}
    assert list(points) == [1, 2, 3, 4, 5]
    assert (points[4], points[5]) == pytest.approx([-100 * comparison.summary["score"][0]] * 2)
    (adam,) = comparison.pairs[comparison.pairs["b"] == "lecun / adam"].to_dict("records")
    assert share(ax, -100 * adam["ci_high"], -100 * adam["ci_low"]) > 0.5
    assert ax.get_xlim()[0] < points[4]
    _, ax = strip(comparison, "seeds")
    assert rows(ax) == list(comparison.summary["cell"])
    assert share(ax, 94.8, 95.2) > 0.5
    assert ax.get_xlim()[0] == 0


def test_strips_without_diverged_runs_keep_a_linear_axis(tmp_path: Path, write_run: Write) -> None:
    for optim, final in (("adam", 0.95), ("sgd", 0.1)):
        for seed in range(3):
            write_run(optim=optim, seed=seed, test=[0.1, final + seed * final / 1000])
    comparison = compared(tmp_path)
    for kind in ("differences", "seeds"):
        assert strip(comparison, kind)[1].get_xscale() == "linear"


def test_differences_of_cells_equal_in_every_seed_are_hollow(tmp_path: Path, write_run: Write) -> None:
    for optim, better in (("adam", 0.0), ("nag", 0.0), ("sgd", -0.1)):
        for seed in (0, 1, 2):
            write_run(optim=optim, seed=seed, test=[0.1, 0.9 + better * (1 + seed)])
    write_run(optim="radam", seed=5, test=[0.1, 0.5])
    comparison = compared(tmp_path)
    _, ax = strip(comparison, "differences")
    faces = [line.get_markerfacecolor() for line in ax.lines if str(line.get_marker()) in [*DOTS]]
    assert [face == "white" for face in faces] == [True, False, True]
    assert captions.without_interval(comparison) == (
        "Hollow, without an interval: 1 of 3, equal in every seed. Hollow, without an interval: 1 of 3 not "
        "tested (empty row: no seed in common): fewer than 3 seeds in common."
    )


def test_differences_of_untested_cell_are_hollow(tmp_path: Path, write_run: Write) -> None:
    seeds = {"adam": (0, 1, 2), "sgd": (0, 1, 2), "nag": (2, 3, 4), "radam": (5,)}
    for o, optim in enumerate(seeds):
        for seed in seeds[optim]:
            write_run(optim=optim, seed=seed, test=[0.1, 0.9 - o / 10 + seed * (o + 1) / 1000])
    comparison = compared(tmp_path)
    _, ax = strip(comparison, "differences")
    assert rows(ax) == ["he / adam", "he / sgd", "he / nag", "he / radam"]
    faces = [line.get_markerfacecolor() for line in ax.lines if str(line.get_marker()) in [*DOTS]]
    assert [face == "white" for face in faces] == [False, True, True]
    points = [x for x, _ in drawn(ax, DOTS)]
    assert points == [pytest.approx(-9.9), pytest.approx(-19.6), pytest.approx(np.nan, nan_ok=True)]
    (drawing,) = (d for d in draw(tmp_path, comparison, "", ()) if d.is_answer)
    assert drawing.alt.endswith("1 of 1 is significant, 2 more not tested.")
    assert (
        "Hollow, without an interval: 2 of 3 not tested (empty row: no seed in common): fewer than 3 seeds"
    ) in drawing.caption


@pytest.mark.parametrize("kind", ["differences", "seeds", "time_to_target"])
def test_strips_with_long_names_stay_within_the_figure(tmp_path: Path, write_run: Write, kind: str) -> None:
    for (o, optim), seed in itertools.product(enumerate(("adam", LONG)), range(3)):
        write_run(LONG, optim, seed, test=[0.1, 0.5, 0.99 - o / 10 + seed * (1 + o) / 1000])
    figure, ax = strip(compared(tmp_path, target=0.85), kind)
    assert ax.get_ylim() == (1.5, -0.5)
    box = ax.xaxis.label.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_seeds_axis_ends_at_full_accuracy(tmp_path: Path, write_run: Write) -> None:
    for seed in range(3):
        write_run(seed=seed, test=[0.1, 1.0])
    assert strip(compared(tmp_path), "seeds")[1].get_xlim()[1] == 100


@pytest.mark.parametrize("epochs", [1, 9, 90])
def test_time_to_target_with_misses_has_a_column_for_them(tmp_path: Path, write_run: Write, epochs: int) -> None:
    for optim, seed in itertools.product(("adam", "sgd", LONG), range(2)):
        reached = [0.1] * epochs + [0.98 if optim == "adam" else 0.5]
        write_run(LONG, optim, seed, test=reached, val=reached)
    _, ax = strip(compared(tmp_path), "time_to_target")
    assert {x for x, _ in drawn(ax, DOTS)} == {epochs}
    (missed,) = {x for x, _ in drawn(ax, "x")}
    assert share(ax, epochs, missed) > 0.1
    assert share(ax, missed, ax.get_xlim()[1]) > 0.05
    labels = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert ax.get_xticklabels()[-1].get_text() == "missed"
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(labels))


def test_time_to_target_without_misses_has_no_column_for_them(tmp_path: Path, write_run: Write) -> None:
    write_run(test=[0.1, 0.98], val=[0.1, 0.98])
    _, ax = strip(compared(tmp_path), "time_to_target")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1"]


def colors(ax: Axes) -> dict[str, tuple[str, str]]:
    """Return background and text color of each number in a heatmap."""
    (image,) = ax.images
    values = image.get_array()
    assert values is not None
    found = {}
    for text in ax.texts:
        column, row = map(int, text.get_position())
        found[text.get_text()] = (to_hex(image.to_rgba(values)[row, column]), str(text.get_color()))
    return found


def test_heatmap_with_diverged_cell_keeps_other_colors_distinct(tmp_path: Path, write_run: Write) -> None:
    write_diverging(write_run)
    summary = compared(tmp_path).summary
    ax, _ = panels.heatmap(summary, ["init", "optim"]).axes
    found = {number: behind for number, (behind, _) in colors(ax).items()}
    best, second, *others = (f"{score * 100:.2f}" for score in summary["score"])
    assert {found[number] for number in others} == {plots.BELOW}
    assert "0.00" in others
    assert found[second] == LOWEST  # the ends of the colors
    assert found[best] not in (LOWEST, plots.BELOW)


def test_heatmap_with_all_cells_diverged_colors_scores(tmp_path: Path, write_run: Write) -> None:
    for optim, final in (("adam", 0.9), ("sgd", 0.8)):
        write_run(optim=optim, test=[0.1, 0.5, final])
        write_run(optim=optim, seed=1, test=[0.1, 0.3], epochs=2, status="diverged", reason="nan")
    ax, _ = panels.heatmap(compared(tmp_path).summary, ["init", "optim"]).axes
    assert {number: behind for number, (behind, _) in colors(ax).items()} == {"45.00": HIGHEST, "40.00": LOWEST}
    (drawing,) = (d for d in draw(tmp_path, compared(tmp_path), "", ()) if d.kind == "heatmap")
    assert "Gray" not in drawing.caption


@pytest.mark.parametrize("final", [1.0, 0.965])
def test_heatmap_of_equal_scores_has_legible_numbers(tmp_path: Path, write_run: Write, final: float) -> None:
    for optim in ("adam", "sgd"):
        write_run(optim=optim, test=[0.1, final])
    write_run(optim="nag", test=[0.1], epochs=1, status="diverged", reason="nan")
    ax, _ = panels.heatmap(compared(tmp_path).summary, ["init", "optim"]).axes
    assert colors(ax) == {f"{final * 100:.2f}": (HIGHEST, "white"), "0.00": (plots.BELOW, "black")}


def test_heatmap_is_sorted_and_names_its_keys() -> None:
    cells = itertools.product(("he", "lecun"), ("sgd", "adam"), (128, 16, 32))
    summary = pd.DataFrame(cells, columns=["init", "optim", "batch_size"])
    summary["score"] = summary["test_accuracy_mean"] = np.linspace(0.8, 0.9, 12)
    ax, _ = panels.heatmap(summary, ["batch_size", "optim", "init"]).axes
    assert rows(ax) == ["16", "32", "128"]
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert columns == ["sgd / he", "sgd / lecun", "adam / he", "adam / lecun"]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("Batch size", "Optimizer / initialization")
    places = {text.get_text(): text.get_position() for text in ax.texts}
    for init, optim, batch_size, score, _ in summary.astype(object).itertuples(index=False):
        place = columns.index(f"{optim} / {init}"), rows(ax).index(str(batch_size))
        assert places[f"{float(str(score)) * 100:.2f}"] == place
    ax, _ = panels.heatmap(summary, ["init", "optim", "batch_size"]).axes
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == [
        f"sgd / batch_size={size}" for size in (16, 32, 128)
    ]


def test_heatmap_of_lists_is_sorted_by_length(tmp_path: Path, write_run: Write) -> None:
    for number, hidden in enumerate(([64] * 8, [128], [64] * 2, [], [64, 32], [64] * 4)):
        write_run(model={"hidden": hidden}, log_interval=number + 1)
    ax, _ = panels.heatmap(compared(tmp_path, ["init", "model.hidden"]).summary, ["init", "model.hidden"]).axes
    columns = [label.get_text() for label in ax.get_xticklabels()]
    assert columns == ["[]", "[128]", "[64, 32]", "2 × 64", "4 × 64", "8 × 64"]


@pytest.mark.parametrize("kind", ["differences", "seeds", "time_to_target"])
def test_strips_of_names_that_differ_in_the_middle_have_distinct_rows(
    tmp_path: Path, write_run: Write, kind: str
) -> None:
    for number, middle in enumerate("ab"):
        write_run(f"{LONG}{middle}{LONG}", test=[0.1, 0.9 - number / 10])
    for depth in (4, 8):
        write_run(LONG, model={"hidden": [64] * depth}, log_interval=depth)
    comparison = compared(tmp_path, ("init", "optim", "model.hidden"), target=0.3)
    figure, ax = strip(comparison, kind)
    assert len({*rows(ax)}) == len(rows(ax)) == 4
    assert [row for row in rows(ax) if row.endswith(".hidden=4 × 64")]
    assert ax.get_window_extent().width > 200  # leaves room for the plot
    assert ax.xaxis.label.get_window_extent().x1 <= figure.bbox.x1


def test_heatmap_of_names_with_separator_keeps_cells_distinct() -> None:
    summary = pd.DataFrame({"init": ["he", "he"], "optim": ["a / b", "a"], "model.x": ["c", "b / c"]})
    summary["score"] = summary["test_accuracy_mean"] = [0.8, 0.9]
    ax, _ = panels.heatmap(summary, ["init", "optim", "model.x"]).axes
    assert {text.get_text() for text in ax.texts} == {"80.00", "90.00"}
