"""Layout of figures: small multiples with a legend, and a panel per optimizer, the best first."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnist_mlp.analysis.roles import CELL, each_cell
from mnist_mlp.base.record import SPLITS
from mnist_mlp.report.figures import plots
from mnist_mlp.report.figures.scales import Scale, bounds, bounds_with_intervals, set_logarithmic
from mnist_mlp.report.figures.style import Appearance, Style
from mnist_mlp.report.figures.svg import KEY
from mnist_mlp.report.text import escape
from mnist_mlp.report.text.captions import KEY_NAMES, SPLIT_NAMES

MAX_PANELS = 12  # in one figure; cells of other panels are only drawn in gray
MAX_COLUMNS = 4
MAX_WITH_LOSS = 8  # with more panels of the error, there is no room for those of the loss
MAX_TICKS = 7
MARGIN, BUDGET_MARGIN = 2, 1.1  # factors of room beside the outermost x values
DECADE = 10  # axes whose values span this factor are logarithmic
HUGE = 1e100  # beyond this, and below its inverse, axes stay linear
PER_VALUE = 0.62  # inches per value of a compared key
SIDE = 0.08  # room beside the outermost values, as a fraction of the axis

# Lengths in inches, for a layout by hand. For so many axes, Matplotlib's layout engine takes longer than drawing.
WIDTHS = {1: 4.3, 2: 3.5, 3: 2.8, 4: 2.45}  # width of a panel by the number of columns
FLATNESS = 0.74  # height of a panel divided by its width
BESIDE, ABOVE, BELOW = 0.95, 0.3, 0.62  # room for a y axis, a panel title and an x axis
GAP = 0.14  # between panels and at the edge
LINE, LETTER, HANDLE = 0.23, 0.09, 0.7  # of a legend: line height, character width, handle width
LETTER_PER_POINT = 0.0085  # width of a character per point of the font size


def learning_curves(curves: pd.DataFrame, look: Appearance, shown: Sequence[tuple[str, str]] = ()) -> Figure:
    """Draw curves of splits and measures against the epoch, one below the other.

    Args:
        curves: Learning curves of at least one cell, with errors (see `with_errors`).
        look: Appearance of the cells.
        shown: Pairs of split and measure. By default: the error on the test split, or on the last split that exists;
            and the training loss if there is room.
    """
    panels = _panels(curves, look)
    if not shown:
        shown = [([name for name in SPLITS if name in set(curves["split"])][-1], "error")]
        if len(panels) <= MAX_WITH_LOSS and (curves["split"] == "train").any():
            shown.append(("train", "loss"))
    figure, blocks = _grid(list(panels), len(shown), look.legend(set(curves[CELL])), look.title)
    for block, (split, measure) in zip(blocks, shown, strict=True):
        table = curves[curves["split"] == split]
        parts = dict(each_cell(table))
        for ax, cells in zip(block, panels.values(), strict=True):
            plots.plot_learning_curves(ax, parts, cells, look, measure)
        _label(block, "epoch", f"{SPLIT_NAMES[split]} ", measure, table)
    return figure


def against(table: pd.DataFrame, look: Appearance, x: str, of: str) -> Figure:
    """Draw the error against a numeric column, logarithmic if it spans a decade.

    Args:
        table: One row per cell and value, with errors (see `with_errors`), `diverged` and possibly `at_chance`.
        look: Appearance of the cells.
        x: Column of the x axis.
        of: Start of the title of the y axis, such as "test ".
    """
    panels, parts = _panels(table, look), dict(each_cell(table))
    figure, (block,) = _grid(list(panels), 1, look.legend(set(table[CELL])), look.title)
    for ax, cells in zip(block, panels.values(), strict=True):
        plots.plot_against(ax, parts, cells, look, x)
    values = sorted(set(table[x]))
    if x == "lr":
        low, high = bounds(values)
        set_logarithmic(block[0], "x", (low / MARGIN, high * MARGIN), Scale(""), 5)
    elif min(values) >= 0 and 1 / HUGE < min(positive := [v for v in values if v > 0]) <= max(values) / DECADE < HUGE:
        side = (positive[-1] / positive[0]) ** SIDE
        if min(values) > 0:
            set_logarithmic(block[0], "x", (values[0] / side, values[-1] * side), Scale(""), 5)
        else:  # linear between 0 and the smallest positive value
            block[0].set_xscale("symlog", linthresh=positive[0])
            block[0].set_xlim(-positive[0] / 2, values[-1] * side)
    else:
        block[0].margins(x=SIDE)
    if x != "lr" and len(values) <= MAX_TICKS:
        block[0].set_xticks(values, [f"{value:g}" for value in values])
    _label(block, x, of, "error", table)
    return figure


def interaction(table: pd.DataFrame, look: Appearance, values: Sequence[str], across: str) -> Figure:
    """Draw the error against the values of a compared key on a linear axis, with a line per cell.

    Args:
        table: One row per cell and value, with errors (see `with_errors`), `place` (position of the value), `label`
            (the value), `diverged` and `at_chance`.
        look: Appearance of the cells.
        values: Values of the key, from left to right.
        across: Compared key.
    """
    labels = escape.labels(values)
    width = max(WIDTHS[1], len(values) * PER_VALUE)
    rotated = max(map(len, labels)) * LETTER > width / len(values)
    figure = Figure(figsize=(BESIDE + width, 3.6 + rotated * LETTER * max(map(len, labels)) / 2), layout="constrained")
    ax = figure.subplots()
    plots.plot_interaction(ax, dict(each_cell(table)), look)
    turned = {"rotation": 30, "ha": "right"} if rotated else {"rotation": 0, "ha": "center"}
    ax.set_xticks(range(len(values)), labels)
    for text in ax.get_xticklabels():
        text.set(**turned)
    ax.set_xlabel(escape.figure(KEY_NAMES.get(across, across)))
    ax.set_ylabel("test error (%)")
    legend = look.legend(set(table[CELL]))
    _add_legend(figure, legend, look.title, min(len(legend), MAX_COLUMNS), outside=True)
    return figure


def budget(table: pd.DataFrame, look: Appearance) -> Figure:
    """Draw the expected test error against the number of configurations tried, from a table with errors and `k`."""
    panels, parts = _panels(table, look), dict(each_cell(table))
    figure, (block,) = _grid(list(panels), 1, look.legend(set(table[CELL])), look.title)
    for ax, cells in zip(block, panels.values(), strict=True):
        plots.plot_lines(ax, parts, cells, look, "k", "error")
    set_logarithmic(block[0], "x", (1 / BUDGET_MARGIN, table["k"].max() * BUDGET_MARGIN), Scale(""), 5)
    _label(block, "k", "expected test ", "error", table)
    return figure


def heatmap(summary: pd.DataFrame, by: Sequence[str]) -> Figure:
    """Draw the mean test accuracy over the compared keys."""
    (rows, _), (columns, _) = plots.sides(summary, by)
    beside, below = (max(map(len, labels)) for labels in (rows, columns))
    size = (max(4.5, len(columns) + 1.7 + 0.1 * beside), max(2.6, 0.7 * len(rows) + 1.3 + 0.07 * below))
    figure = Figure(figsize=size, layout="constrained")
    plots.plot_heatmap(figure.subplots(), summary, by)
    return figure


def strips(cells: Sequence[str]) -> tuple[Figure, Axes]:
    """Return a figure and axes with a row per cell, wider if labels are long."""
    longer = max(map(len, escape.labels(cells)), default=0) - escape.LONGEST_LABEL
    figure = Figure(figsize=(7.5 + LETTER * max(0, longer), 1.2 + 0.26 * len(cells)), layout="constrained")
    return figure, figure.subplots()


def _panels(table: pd.DataFrame, look: Appearance) -> dict[str, list[str]]:
    """Return the cells of the first `MAX_PANELS` panels."""
    return dict(list(look.panels(set(table[CELL])).items())[:MAX_PANELS])


def _grid(
    names: Sequence[str], blocks: int, legend: Mapping[str, Style], title: str
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure, and for each block its axes: one per name, in rows below a legend.

    The axes of a block share the y axis; all axes share the x axis. Blocks with a single name stand side by side.
    """
    rows = math.ceil(len(names) / MAX_COLUMNS)
    columns = math.ceil(len(names) / rows)
    across = blocks if len(names) == 1 else 1
    wide = WIDTHS[columns * across]
    high = FLATNESS * wide
    block_width, block_height = BESIDE + columns * (wide + GAP), BELOW + rows * (high + ABOVE)
    longest = max(map(len, escape.labels(list(legend))), default=0) * LETTER + HANDLE
    width = max(block_width * across, longest)
    in_a_row = max(1, min(len(legend), int(width / longest)))
    top = (1 + math.ceil(len(legend) / in_a_row)) * LINE + 0.1 if legend else 0
    height = top + block_height * (blocks // across)
    figure = Figure(figsize=(width, height))
    if legend:
        _add_legend(figure, legend, title, in_a_row)
    titles = escape.labels(names)
    made: list[list[Axes]] = []
    for block in range(blocks):
        made.append([])
        for number, text in enumerate(titles):
            row, column = divmod(number, columns)
            left = BESIDE + column * (wide + GAP) + block_width * (block if across > 1 else 0)
            down = top + (row + 1) * (high + ABOVE) + block_height * (0 if across > 1 else block)
            place = (left / width, 1 - down / height, wide / width, high / height)
            ax = figure.add_axes(
                place, sharex=made[0][0] if made[0] else None, sharey=made[-1][0] if made[-1] else None
            )
            ax.set_title(text, fontsize=_title_size(text, wide))
            ax.tick_params(labelleft=column == 0, labelbottom=number + columns >= len(names), labelsize="small")
            made[-1].append(ax)
    return figure, made


def _title_size(text: str, wide: float) -> str | float:
    """Return the font size of a title above a panel of this width in inches."""
    if len(text) * LETTER < wide:
        return "medium"
    return "x-small" if len(text) <= escape.LONGEST_LABEL else wide / (len(text) * LETTER_PER_POINT)


def _label(block: Sequence[Axes], x: str, of: str, measure: str, table: pd.DataFrame) -> None:
    """Make the y axis of a block logarithmic and label its axes."""
    scale = plots.SCALES[measure]
    set_logarithmic(block[0], "y", bounds_with_intervals(table, measure), scale, MAX_TICKS)
    for ax in block:
        if ax.yaxis.get_tick_params()["labelleft"]:
            ax.set_ylabel(of + scale.title)
        if ax.xaxis.get_tick_params()["labelbottom"]:
            ax.set_xlabel(plots.X_TITLES.get(x, escape.figure(x)))


def _add_legend(figure: Figure, legend: Mapping[str, Style], title: str, columns: int, outside: bool = False) -> None:
    handles = [
        Line2D([], [], color=style.color, linestyle=style.dash, linewidth=1.7, label=label)
        for label, style in zip(escape.labels(list(legend)), legend.values(), strict=True)
    ]
    place: Literal["outside upper center", "upper center"] = "outside upper center" if outside else "upper center"
    figure.legend(handles=handles, title=escape.figure(title), loc=place, ncols=columns, frameon=False).set_gid(KEY)
