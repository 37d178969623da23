"""Figures: functions that draw into given axes. Colour is the optimizer, line style the initialisation, everywhere."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

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


def colours(optimizers: Sequence[str]) -> dict[Any, str]:
    """A colour for each optimizer."""
    others = sorted(set(optimizers) - set(OPTIMIZERS))
    known = dict(zip(OPTIMIZERS, COLOURS, strict=True))
    own = {name: MORE_COLOURS[i % len(MORE_COLOURS)] for i, name in enumerate(others)}
    return {name: (known | own)[name] for name in optimizers}


def line_styles(inits: Sequence[str]) -> dict[Any, Any]:
    """A line style for each initialisation."""
    order = [*INITS, *sorted(set(inits) - set(INITS))]
    return {name: LINE_STYLES[order.index(name) % len(LINE_STYLES)] for name in order if name in set(inits)}


def in_order(optimizers: Sequence[str]) -> list[str]:
    """Optimizers in the one order of all figures: the known ones from simple to adaptive, then the others by name."""
    known = [name for name in OPTIMIZERS if name in set(optimizers)]
    return known + sorted(set(optimizers) - set(known))


def plot_learning_curves(ax: Axes, curves: pd.DataFrame, split: str, measure: str) -> Axes:
    """Draw the mean of a measure against the epoch, one line a cell, with its interval where there is one.

    Args:
        ax: where to draw.
        curves: columns init, optim, split, epoch, and the measure with its _low and _high.
        split: train, val or test.
        measure: loss (drawn on a logarithmic axis) or accuracy (on a logit axis).
    """
    of_split = curves[curves["split"] == split]
    colour, style = colours(list(curves["optim"])), line_styles(list(curves["init"]))
    for (init, optim), cell in of_split.groupby(["init", "optim"]):
        ax.plot(cell["epoch"], cell[measure], color=colour[optim], linestyle=style[init], linewidth=1.5)
        ax.fill_between(
            cell["epoch"], cell[f"{measure}_low"], cell[f"{measure}_high"], color=colour[optim], alpha=0.15, linewidth=0
        )
    if measure == "loss":
        ax.set_yscale("log")
    else:
        ax.set_yscale("logit", nonpositive="clip")  # tells 0.97 from 0.98 and still shows the start
        ax.set_ylim(0.05, 0.999)
        ax.set_yticks(ACCURACY_TICKS, [f"{tick:g}" for tick in ACCURACY_TICKS])
        ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("epoch")
    ax.set_ylabel({"loss": "cross-entropy (nats)", "accuracy": "accuracy"}[measure])
    ax.set_title(f"{split} {measure}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    return ax


def plot_heatmap(ax: Axes, summary: pd.DataFrame) -> Axes:
    """Draw mean test accuracy in per cent over initialisation (rows) and optimizer (columns); gaps where nothing ran.

    Args:
        ax: where to draw.
        summary: columns init, optim, test_accuracy_mean.
    """
    table = summary.pivot(index="init", columns="optim", values="test_accuracy_mean")
    table = table[in_order(list(table.columns))] * 100
    values = table.to_numpy(dtype=float)
    ax.imshow(np.ma.masked_invalid(values), cmap="cividis", aspect="auto")
    ax.set_xticks(range(len(table.columns)), [str(name) for name in table.columns], rotation=30, ha="right")
    ax.set_yticks(range(len(table.index)), [str(name) for name in table.index])
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        text = "none" if np.isnan(value) else f"{value:.2f}"
        ax.text(column, row, text, ha="center", va="center", color="white" if value < middle else "black")
    ax.set_title("mean test accuracy (%)")
    return ax


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Loss and accuracy of every split there is, against the epoch."""
    splits = [split for split in ("train", "val", "test") if split in set(curves["split"])]
    figure = Figure(figsize=(4.2 * len(splits) + 1.6, 7), layout="constrained")
    axes = figure.subplots(2, len(splits), squeeze=False, sharex=True, sharey="row")
    for column, split in enumerate(splits):
        plot_learning_curves(axes[0, column], curves, split, "loss")
        plot_learning_curves(axes[1, column], curves, split, "accuracy")
    for ax in axes.flat:
        ax.label_outer()
    colour, style = colours(in_order(list(curves["optim"]))), line_styles(list(curves["init"]))
    optims = [Line2D([], [], color=c, label=name, linewidth=3) for name, c in colour.items()]
    inits = [Line2D([], [], color="black", linestyle=s, label=name) for name, s in style.items()]
    figure.legend(handles=optims, title="optimizer", loc="outside right upper", frameon=False)
    figure.legend(handles=inits, title="initialisation", loc="outside right lower", frameon=False)
    return figure


def heatmap(summary: pd.DataFrame) -> Figure:
    """Mean test accuracy over initialisation and optimizer."""
    width, height = summary["optim"].nunique(), summary["init"].nunique()
    figure = Figure(figsize=(max(4.5, 1.0 * width + 2.2), max(2.6, 0.7 * height + 1.4)), layout="constrained")
    plot_heatmap(figure.subplots(), summary)
    return figure
