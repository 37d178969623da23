"""Figures: functions that draw into given axes. One colour and one line style a cell, the same in every figure.

Colour is the last compared key (the optimizer), line style the first (the initialisation).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from mnist_mlp.report.analysis.roles import CELL, as_typed, each_cell
from mnist_mlp.report.analysis.roles import in_order as value_order
from mnist_mlp.report.render import escape

logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache otherwise

# Paul Tol's "muted" scheme, told apart by the colour-blind (Tol 2021, "Colour Schemes", SRON/EPS/TN/09-002).
COLOURS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255")
# For optimizers of the user's own; Okabe and Ito's, darker than those above.
MORE_COLOURS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#CC79A7", "#777777")
# These have one colour in every report, and these initialisations one line style; others take what is left, by name.
INITS = ("default", "he", "lecun", "xavier", "orthogonal", "truncated_normal")
OPTIMIZERS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adadelta", "adam", "radam")
LINE_STYLES = (
    *("solid", (0, (5, 2)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))),
    *((0, (2, 2)), (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))),
)
ACCURACY_TICKS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
DPI = 150
MOST_CELLS = 40  # in one figure; the best ones


@dataclass(frozen=True)
class Looks:
    """How cells are told apart.

    Attributes:
        colour: cell to colour.
        line: cell to line style.
        colours: legend of the colours, value of the key to colour, and its title; likewise lines.
    """

    colour: Mapping[str, str]
    line: Mapping[str, Any]
    colours: Mapping[str, str]
    lines: Mapping[str, Any]
    colour_title: str
    line_title: str


def looks(summary: pd.DataFrame, by: Sequence[str]) -> Looks:
    """Colour by the last compared keys, line style by the first where there are several."""
    first, rest = (by[0], by[1:]) if len(by) > 1 else (None, by)
    words = {key: summary[key].map(as_typed) for key in by}
    shade = list(map(" / ".join, zip(*(words[key] for key in rest), strict=True)))
    colour = colours(in_order(shade))
    dash = words[first] if first else pd.Series("", summary.index)
    line = line_styles(list(dash))
    names = {"init": "initialisation", "optim": "optimizer"}
    return Looks(
        colour={cell: colour[value] for cell, value in zip(summary[CELL], shade, strict=True)},
        line={cell: line[value] for cell, value in zip(summary[CELL], dash, strict=True)},
        colours=colour,
        lines=line if first else {},
        colour_title=" / ".join(names.get(key, key) for key in rest),
        line_title=names.get(first, first) if first else "",
    )


def colours(values: Sequence[str]) -> dict[str, str]:
    """A colour for each value."""
    others = sorted(set(values) - set(OPTIMIZERS))
    known = dict(zip(OPTIMIZERS, COLOURS, strict=True))
    own = {name: MORE_COLOURS[i % len(MORE_COLOURS)] for i, name in enumerate(others)}
    return {name: (known | own)[name] for name in values}


def line_styles(values: Sequence[str]) -> dict[str, Any]:
    """A line style for each value."""
    order = [*INITS, *sorted(set(values) - set(INITS))]
    if not set(values) & set(INITS):
        order = sorted(set(values))
    return {name: LINE_STYLES[order.index(name) % len(LINE_STYLES)] for name in order if name in set(values)}


def in_order(values: Sequence[str]) -> list[str]:
    """Values in the one order of all figures: known optimizers from simple to adaptive, then the others by name."""
    known = [name for name in OPTIMIZERS if name in set(values)]
    return known + sorted(set(values) - set(known), key=value_order)


def plot_learning_curves(ax: Axes, curves: pd.DataFrame, look: Looks, split: str, measure: str) -> Axes:
    """Draw the mean of a measure against the epoch, one line a cell, with its interval where there is one.

    Args:
        ax: where to draw.
        curves: columns cell, split, epoch, and the measure's _mean, _ci_low, _ci_high.
        look: of the cells.
        split: train, val or test.
        measure: loss (drawn on a logarithmic axis) or accuracy (on a logit axis).
    """
    for cell, part in each_cell(curves[curves["split"] == split]):
        style = {"color": look.colour[cell], "linestyle": look.line[cell], "linewidth": 1.5}
        ax.plot(part["epoch"], part[f"{measure}_mean"], **style)
        low, high = part[f"{measure}_ci_low"], part[f"{measure}_ci_high"]
        ax.fill_between(part["epoch"], low, high, color=look.colour[cell], alpha=0.15, linewidth=0)
    if measure == "loss":
        ax.set_yscale("log")
    else:
        _accuracy_axis(ax)
        ax.set_ylim(0.05, 0.999)
    ax.set_xlabel("epoch")
    ax.set_ylabel({"loss": "cross-entropy (nats)", "accuracy": "accuracy"}[measure])
    ax.set_title(f"{split} {measure}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    return ax


def _accuracy_axis(ax: Axes) -> None:
    ax.set_yscale("logit", nonpositive="clip")  # tells 0.97 from 0.98 and still shows the start
    ax.set_yticks(ACCURACY_TICKS, [f"{tick:g}" for tick in ACCURACY_TICKS])
    ax.yaxis.set_minor_locator(NullLocator())


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


def plot_sensitivity(ax: Axes, sensitivity: pd.DataFrame, look: Looks) -> Axes:
    """Draw mean accuracy against the learning rate, one line a cell; a cross where runs diverged."""
    floor = 0.06
    for cell, part in each_cell(sensitivity):
        colour = look.colour[cell]
        ax.plot(part["lr"], part["accuracy_mean"], color=colour, linestyle=look.line[cell], marker="o", markersize=4)
        ax.fill_between(part["lr"], part["accuracy_ci_low"], part["accuracy_ci_high"], color=colour, alpha=0.15, lw=0)
        bad = part[part["diverged"] > 0]
        ax.plot(bad["lr"], bad["accuracy_mean"].clip(lower=floor), "x", color=colour, markersize=9, markeredgewidth=2)
    ax.set_xscale("log")
    _accuracy_axis(ax)
    ax.set_ylim(0.05, 0.999)
    ax.set_xlabel("learning rate (optim.lr)")
    ax.set_ylabel("accuracy")
    ax.grid(alpha=0.3)
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
        ax.plot(hit, y[: len(hit)], "o", color=look.colour[cell], markersize=5)
        ax.plot([missed] * (len(epochs) - len(hit)), y[len(hit) :], "x", color=look.colour[cell], markersize=6)
        if len(epochs) and np.isfinite(epochs.median()):
            ax.plot([epochs.median()] * 2, [place[cell] - 0.35, place[cell] + 0.35], color=look.colour[cell], lw=2)
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
            ax.plot([low, high], [y, y], color=look.colour[cell], linewidth=2)
            ax.plot(difference, y, "o", color=look.colour[cell], markersize=6)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_xlabel(f"test accuracy less that of {escape.figure(best)} (percentage points)")
    return ax


def plot_seeds(ax: Axes, runs: pd.DataFrame, summary: pd.DataFrame, look: Looks) -> Axes:
    """Draw the final test accuracy of every seed in per cent, a bar at the cell's mean."""
    place = _rows(ax, list(summary[CELL]))
    for cell, part in each_cell(runs[runs[CELL].isin(place)]):
        accuracies = part["score"].dropna() * 100
        ax.plot(accuracies, [place[cell]] * len(accuracies), "o", color=look.colour[cell], alpha=0.6, markersize=5)
        mean = accuracies.mean()
        ax.plot([mean, mean], [place[cell] - 0.35, place[cell] + 0.35], color=look.colour[cell], linewidth=2)
    ax.set_xlabel("test accuracy after the last epoch (%)")
    return ax


