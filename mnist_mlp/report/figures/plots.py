"""Plot functions that draw into given axes; the appearance of a cell comes from `style`."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mnist_mlp.analysis.roles import CELL, each_cell
from mnist_mlp.base.record import COMPLETED
from mnist_mlp.report.figures.scales import THINNEST, Scale, squeeze
from mnist_mlp.report.figures.style import GRID, REFERENCE, SHADE, Appearance, Style, axis_title, combinations, title
from mnist_mlp.report.figures.svg import FIXED, Series
from mnist_mlp.report.text import escape
from mnist_mlp.report.text.units import OF_ACCURACY, Unit
from mnist_mlp.stats.verdicts import SIGNIFICANT

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # hides its messages about the font cache

MAX_CELLS = 40  # in one figure, best first
BELOW = "#bdbdbd"  # heatmap color of cells below the color scale, because runs diverged
MAX_BANDS = 4  # in one panel
COLORS = "Blues"  # color map of heatmaps, in which light is low
CROSS: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 2}
LARGEST, SMALLEST = 7, 4  # of markers in points: the first label's are the largest, so that equal values show
THIN = 0.5  # width of the best cell's line in panels of other cells, as a fraction of the others' width
HALF_BAR = 0.35  # fraction of a row
SIDE_BY_SIDE = 0.8  # height of all cells in one row, as a fraction of the row
APART = 0.2  # maximum distance of equal values, as a fraction of the row
# Distance from the last epoch to the column "missed", as a fraction of the epochs. It leaves room for the title of the
# column.
COLUMN = 0.18
FROM_BEST = "difference"
SCALES = {
    "error": Scale("error (%)", "%", 100),
    "loss": Scale("loss (nats)"),
    FROM_BEST: Scale("difference (points)", " points", 100, "+"),
}
OF_VERDICT = {  # background and text color in the figure of pairs
    "significant": ("#4477AA", "#ffffff"),
    "equivalent": ("#d4dde8", "#000000"),
    "inconclusive": ("#ffffff", "#000000"),
    "not tested": (SHADE, "#000000"),
}


def plot_lines(
    ax: Axes,
    parts: Mapping[str, pd.DataFrame],
    cells: Sequence[str],
    look: Appearance,
    x: str,
    y: str,
    banded: Collection[str] | None = None,
) -> Axes:
    """Draw a line with its interval for each of the given cells, and a thin line for the best cell behind them.

    A cell with a single point is drawn as a marker.

    Args:
        ax: Axes to draw into.
        parts: Table of each cell, with the column `x` and the columns of `y` that end in `_mean`, `_ci_low` and
            `_ci_high`.
        cells: Cells of the panel.
        look: Appearance of the cells.
        x: Column of the x axis.
        y: Measure: error, loss, or difference from the best cell.
        banded: Cells with an interval; None for all if there are at most `MAX_BANDS`, since more would hide each other.
    """
    if look.reference in parts and look.reference not in cells:
        best = parts[look.reference]
        mark = "o" if len(best) == 1 else ""
        line: dict[str, Any] = {"linewidth": THIN * mpl.rcParams["lines.linewidth"], "zorder": 1.5}
        line |= {"marker": mark, "markersize": SMALLEST}
        ax.plot(best[x], best[f"{y}_mean"], **_paint(REFERENCE), **line)
    shown = in_order((cell for cell in cells if cell in parts), look)  # a cell may lack a split
    alpha = min(0.15, 0.5 / max(len(shown), 1))  # otherwise overlapping bands hide the lines
    for cell in shown:
        part, style = parts[cell], look.style[cell]
        mark = style.marker if len(part) == 1 else ""
        mean, low, high = (part[f"{y}_{end}"] for end in ("mean", "ci_low", "ci_high"))
        line = {"linestyle": style.dash, "marker": mark, "markersize": SMALLEST}
        ax.add_line(Series(cell, _words(part, x, y), part[x], mean, **_paint(style), **line))
        if cell not in (banded if banded is not None else shown if len(shown) <= MAX_BANDS else ()):
            continue
        if mark:
            ax.vlines(part[x], low, high, **_paint(style), alpha=0.5)
        else:
            ax.fill_between(part[x], low, high, **_paint(style), alpha=alpha, linewidth=0)
    ax.autoscale_view()
    ax.grid(alpha=0.3)
    return ax


def in_order(cells: Iterable[str], look: Appearance) -> list[str]:
    """Return cells in the order of the legend, in which they are drawn."""
    return sorted(cells, key=lambda cell: look.style[cell].order)


def _paint(style: Style) -> dict[str, Any]:
    """Return the keyword arguments of each artist that belongs to a cell."""
    return {"color": style.color, "gid": style.group}


def _words(part: pd.DataFrame, x: str, y: str) -> list[str]:
    """Return the tooltip of each point: mean, interval and number of diverged runs."""
    scale = SCALES[y]
    means = part[[f"{y}_{end}" for end in ("mean", "ci_low", "ci_high")]].to_numpy(dtype=float) * scale.factor
    diverged = part.get("diverged", pd.Series(0, part.index))
    points = part["label"] if "label" in part else [f"{title([x])} {value:g}" for value in part[x]]
    return [
        f"{at}: {mean:{scale.sign}.3g}{scale.unit}"
        + (f" [{low:{scale.sign}.3g}, {high:{scale.sign}.3g}]" if np.isfinite(low) else "")
        + (f", {lost:g} diverged" if lost else "")
        for at, (mean, low, high), lost in zip(points, means, diverged, strict=True)
    ]


def plot_learning_curves(
    ax: Axes, parts: Mapping[str, pd.DataFrame], cells: Sequence[str], look: Appearance, measure: str
) -> Axes:
    """Draw the mean of a measure against the epoch (see `plot_lines`)."""
    plot_lines(ax, parts, cells, look, "epoch", measure)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    return ax


def plot_against(ax: Axes, parts: Mapping[str, pd.DataFrame], cells: Sequence[str], look: Appearance, x: str) -> Axes:
    """Draw the mean error against a numeric column (see `plot_lines`), with a marker at each value (see `_mark`)."""
    plot_lines(ax, parts, cells, look, x, "error")
    for cell in in_order((cell for cell in cells if cell in parts), look):
        _mark(ax, parts[cell], look.style[cell], x)
    return ax


def plot_interaction(ax: Axes, parts: Mapping[str, pd.DataFrame], look: Appearance) -> Axes:
    """Draw the mean error of all cells in percent against `place`, side by side (see `plot_lines` and `_mark`).

    The axis is linear, as effects are. Means with diverged runs are left out of the lines; their crosses are at the
    upper end of the axis, unless all have diverged runs.
    """
    step = min(0.08, 0.5 / len(parts))
    table = pd.concat(parts.values())
    measures = [f"error_{end}" for end in ("mean", "ci_low", "ci_high")]
    steady = table.loc[table["diverged"] == 0, measures].to_numpy()
    top = 100 * np.nanmax(steady) if np.isfinite(steady).any() else np.inf
    for number, cell in enumerate(in_order(parts, look)):
        part, style = parts[cell].copy(), look.style[cell]
        words = _words(part, "place", "error")
        part["place"] += (number - (len(parts) - 1) / 2) * step
        part[measures] *= 100
        is_steady = part["diverged"] == 0
        part["error_mean"] = part["error_mean"].where(is_steady, part["error_mean"].clip(upper=top))
        mean = part["error_mean"].where(is_steady)
        ax.add_line(Series(cell, words, part["place"], mean, linestyle=style.dash, **_paint(style)))
        whiskers = part.loc[is_steady, ["place", *measures[1:]]].T.to_numpy()
        ax.vlines(*whiskers, **_paint(style), alpha=0.5)
        _mark(ax, part, style, "place")
    ax.autoscale_view()
    ax.grid(alpha=0.3)
    return ax


def _mark(ax: Axes, part: pd.DataFrame, style: Style, x: str) -> None:
    """Draw a marker at each point: a cross where runs diverged, hollow where runs are not shown to beat chance."""
    bad = part["diverged"] > 0
    lost = part.get("at_chance", pd.Series(0, part.index)) > 0
    dot = _dot(style)
    hollow = dot | {"markerfacecolor": "white", "markeredgewidth": 1.5}
    for rows, mark in ((part[~bad & ~lost], dot), (part[~bad & lost], hollow), (part[bad], CROSS)):
        ax.plot(rows[x], rows["error_mean"], linestyle="", **_paint(style), clip_on=False, **mark)


def _dot(style: Style) -> dict[str, Any]:
    """Return marker and size of a label."""
    return {"marker": style.marker, "markersize": max(SMALLEST, LARGEST - style.order)}


def plot_heatmap(ax: Axes, summary: pd.DataFrame, by: Sequence[str], span: float = 0, unit: Unit = OF_ACCURACY) -> Axes:
    """Draw a heatmap of mean scores, with the first compared key in rows and the others in columns.

    A combination without a score shows "none". Darker is better. The color scale spans the cells without diverged runs.
    Cells worse than this scale are gray. Otherwise one cell with diverged runs would make all others look alike. The
    scale has a least span: otherwise differences within the noise would have the most different colors.

    Args:
        ax: Axes to draw into.
        summary: One row per cell, with the compared keys, `score`, and the mean of the metric over completed runs.
        by: Compared keys.
        span: Least span of the color scale, in the unit of the axis.
        unit: Unit of the scores.
    """
    (rows, down), (columns, across) = sides(summary, by)
    values = np.full((len(rows), len(columns)), np.nan)
    scores, completed = summary["score"] * unit.factor, summary[f"test_{unit.metric.name}_mean"] * unit.factor
    values[down, across] = scores
    steady = scores[np.isclose(scores, completed)]  # a diverged run worsens the score, but not this mean
    ends = _color_scale(scores, steady if len(steady) else scores[completed.notna()], span, unit)
    name = f"{COLORS}_r" if unit.metric.is_less_better else COLORS
    colors = mpl.colormaps[name].with_extremes(**{"over" if unit.metric.is_less_better else "under": BELOW})
    image = ax.imshow(np.ma.masked_invalid(values), cmap=colors, vmin=ends[0], vmax=ends[1], aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax, label=f"Mean {unit.column}", pad=0.02)
    bar.outline.set_visible(False)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    for axis, keys in zip((ax.yaxis, ax.xaxis), _keys(by), strict=True):
        axis.set_label_text(escape.figure(axis_title(keys)))
    for (row, column), value in np.ndenumerate(values):
        text, ink, group = "none", "black", None
        if np.isfinite(value):
            text, ink, group = unit.number(value / unit.factor), _ink(np.asarray(image.to_rgba(value))), FIXED
        ax.text(column, row, text, ha="center", va="center", color=ink, gid=group)
    return ax


def _color_scale(scores: pd.Series, steady: pd.Series, span: float, unit: Unit) -> tuple[float, float]:
    """Return the ends of the color scale: from the worst of the steady scores, or at least `span`, to the best score.

    Args:
        scores: Scores of all cells, as shown.
        steady: Scores of the cells without diverged runs.
        span: Least span.
        unit: Unit of the scores.
    """
    sign = unit.metric.sign
    best, worst = sign * float((sign * scores).max()), sign * float((sign * steady).min())
    span = max(span, 1e-4 * unit.factor)  # with equal limits, Matplotlib shows no value as too low
    far = float(np.clip(best - sign * span, *unit.ends))
    worst = sign * min(sign * worst, sign * far)
    return min(best, worst), max(best, worst)


def _keys(by: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the keys of the rows and the keys of the columns."""
    return (by[:1], by[1:]) if len(by) > 1 else ((), by)


