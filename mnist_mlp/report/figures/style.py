"""Appearance of cells, the same in every figure: color and dashes of a line, and its panel."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mnist_mlp.analysis.roles import CELL, value_name
from mnist_mlp.analysis.values import as_typed, sort_key
from mnist_mlp.report.text.captions import KEY_NAMES

# These options have the same color and line style in every report. Other options get other colors, in the
# order of their names.
INITS = ("default", "he", "lecun", "xavier", "orthogonal", "truncated_normal")
OPTIMIZERS = ("sgd", "momentum", "nag", "adagrad", "rmsprop", "adadelta", "adam", "radam")
# Paul Tol's color-blind safe schemes "bright" and "muted" (2021, "Colour Schemes", SRON/EPS/TN/09-002).
INIT_COLORS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CCBB44", "#66CCEE")
OPTIMIZER_COLORS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255")
MORE_COLORS = ("#000000", "#E69F00", "#0072B2", "#D55E00", "#CC79A7", "#56B4E9")  # Okabe and Ito
LINE_STYLES = (
    *("solid", (0, (5, 2)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))),
    *((0, (2, 2)), (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))),
)
MAX_LINES = 8  # in one panel, if the cells can be split into panels
OTHERS = "#c8c8c8"  # cells of other panels
GRID = "#b0b0b0"  # Matplotlib's default color of grid lines
SHADE = "#ececec"  # background of the compressed ends of an axis


@dataclass(frozen=True)
class Style:
    """Appearance of all cells with one label.

    Attributes:
        color: Color of lines and markers.
        dash: Line style of Matplotlib.
        group: Class of the elements in an SVG, for the page's script.
    """

    color: str
    dash: Any
    group: str


@dataclass(frozen=True)
class Appearance:
    """Style, label and panel of each cell.

    Attributes:
        style: Style of each cell.
        label: Label of each cell in the legend: its value of the keys in `title`.
        panel: Title of the panel of each cell, best cell first; a single panel if only one key varies.
        title: Title of the legend; empty if all labels are equal.
        panel_title: Keys that distinguish the panels.
    """

    style: Mapping[str, Style]
    label: Mapping[str, str]
    panel: Mapping[str, str]
    title: str
    panel_title: str

    def panels(self, cells: Collection[str]) -> dict[str, list[str]]:
        """Return the given cells by panel; the panel with the best of all cells comes first."""
        panels: dict[str, list[str]] = {}
        for cell, name in self.panel.items():
            if cell in cells:
                panels.setdefault(name, []).append(cell)
        return panels

    def legend(self, cells: Collection[str]) -> dict[str, Style]:
        """Return the style of each label of these cells, in figure order; empty if all labels are equal."""
        used = {self.label[cell]: self.style[cell] for cell in cells} if self.title else {}
        return {label: used[label] for label in in_figure_order(list(used))}

    def reading(self, cells: Collection[str], most: int) -> str:
        """Return a sentence that says how to read a figure of these cells with at most `most` panels."""
        several = len(self.panels(cells))
        if several < 2:
            return f"A line for each {self.title}." if self.title else ""
        which = f"the {most} best of {several}" if several > most else "the best first"
        lines = f", a line for each {self.title}" if self.title else ""
        return f"A panel for each {self.panel_title}, {which}{lines}; all other cells in gray."


def appearance(summary: pd.DataFrame, by: Sequence[str]) -> Appearance:
    """Return an appearance with a line per value of the first compared key, and a panel per combination of the others.

    Lines and panels are swapped if the first key has a single value, or too many values for one panel.

    Args:
        summary: One row per cell, best first.
        by: Compared keys.
    """
    words = {key: [as_typed(value) for value in summary[key]] for key in by}

    def values(keys: Sequence[str], named: bool = False) -> list[str]:
        columns = [[value_name(key, v) if named else v for v in words[key]] for key in keys]
        return list(map(" / ".join, zip(*columns, strict=True))) if keys else [""] * len(summary)

    def count(keys: Sequence[str]) -> int:
        return len(set(values(keys)))

    lines, panels = by[:1], by[1:]
    if panels and count(lines) == 1:
        lines, panels = panels, lines
    if count(lines) > max(MAX_LINES, count(panels)):
        lines, panels = panels, lines
    cells, labels = list(summary[CELL]), values(lines)
    style = styles(labels)
    return Appearance(
        style={cell: style[label] for cell, label in zip(cells, labels, strict=True)},
        label=dict(zip(cells, labels, strict=True)),
        panel=dict(zip(cells, values(panels, named=True), strict=True)),
        title=_title(lines) if count(lines) > 1 else "",
        panel_title=_title(panels),
    )


def _title(keys: Sequence[str]) -> str:
    return " / ".join(KEY_NAMES.get(key, key) for key in keys)


def styles(values: Collection[str]) -> dict[str, Style]:
    """Return the style of each value; the order of the values does not matter."""
    known = dict(zip(INITS + OPTIMIZERS, INIT_COLORS + OPTIMIZER_COLORS, strict=True))
    place = {name: number for names in (INITS, OPTIMIZERS) for number, name in enumerate(names)}
    others = sorted(set(values) - set(known), key=sort_key)
    known |= {name: MORE_COLORS[number % len(MORE_COLORS)] for number, name in enumerate(others)}
    place |= {name: number for number, name in enumerate(others)}
    return {
        name: Style(known[name], LINE_STYLES[place[name] % len(LINE_STYLES)], f"label{number}")
        for number, name in enumerate(in_figure_order(list(set(values))))
    }


def in_figure_order(values: Sequence[str]) -> list[str]:
    """Return the values in the order of all figures: known optimizers from simple to adaptive, then others by name."""
    known = [name for name in OPTIMIZERS if name in set(values)]
    return known + sorted(set(values) - set(known), key=sort_key)
