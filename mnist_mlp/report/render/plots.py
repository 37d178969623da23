"""Figures: functions that draw into given axes. How a cell looks is the same in all of them (see `looks`)."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mnist_mlp.report.analysis.roles import CELL, as_typed, each_cell
from mnist_mlp.report.render import escape
from mnist_mlp.report.render.looks import Looks, in_order

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache otherwise

DPI = 150
MOST_CELLS = 40  # in one figure; the best ones
OTHERS = "#c8c8c8"  # the cells that a panel is not about
CROSS: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 2}


def plot_lines(
    ax: Axes, parts: Mapping[str, pd.DataFrame], cells: Collection[str], look: Looks, x: str, y: str
) -> Axes:
    """Draw a line with its interval for each of these cells, and the others in grey behind them.

    Args:
        ax: where to draw.
        parts: cell to its rows, with x, and _mean, _ci_low and _ci_high of y.
        cells: that the panel is about.
        look: of the cells.
        x: column.
        y: measure, such as loss or error.
    """
    grey = [part[[x, f"{y}_mean"]].to_numpy(dtype=float) for cell, part in parts.items() if cell not in cells]
    ax.add_collection(LineCollection(grey, colors=OTHERS, linewidths=0.8, zorder=1), autolim=False)
    shown = [cell for cell in parts if cell in cells]
    alpha = min(0.15, 0.5 / max(len(shown), 1))  # else many bands on top of one another hide the lines
    for cell in shown:
        part, style = parts[cell], look.style[cell]
        ax.plot(part[x], part[f"{y}_mean"], color=style.colour, linestyle=style.dash, linewidth=1.7)
        low, high = part[f"{y}_ci_low"], part[f"{y}_ci_high"]
        ax.fill_between(part[x], low, high, color=style.colour, alpha=alpha, linewidth=0)
    ax.grid(alpha=0.3)
    return ax


def plot_learning_curves(
    ax: Axes, parts: Mapping[str, pd.DataFrame], cells: Collection[str], look: Looks, measure: str
) -> Axes:
    """Draw the mean of a measure (loss, accuracy, error) against the epoch (see `plot_lines`)."""
    plot_lines(ax, parts, cells, look, "epoch", measure)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    return ax


def plot_sensitivity(ax: Axes, parts: Mapping[str, pd.DataFrame], cells: Collection[str], look: Looks) -> Axes:
    """Draw the mean error against the learning rate (see `plot_lines`); a cross where runs diverged."""
    plot_lines(ax, parts, cells, look, "lr", "error")
    for cell in (cell for cell in parts if cell in cells):
        part, colour = parts[cell], look.style[cell].colour
        bad = part["diverged"] > 0
        for rows, mark in ((part[~bad], {"marker": "o", "markersize": 4}), (part[bad], CROSS)):
            ax.plot(rows["lr"], rows["error_mean"], linestyle="", color=colour, clip_on=False, **mark)
    return ax


def plot_heatmap(ax: Axes, summary: pd.DataFrame, by: Sequence[str]) -> Axes:
    """Draw mean test accuracy in per cent, first compared key by the others; gaps where nothing ran."""
    words = pd.DataFrame({key: summary[key].map(as_typed) for key in by})
    rows = words[by[0]] if len(by) > 1 else pd.Series("", summary.index)
    columns = words[list(by[1:]) or [by[0]]].agg(" / ".join, axis=1)
    table = summary["score"].groupby([rows.to_numpy(), columns.to_numpy()]).mean().unstack() * 100
    table = table[in_order(list(table.columns))]
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="viridis", aspect="auto")
    ax.set_xticks(
        range(len(table.columns)),
        list(map(escape.figure, table.columns)),
        rotation=45,
        ha="right",
        rotation_mode="anchor",
    )
    ax.set_yticks(range(len(table.index)), list(map(escape.figure, table.index)))
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        text = "none" if np.isnan(value) else f"{value:.2f}"
        ax.text(column, row, text, ha="center", va="center", color="white" if value < middle else "black")
    ax.set_title("mean test accuracy (%)")
    return ax


def _rows(ax: Axes, cells: Sequence[str]) -> dict[str, int]:
    ax.set_yticks(range(len(cells)), list(map(escape.figure, cells)))
    ax.invert_yaxis()
    ax.grid(alpha=0.3, axis="x")
    return {cell: number for number, cell in enumerate(cells)}


def plot_time_to_target(ax: Axes, runs: pd.DataFrame, summary: pd.DataFrame, look: Looks) -> Axes:
    """Draw the epoch at which each run reached the target, a bar at the cell's median, misses as crosses at the right.

    Args:
        ax: where to draw.
        runs: at the chosen settings, with `cell` and `epochs_to_target`, infinite where it was missed.
        summary: one row a cell, in the order to be drawn.
        look: of the cells.
    """
    place = _rows(ax, list(summary[CELL]))
    finite = runs.loc[np.isfinite(runs["epochs_to_target"]), "epochs_to_target"]
    missed = (finite.max() if len(finite) else 1) + 1
    for cell, part in each_cell(runs):
        if cell not in place:
            continue
        epochs = part["epochs_to_target"].dropna()
        hit = epochs[np.isfinite(epochs)]
        spread = (np.arange(len(epochs)) - (len(epochs) - 1) / 2) * min(0.1, 0.6 / max(len(epochs), 1))
        y = place[cell] + spread
        ax.plot(hit, y[: len(hit)], "o", color=look.style[cell].colour, markersize=5)
        ax.plot([missed] * (len(epochs) - len(hit)), y[len(hit) :], "x", color=look.style[cell].colour, markersize=6)
        if len(epochs) and np.isfinite(epochs.median()):
            ax.plot(
                [epochs.median()] * 2, [place[cell] - 0.35, place[cell] + 0.35], color=look.style[cell].colour, lw=2
            )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlim(-0.2, missed + 0.5)
    ticks = [tick for tick in ax.get_xticks() if 0 <= tick < missed]
    ax.set_xticks([*ticks, missed], [*(f"{tick:g}" for tick in ticks), "missed"])
    ax.set_xlabel("epochs to the target")
    return ax


def plot_differences(ax: Axes, pairs: pd.DataFrame, best: str, cells: Sequence[str], look: Looks) -> Axes:
    """Draw each cell's difference from the best, in percentage points, with its simultaneous interval."""
    place = _rows(ax, cells)
    rivals = pairs[pairs["a"] == best].set_index("b")[["difference", "ci_low", "ci_high"]] * -100
    for cell, y in place.items():
        if cell in rivals.index:
            difference, high, low = map(float, rivals.loc[cell])
            ax.plot([low, high], [y, y], color=look.style[cell].colour, linewidth=2)
            ax.plot(difference, y, "o", color=look.style[cell].colour, markersize=6)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_xlabel(f"test accuracy less that of {escape.figure(best)} (percentage points)")
    return ax