def sides(summary: pd.DataFrame, by: Sequence[str]) -> list[tuple[list[str], list[int]]]:
    """Return the labels and the index of each cell's label, for the rows and for the columns of a heatmap."""
    labels = [combinations(summary, keys, named=len(keys) > 1) for keys in _keys(by)]
    return [(escape.labels(texts), places) for texts, places in labels]


def _ink(color: np.ndarray) -> str:
    """Return white or black, whichever contrasts more with this color (WCAG 2, relative luminance)."""
    rgb = color[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "white" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "black"


def _rows(ax: Axes, names: Sequence[str], label: str) -> None:
    """Set up the x label and one row per name, from top to bottom."""
    ax.set_yticks(range(len(names)), escape.labels(names))
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(alpha=0.3, axis="x")
    # Beside long names, a centered label would leave the figure. A right-aligned one has room below the names.
    ax.set_xlabel(label, loc="right")


def _dots(
    ax: Axes, cell: str, words: list[str], x: Iterable[float], y: Iterable[float], style: Style, **more: Any
) -> None:
    look = {"linestyle": "", "marker": style.marker, "markersize": 5}
    if more.get("marker") != "x":
        look |= {"markeredgecolor": "white", "markeredgewidth": 0.5}  # separates markers that touch
    ax.add_line(Series(cell, words, x, y, **look | _paint(style) | more))
    ax.autoscale_view()


def _bar(ax: Axes, x: float, y: float, style: Style) -> None:
    ax.plot([x, x], [y - HALF_BAR, y + HALF_BAR], **_paint(style), zorder=1.5)  # behind the markers


def plot_time_to_target(
    ax: Axes, runs: pd.DataFrame, summary: pd.DataFrame, look: Appearance, target: str = "the target accuracy"
) -> Axes:
    """Draw the epoch at which each run reached the target, and a bar at the median of each cell.

    Runs that missed the target are in a column at the right.

    Args:
        ax: Axes to draw into.
        runs: Scored runs with `cell` and `epochs_to_target`, which is infinite for a miss.
        summary: One row per cell, in drawing order.
        look: Appearance of the cells.
        target: Name of the target, for the title of the axis.
    """
    place = {cell: row for row, cell in enumerate(summary[CELL])}
    _rows(ax, list(place), f"Epochs to {target}")
    runs = runs[runs[CELL].isin(place) & runs["epochs_to_target"].notna()]
    finite = runs.loc[np.isfinite(runs["epochs_to_target"]), "epochs_to_target"]
    last = float(finite.max()) if len(finite) else 0.0
    step = max(1.0, COLUMN * last)
    missed = last + step
    for cell, part in each_cell(runs):
        epochs, style = part["epochs_to_target"], look.style[cell]
        y, is_hit = place[cell] + _apart(epochs), np.isfinite(epochs)
        hit, lost = epochs[is_hit], len(epochs) - is_hit.sum()
        median = f"median {epochs.median():g}" if np.isfinite(epochs.median()) else "median missed"
        _dots(ax, cell, [f"{epoch:g} epochs, {median}" for epoch in hit], hit, y[is_hit], style)
        _dots(ax, cell, [f"missed, {median}"] * lost, [missed] * lost, y[~is_hit], style, marker="x", markersize=6)
        if np.isfinite(epochs.median()):
            _bar(ax, epochs.median(), place[cell], style)
    ticks = [
        tick for tick in MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(0, last) if 0 <= tick <= last
    ]
    names = [f"{tick:g}" for tick in ticks]
    if len(finite) < len(runs):
        ax.axvspan(last + step / 2, missed + step / 2, color=SHADE, linewidth=0, zorder=0)
        ticks, names = [*ticks, missed], [*names, "missed"]
    ax.set_xlim(-0.2 * step, (missed if len(finite) < len(runs) else last) + step / 2)
    ax.set_xticks(ticks, names)
    return ax


def plot_differences(
    ax: Axes,
    pairs: pd.DataFrame,
    best: str,
    cells: Sequence[str],
    look: Appearance,
    unsteady: Collection[str] = (),
    grouped: bool = False,
    unit: Unit = OF_ACCURACY,
) -> Axes:
    """Draw each cell's difference from the best, with its simultaneous interval.

    A difference without an interval is hollow. A cell without a seed in common with the best has no marker.

    Args:
        ax: Axes to draw into.
        pairs: Result of `pairs.compare_pairs`.
        best: Cell that the others are compared with.
        cells: Cells in drawing order.
        look: Appearance of the cells.
        unsteady: Cells with diverged runs. Their differences may lie in a compressed end of the axis (see
            `scales.squeeze`).
        grouped: Whether the cells of a panel share a row, side by side. By default, each cell has a row.
        unit: Unit of the scores.
    """
    place = _side_by_side(cells, look) if grouped else {cell: float(row) for row, cell in enumerate(cells)}
    names = list(look.panels(cells)) if grouped else cells
    title = f"{unit.title} minus that of the best cell"
    _rows(ax, names, unit.with_unit(title, "percentage points"))
    rivals = pairs[(pairs["a"] == best) & pairs["b"].isin(place)].set_index("b")
    rivals = 0.0 - rivals[["difference", "ci_low", "ci_high"]]
    for cell, row in rivals.iterrows():
        (difference, high, low), y, style = row, place[str(cell)], look.style[str(cell)]
        words, face = f"{unit.signed(difference)}{unit.points}, no interval", "white"
        if np.isfinite(low):
            words = f"{unit.signed(difference)} {unit.signed_interval(low, high)}{unit.points}"
            face = style.color
        difference, low, high = (unit.factor * value for value in (difference, low, high))
        ax.plot([low, high], [y, y], **_paint(style))
        _dots(
            ax,
            str(cell),
            [words],
            [difference],
            [y],
            style,
            markersize=6,
            markerfacecolor=face,
            markeredgecolor=style.color,
        )
    if best in place:
        _dots(ax, best, ["best cell"], [0], [place[best]], look.style[best], marker="*", markersize=10)
    ax.axvline(0, color="black", linewidth=1, zorder=1)
    rivals *= unit.factor
    near = rivals[~rivals.index.isin(unsteady)] if best not in unsteady else rivals.head(0)
    focus = [0, *near.to_numpy().ravel()] if len(near) else []
    squeeze(ax, focus, [0, *rivals.to_numpy().ravel()], thinnest=_thinnest(unit))
    return ax


def _thinnest(unit: Unit) -> float:
    """Return the minimum width of an axis that is not compressed: that of plain numbers is unknown."""
    return THINNEST if unit.percent else 0.0


def _side_by_side(cells: Collection[str], look: Appearance) -> dict[str, float]:
    """Return the place of each cell: the row of its panel, shifted by the position of its label in the legend."""
    order = sorted({look.style[cell].order for cell in cells})
    step = SIDE_BY_SIDE / len(order)
    return {
        cell: row + (order.index(look.style[cell].order) - (len(order) - 1) / 2) * step
        for row, of_row in enumerate(look.panels(cells).values())
        for cell in of_row
    }


def plot_pairs(ax: Axes, pairs: pd.DataFrame, cells: Sequence[str], unit: Unit = OF_ACCURACY) -> Axes:
    """Draw a table of all differences: of the cell in the row minus that in the column.

    Rows are named, and columns have the numbers of the rows. The background shows the verdict (see `OF_VERDICT`).

    Args:
        ax: Axes to draw into.
        pairs: Result of `pairs.compare_pairs`.
        cells: Cells, the best first. The first has no column and the row of the last is empty.
        unit: Unit of the scores.
    """
    rows, columns = cells, cells[1:]
    for a, b, difference, verdict in pairs[["a", "b", "difference", "verdict"]].itertuples(index=False):
        x, y = columns.index(b), rows.index(a)
        back, ink = OF_VERDICT[shown_as(verdict)]
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=back, edgecolor=GRID, linewidth=0.8))
        if np.isfinite(difference):
            ax.text(x, y, unit.signed(difference), ha="center", va="center", color=ink, size="small")
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), [str(number) for number in range(2, len(cells) + 1)])
    names = [f"{name}  {number}" for number, name in enumerate(escape.labels(rows), start=1)]
    ax.set_yticks(range(len(rows)), names)
    ax.tick_params(length=0)
    ax.set_xlabel(unit.with_unit("Row minus column", "percentage points"))
    for side in ("top", "right", "bottom", "left"):
        ax.spines[side].set_visible(False)
    return ax