def learning_curves(curves: pd.DataFrame, look: Looks) -> Figure:
    """Loss and accuracy of every split there is, against the epoch."""
    splits = [split for split in ("train", "val", "test") if split in set(curves["split"])]
    figure = Figure(figsize=(4.2 * len(splits) + 1.8, 7), layout="constrained")
    axes = figure.subplots(2, len(splits), squeeze=False, sharex=True, sharey="row")
    for column, split in enumerate(splits):
        plot_learning_curves(axes[0, column], curves, look, split, "loss")
        plot_learning_curves(axes[1, column], curves, look, split, "accuracy")
    for ax in axes.flat:
        ax.label_outer()
    add_legends(figure, look, set(curves[CELL]))
    return figure


def add_legends(figure: Figure, look: Looks, cells: set[str]) -> None:
    """Legends of colours and line styles beside a figure, of what these cells use."""
    used = {look.colour[cell] for cell in cells}, [look.line[cell] for cell in cells]
    colour = [
        Line2D([], [], color=c, label=escape.figure(name), linewidth=3)
        for name, c in look.colours.items()
        if c in used[0]
    ]
    figure.legend(handles=colour, title=escape.figure(look.colour_title), loc="outside right upper", frameon=False)
    if look.lines:
        lines = [
            Line2D([], [], color="black", ls=s, label=escape.figure(n)) for n, s in look.lines.items() if s in used[1]
        ]
        figure.legend(handles=lines, title=escape.figure(look.line_title), loc="outside right lower", frameon=False)


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


def sensitivity(table: pd.DataFrame, look: Looks) -> Figure:
    """Accuracy against the learning rate."""
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    plot_sensitivity(figure.subplots(), table, look)
    add_legends(figure, look, set(table[CELL]))
    return figure


def strips(cells: int) -> tuple[Figure, Axes]:
    """A figure with a row for each cell."""
    figure = Figure(figsize=(7.5, 1.4 + 0.3 * cells), layout="constrained")
    return figure, figure.subplots()