def plot_seeds(ax: Axes, runs: pd.DataFrame, summary: pd.DataFrame, look: Looks) -> Axes:
    """Draw the final test accuracy of every seed in per cent, a bar at the cell's mean."""
    place = _rows(ax, list(summary[CELL]))
    for cell, part in each_cell(runs[runs[CELL].isin(place)]):
        accuracies = part["score"].dropna() * 100
        ax.plot(
            accuracies, [place[cell]] * len(accuracies), "o", color=look.style[cell].colour, alpha=0.6, markersize=5
        )
        mean = accuracies.mean()
        ax.plot([mean, mean], [place[cell] - 0.35, place[cell] + 0.35], color=look.style[cell].colour, linewidth=2)
    ax.set_xlabel("test accuracy after the last epoch (%)")
    return ax


def heatmap(summary: pd.DataFrame, by: Sequence[str]) -> Figure:
    """Mean test accuracy over the compared keys."""
    width = len(summary.drop_duplicates(list(by[1:]) or [by[0]]))
    height = summary[by[0]].nunique() if len(by) > 1 else 1
    below, beside = (_longest(summary, keys) for keys in (list(by[1:]) or by, by[:1]))
    size = (max(4.5, width + 1.4 + 0.1 * beside), max(2.6, 0.7 * height + 1.0 + 0.07 * below))
    figure = Figure(figsize=size, layout="constrained")
    plot_heatmap(figure.subplots(), summary, by)
    return figure


def _longest(summary: pd.DataFrame, keys: Sequence[str]) -> int:
    """Letters of the longest label."""
    return int(summary[list(keys)].map(as_typed).agg(" / ".join, axis=1).map(escape.figure).str.len().max())


def strips(cells: int) -> tuple[Figure, Axes]:
    """A figure with a row for each cell."""
    figure = Figure(figsize=(7.5, 1.2 + 0.26 * cells), layout="constrained")
    return figure, figure.subplots()