def shown_as(verdict: str) -> str:
    """Return the name of a verdict in the figure of pairs, where the sign of the difference shows the direction."""
    return "significant" if verdict in SIGNIFICANT else verdict


def _apart(values: pd.Series) -> pd.Series:
    """Return a vertical shift of each value that separates it from the values that it equals."""
    groups = values.groupby(values.round(6))
    counts = groups.transform("size")
    return (groups.cumcount() - (counts - 1) / 2) * np.minimum(APART, 2 * HALF_BAR / counts)


def plot_seeds(
    ax: Axes,
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    look: Appearance,
    epoch: str = "after the last epoch",
    unit: Unit = OF_ACCURACY,
) -> Axes:
    """Draw each seed's score, the worst value if it diverged, and a bar at the mean of each cell.

    Args:
        ax: Axes to draw into.
        runs: Scored runs with `cell`, `status` and `score`.
        summary: One row per cell, in drawing order.
        look: Appearance of the cells.
        epoch: Epoch of the scores, for the title of the axis.
        unit: Unit of the scores.
    """
    place = {cell: row for row, cell in enumerate(summary[CELL])}
    _rows(ax, list(place), unit.with_unit(f"{unit.title} {epoch}", "%"))
    runs = runs[runs[CELL].isin(place) & runs["score"].notna()]
    for cell, part in each_cell(runs):
        seeds, style = part["score"] * unit.factor, look.style[cell]
        mean = f"mean {unit.number(seeds.mean() / unit.factor)}{unit.percent}"
        words = [f"{unit.number(score)}{unit.percent}, {mean}" for score in part["score"]]
        _dots(ax, cell, words, seeds, place[cell] + _apart(seeds), style, alpha=0.6, clip_on=False)
        _bar(ax, seeds.mean(), place[cell], style)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, unit.ends[0]), min(high, unit.ends[1]))
    scores = runs["score"] * unit.factor
    squeeze(ax, scores[runs["status"] == COMPLETED], scores, unit.ends, _thinnest(unit))
    return ax
