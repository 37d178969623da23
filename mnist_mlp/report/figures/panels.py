"""Layout of figures: small multiples with a legend, tables and rows of cells, for the page or for a paper."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mnist_mlp.analysis.roles import CELL, each_cell
from mnist_mlp.base.record import SPLITS
from mnist_mlp.report.figures import plots
from mnist_mlp.report.figures.scales import Scale, bounds, bounds_with_intervals, set_logarithmic
from mnist_mlp.report.figures.style import GRID, REFERENCE, Appearance, Style, axis_title
from mnist_mlp.report.figures.svg import KEY
from mnist_mlp.report.text import escape
from mnist_mlp.report.text.captions import SPLIT_NAMES
from mnist_mlp.report.text.units import OF_ACCURACY, Unit

MAX_PANELS = 12  # in one figure
MAX_ROWS_WITH_LOSS = 2  # with more rows of panels of the error, there is no room for those of the loss
MAX_TICKS = 8
MARGIN, BUDGET_MARGIN = 2, 1.1  # factors of room beside the outermost x values
DECADE = 10  # axes whose values span this factor are logarithmic
HUGE = 1e100  # beyond this, and below its inverse, axes stay linear
PER_VALUE = 0.62  # inches per value of a compared key
SIDE = 0.08  # room beside the outermost values, as a fraction of the axis
FENCE = 1.5  # interquartile ranges beyond the quartiles (Tukey 1977), where an axis ends at the latest

# Lengths in inches at a font size of 10 points, for a layout by hand. For so many axes, Matplotlib's layout engine
# takes longer than drawing.
POINTS = 10
LINE_WIDTH = 1.7  # in points
WIDTHS = {1: 4.3, 2: 3.5, 3: 2.8, 4: 2.45}  # width of a panel by the number of columns
FLATNESS = 0.74  # height of a panel divided by its width
BESIDE, ABOVE, BELOW = 0.95, 0.3, 0.62  # room for a y axis, a panel title and an x axis
GAP = 0.14  # between panels and at the edge
LINE, LETTER, HANDLE = 0.23, 0.09, 0.7  # of a legend: line height, character width, handle width
LETTER_PER_POINT = 0.0085  # width of a character per point of the font size


@dataclass(frozen=True)
class Medium:
    """Space for a figure.

    Attributes:
        width: Width in inches; None for the natural width.
        points: Font size.
        columns: Maximum number of panels side by side.
        dpi: Resolution of PNG files.
    """

    width: float | None = None
    points: float = POINTS
    columns: int = 4
    dpi: int = 150

    def inches(self, length: float) -> float:
        """Return a length at the font size of this medium, from one at 10 points."""
        return length * self.points / POINTS

    @property
    def settings(self) -> Any:
        """Settings of Matplotlib."""
        return {"font.size": self.points, "lines.linewidth": self.inches(LINE_WIDTH)}

    def size(self, width: float, height: float) -> tuple[float, float]:
        """Return the size of a figure, from its natural size at 10 points."""
        return self.width or width, self.inches(height)


PAGE = Medium()
PAPERS = {"column": Medium(3.25, 7, 2, 300), "page": Medium(6.75, 8, 4, 300)}  # of most papers with two columns


def learning_curves(
    curves: pd.DataFrame, look: Appearance, shown: Sequence[tuple[str, str]] = (), medium: Medium = PAGE
) -> Figure:
    """Draw curves of splits and measures against the epoch, one below the other.

    Args:
        curves: Learning curves of at least one cell, with errors (see `with_errors`).
        look: Appearance of the cells.
        shown: Pairs of split and measure. By default: the error on the test split, or on the last split that exists;
            and the training loss if there is room.
        medium: Space for the figure.
    """
    panels = look.panels(set(curves[CELL]), MAX_PANELS)
    if not shown:
        shown = [([name for name in SPLITS if name in set(curves["split"])][-1], "error")]
        if len(panels) <= MAX_ROWS_WITH_LOSS * medium.columns and (curves["split"] == "train").any():
            shown.append(("train", "loss"))
    figure, blocks = _grid(panels, len(shown), look, medium)
    for block, (split, measure) in zip(blocks, shown, strict=True):
        table = curves[curves["split"] == split]
        parts = dict(each_cell(table))
        for ax, cells in zip(block, panels.values(), strict=True):
            plots.plot_learning_curves(ax, parts, cells, look, measure)
        _label(block, "epoch", f"{SPLIT_NAMES[split]} ", measure, table)
    return figure


def curves_from_best(differences: pd.DataFrame, look: Appearance, medium: Medium = PAGE) -> Figure:
    """Draw the difference in test accuracy from the best cell against the epoch, on a linear axis.

    The axis ends at the usual means (see `FENCE`), since the first epochs may differ by much more than the later ones.

    Args:
        differences: See `curves.differences_by_epoch`.
        look: Appearance of the cells.
        medium: Space for the figure.
    """
    panels, parts = look.panels(set(differences[CELL]), MAX_PANELS), dict(each_cell(differences))
    figure, (block,) = _grid(panels, 1, look, medium)
    for ax, cells in zip(block, panels.values(), strict=True):
        plots.plot_learning_curves(ax, parts, cells, look, plots.FROM_BEST)
        ax.axhline(0, color="black", linewidth=0.8, zorder=1)
    means = differences["difference_mean"]
    low, high = means.quantile([0.25, 0.75])
    usual = means[means.between(low - FENCE * (high - low), high + FENCE * (high - low))]
    bottom, top = min(usual.min(), 0), max(usual.max(), 0)
    room = max(top - bottom, 1e-4) * SIDE
    block[0].set_ylim(bottom - room, top + room)
    for ax, cells in zip(block, panels.values(), strict=True):
        gone = [cell for cell in cells if not parts[cell]["difference_mean"].between(bottom - room, top + room).any()]
        if gone:  # a panel without a line would look like one without results
            names = ", ".join(escape.labels([look.label[cell] or cell for cell in gone]))
            ax.text(0.5, 0.04, f"below: {names}", transform=ax.transAxes, ha="center", size="small", wrap=True)
    block[0].yaxis.set_major_formatter(lambda value, _: f"{value * 100:.3g}")
    _title(block, "epoch", "Difference from best (points)")
    return figure


def against(table: pd.DataFrame, look: Appearance, x: str, of: str, medium: Medium = PAGE) -> Figure:
    """Draw the error against a numeric column, logarithmic if it spans a decade.

    Args:
        table: One row per cell and value, with errors (see `with_errors`), `diverged` and possibly `at_chance`.
        look: Appearance of the cells.
        x: Column of the x axis.
        of: Start of the title of the y axis, such as "test ".
        medium: Space for the figure.
    """
    panels, parts = look.panels(set(table[CELL]), MAX_PANELS), dict(each_cell(table))
    figure, (block,) = _grid(panels, 1, look, medium, marked=True)
    for ax, cells in zip(block, panels.values(), strict=True):
        plots.plot_against(ax, parts, cells, look, x)
    values = sorted(set(table[x]))
    if x == "lr":
        low, high = bounds(values)
        set_logarithmic(block[0], "x", (low / MARGIN, high * MARGIN), Scale(), 5)
    elif min(values) >= 0 and 1 / HUGE < min(positive := [v for v in values if v > 0]) <= max(values) / DECADE < HUGE:
        side = (positive[-1] / positive[0]) ** SIDE
        if min(values) > 0:
            set_logarithmic(block[0], "x", (values[0] / side, values[-1] * side), Scale(), 5)
        else:  # linear between 0 and the smallest positive value
            block[0].set_xscale("symlog", linthresh=positive[0])
            block[0].set_xlim(-positive[0] / 2, values[-1] * side)
    else:
        block[0].margins(x=SIDE)
    if x != "lr" and len(values) <= MAX_TICKS:
        block[0].set_xticks(values, [f"{value:g}" for value in values])
    _label(block, x, of, "error", table)
    return figure


def interaction(
    table: pd.DataFrame, look: Appearance, values: Sequence[str], across: str, medium: Medium = PAGE
) -> Figure:
    """Draw the error against the values of a compared key on a linear axis, with a line per cell.

    Args:
        table: One row per cell and value, with errors (see `with_errors`), `place` (position of the value), `label`
            (the value), `diverged` and `at_chance`.
        look: Appearance of the cells.
        values: Values of the key, from left to right.
        across: Compared key.
        medium: Space for the figure.
    """
    labels = escape.labels(values)
    width = medium.width or BESIDE + max(WIDTHS[1], len(values) * PER_VALUE)
    letter, longest = medium.inches(LETTER), max(map(len, labels))
    rotated = longest * letter > (width - medium.inches(BESIDE)) / len(values)
    height = 3.6 + rotated * LETTER * longest / 2
    figure = Figure(figsize=medium.size(width, height), layout="constrained")
    ax = figure.subplots()
    plots.plot_interaction(ax, dict(each_cell(table)), look)
    turned = {"rotation": 30, "ha": "right"} if rotated else {"rotation": 0, "ha": "center"}
    ax.set_xticks(range(len(values)), labels)
    for text in ax.get_xticklabels():
        text.set(**turned)
    ax.set_xlabel(escape.figure(axis_title([across])))
    ax.set_ylabel("Test error (%)")
    legend = look.legend(set(table[CELL]))
    _add_legend(figure, legend, look.title, _in_a_row(legend, width, medium), outside=True, marked=True)
    return figure


def budget(table: pd.DataFrame, look: Appearance, medium: Medium = PAGE) -> Figure:
    """Draw the expected test error against the number of configurations tried, from a table with errors and `k`.

    Only the best cell of each panel has a band: several bands would hide each other.
    """
    panels, parts = look.panels(set(table[CELL]), MAX_PANELS), dict(each_cell(table))
    figure, (block,) = _grid(panels, 1, look, medium)
    for ax, cells in zip(block, panels.values(), strict=True):
        plots.plot_lines(ax, parts, cells, look, "k", "error", banded=cells[:1])
    most = int(table["k"].max())
    set_logarithmic(block[0], "x", (1 / BUDGET_MARGIN, most * BUDGET_MARGIN), Scale(), 5)
    if most <= MAX_TICKS:
        block[0].set_xticks(range(1, most + 1), [str(k) for k in range(1, most + 1)])
    _label(block, "k", "expected test ", "error", table)
    return figure


def heatmap(
    summary: pd.DataFrame, by: Sequence[str], span: float = 0, medium: Medium = PAGE, unit: Unit = OF_ACCURACY
) -> Figure:
    """Draw the mean score over the compared keys (see `plots.plot_heatmap`)."""
    (rows, _), (columns, _) = plots.sides(summary, by)
    beside, below = (max(map(len, labels)) for labels in (rows, columns))
    size = max(4.5, len(columns) + 2.6 + 0.1 * beside), max(2.6, 0.7 * len(rows) + 1.3 + 0.07 * below)
    figure = Figure(figsize=medium.size(*size), layout="constrained")
    ax = plots.plot_heatmap(figure.subplots(), summary, by, span, unit)
    if medium.width:
        _shrink(figure, ax, len(columns))
    return figure


def pairs(table: pd.DataFrame, cells: Sequence[str], medium: Medium = PAGE, unit: Unit = OF_ACCURACY) -> Figure:
    """Draw all differences between cells (see `plots.plot_pairs`)."""
    longest = max(map(len, escape.labels(cells)))
    size = 0.7 * len(cells) + LETTER * longest, 1.0 + 0.33 * len(cells)
    figure = Figure(figsize=medium.size(*size), layout="constrained")
    ax = plots.plot_pairs(figure.subplots(), table, cells, unit)
    if medium.width:
        _shrink(figure, ax, len(cells) - 1)
    used = {plots.shown_as(verdict) for verdict in table["verdict"]}
    handles = [
        Patch(facecolor=back, edgecolor=GRID, label=name)
        for name, (back, _) in plots.OF_VERDICT.items()
        if name in used
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False)
    return figure


def _shrink(figure: Figure, ax: Axes, columns: int) -> None:
    """Shrink the texts of a table until each fits into its column."""
    figure.draw_without_rendering()
    wide = 0.92 * ax.get_window_extent().width / columns
    for text in ax.texts:
        text.set_fontsize(float(text.get_fontsize()) * min(1, wide / text.get_window_extent().width))


def strips(
    names: Sequence[str], look: Appearance, cells: Collection[str], medium: Medium = PAGE, in_a_row: int = 1
) -> tuple[Figure, Axes]:
    """Return a figure with a legend, and axes with a row per name, wider if names are long.

    Args:
        names: Names of the rows.
        look: Appearance of the cells.
        cells: Cells of the legend.
        medium: Space for the figure.
        in_a_row: Number of cells in one row.
    """
    longer = max(map(len, escape.labels(names)), default=0) - escape.LONGEST_LABEL
    legend = look.legend(cells)
    width = medium.width or 7.5 + LETTER * max(0, longer)
    across = _in_a_row(legend, width, medium)
    lines = math.ceil(len(legend) / across) + 1 if legend else 0
    height = 1.2 + (0.26 if in_a_row == 1 else 0.12 + 0.15 * in_a_row) * len(names) + LINE * lines
    figure = Figure(figsize=medium.size(width, height), layout="constrained")
    if legend:
        _add_legend(figure, legend, look.title, across, outside=True, marked=True, lined=False)
    return figure, figure.subplots()


def _grid(
    panels: Mapping[str, Sequence[str]], blocks: int, look: Appearance, medium: Medium, marked: bool = False
) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure, and for each block its axes: one per panel, in rows below a legend.

    The axes of a block share the y axis; all axes share the x axis. Blocks of a single panel stand side by side if
    there is room.

    Args:
        panels: Cells of each panel.
        blocks: Number of blocks.
        look: Appearance of the cells.
        medium: Space for the figure.
        marked: Whether lines have markers.
    """
    rows = math.ceil(len(panels) / medium.columns)
    columns = math.ceil(len(panels) / rows)
    across = blocks if len(panels) == 1 and medium.columns > blocks else 1
    beside, above, below, gap, line = map(medium.inches, (BESIDE, ABOVE, BELOW, GAP, LINE))
    wide = (medium.width / across - beside) / columns - gap if medium.width else WIDTHS[columns * across]
    high = FLATNESS * wide
    block_width, block_height = beside + columns * (wide + gap), below + rows * (high + above)
    cells = [cell for panel in panels.values() for cell in panel]
    legend = look.legend(cells, has_reference=len(panels) > 1 and look.reference in cells)
    width = max(block_width * across, 0 if medium.width else _longest(legend, medium))
    in_a_row = _in_a_row(legend, width, medium)
    top = (1 + math.ceil(len(legend) / in_a_row)) * line + medium.inches(0.1) if legend else 0
    height = top + block_height * (blocks // across)
    figure = Figure(figsize=(width, height))
    if legend:
        _add_legend(figure, legend, look.title, in_a_row, marked=marked)
    titles = escape.labels(list(panels))
    made: list[list[Axes]] = []
    for block in range(blocks):
        made.append([])
        for number, text in enumerate(titles):
            row, column = divmod(number, columns)
            left = beside + column * (wide + gap) + block_width * (block if across > 1 else 0)
            down = top + (row + 1) * (high + above) + block_height * (0 if across > 1 else block)
            place = (left / width, 1 - down / height, wide / width, high / height)
            ax = figure.add_axes(
                place, sharex=made[0][0] if made[0] else None, sharey=made[-1][0] if made[-1] else None
            )
            ax.set_title(text, fontsize=_title_size(text, wide))
            ax.tick_params(labelleft=column == 0, labelbottom=number + columns >= len(panels), labelsize="small")
            made[-1].append(ax)
    return figure, made


def _longest(legend: Mapping[str, Style], medium: Medium) -> float:
    """Return the width of the longest label of a legend in inches."""
    return medium.inches(max(map(len, escape.labels(list(legend))), default=0) * LETTER + HANDLE)


def _in_a_row(legend: Mapping[str, Style], width: float, medium: Medium) -> int:
    """Return the number of labels of a legend that stand side by side: in as few, equally long rows as fit."""
    most = max(1, int(width / _longest(legend, medium)))
    return math.ceil(len(legend) / math.ceil(len(legend) / most)) if legend else 1


def _title_size(text: str, wide: float) -> str | float:
    """Return the font size of a title above a panel of this width in inches."""
    points = float(mpl.rcParams["font.size"])
    if len(text) * LETTER * points / POINTS < wide:
        return "medium"
    return min(0.7 * points, wide / (len(text) * LETTER_PER_POINT))


def _label(block: Sequence[Axes], x: str, of: str, measure: str, table: pd.DataFrame) -> None:
    """Make the y axis of a block logarithmic and title its axes."""
    scale = plots.SCALES[measure]
    set_logarithmic(block[0], "y", bounds_with_intervals(table, measure), scale, MAX_TICKS)
    _title(block, x, (of + scale.title).capitalize())


def _title(block: Sequence[Axes], x: str, y: str) -> None:
    for ax in block:
        if ax.yaxis.get_tick_params()["labelleft"]:
            ax.set_ylabel(y)
        if ax.xaxis.get_tick_params()["labelbottom"]:
            ax.set_xlabel(escape.figure(axis_title([x])))


def _add_legend(
    figure: Figure,
    legend: Mapping[str, Style],
    title: str,
    columns: int,
    outside: bool = False,
    marked: bool = False,
    lined: bool = True,
) -> None:
    handles = [
        Line2D(
            *([], []),
            color=style.color,
            linestyle=style.dash if lined else "",
            linewidth=mpl.rcParams["lines.linewidth"] * (plots.THIN if style == REFERENCE else 1),
            marker=style.marker if marked else "",
            markersize=5,
            label=label,
        )
        for label, style in zip(escape.labels(list(legend)), legend.values(), strict=True)
    ]
    place: Literal["outside upper center", "upper center"] = "outside upper center" if outside else "upper center"
    figure.legend(handles=handles, title=escape.figure(title), loc=place, ncols=columns, frameon=False).set_gid(KEY)
