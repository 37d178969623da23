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
MORE_COLORS = ("#E69F00", "#0072B2", "#D55E00", "#CC79A7", "#56B4E9", "#009E73")  # Okabe and Ito
LINE_STYLES = (
    *("solid", (0, (5, 2)), (0, (1, 1)), (0, (4, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))),
    *((0, (2, 2)), (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))),
)
MARKERS = {"o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "p": "⬟", "h": "⬢", "<": "◀"}  # and their text
MAX_LINES = 8  # in one panel, if the cells can be split into panels
GRID = "#b0b0b0"  # Matplotlib's default color of grid lines
SHADE = "#ececec"  # background of the compressed ends of an axis


@dataclass(frozen=True)
class Style:
    """Appearance of all cells with one label.

    Attributes:
        color: Color of lines and markers.
        dash: Line style of Matplotlib.
        marker: Marker of Matplotlib.
        order: Position of the label in the legend.
    """

    color: str
    dash: Any
    marker: str
    order: int

    @property
    def group(self) -> str:
        """Class of the elements in an SVG, for the page's script."""
        return f"label{self.order + 1}"


TITLES = KEY_NAMES | {  # titles of axes and legends; other keys are titled by their names
    **{"optim.lr": "learning rate", "lr": "learning rate", "optim.weight_decay": "weight decay"},
    **{"batch_size": "batch size", "model.dropout": "dropout rate", "model.activation": "activation"},
    **{"data.train_size": "training images", "optim.momentum": "momentum", "k": "configurations tried"},
}
UNITS = {"depth": "depth (hidden layers)", "width": "width (units per hidden layer)"}  # titles of axes only
REFERENCE = Style("#000000", "solid", "", -1)  # the best cell, in panels of other cells; its line is thin
REFERENCE_LABEL = "best cell"


@dataclass(frozen=True)
class Appearance:
    """Style, label and panel of each cell.

    Attributes:
        style: Style of each cell.
        label: Label of each cell in the legend: its value of the keys in `title`.
        panel: Title of the panel of each cell, best cell first; a single panel if only one key varies.
        panel_names: Titles of all panels, in figure order.
        title: Title of the legend; empty if all labels are equal.
        panel_title: Keys that distinguish the panels.
        reference: Best cell, which is also shown in the panels of other cells; empty if it is not.
    """

    style: Mapping[str, Style]
    label: Mapping[str, str]
    panel: Mapping[str, str]
    panel_names: Sequence[str]
    title: str
    panel_title: str
    reference: str = ""

    def panels(self, cells: Collection[str], most: int | None = None) -> dict[str, list[str]]:
        """Return the given cells by panel, the best first; only the panels with the best cells if there are more."""
        panels: dict[str, list[str]] = {}
        for cell, name in self.panel.items():
            if cell in cells:
                panels.setdefault(name, []).append(cell)
        chosen = list(panels)[:most]
        return {name: panels[name] for name in self.panel_names if name in chosen}

    def legend(self, cells: Collection[str], has_reference: bool = False) -> dict[str, Style]:
        """Return the style of each label of these cells, in figure order; empty if all labels are equal."""
        used = {self.label[cell]: self.style[cell] for cell in cells} if self.title else {}
        ordered = {label: used[label] for label in in_figure_order(list(used))}
        best = REFERENCE_LABEL
        while best in ordered:  # an option of this name
            best = f"the {best}"
        return ordered | ({best: REFERENCE} if has_reference else {})

    def reading(self, cells: Collection[str], most: int) -> str:
        """Return a sentence that says how to read a figure of these cells with at most `most` panels."""
        several = len(self.panels(cells))
        if several < 2:
            return f"A line for each {self.title}." if self.title else ""
        which = f" (the {most} best of {several})" if several > most else ""
        lines = f", a line for each {self.title}" if self.title else ""
        best = f" The thin line, for comparison: the best cell, {self.reference}." if self.reference in cells else ""
        return f"A panel for each {self.panel_title}{which}{lines}.{best}"


def appearance(summary: pd.DataFrame, by: Sequence[str], reference: str = "", one_panel: bool = False) -> Appearance:
    """Return an appearance with a line per value of the first compared key, and a panel per combination of the others.

    Lines and panels are swapped if the first key has a single value, or too many values for one panel.

    Args:
        summary: One row per cell, best first.
        by: Compared keys.
        reference: See `Appearance`.
        one_panel: Whether all lines belong into one panel, however many they are.
    """

    def count(keys: Sequence[str]) -> int:
        return len(combinations(summary, keys)[0])

    lines, panels = by[:1], by[1:]
    if panels and count(lines) == 1:
        lines, panels = panels, lines
    if not one_panel and count(lines) > max(MAX_LINES, count(panels)):
        lines, panels = panels, lines
    cells = list(summary[CELL])
    (names, places), (titles, titled) = combinations(summary, lines), combinations(summary, panels, named=True)
    labels = [names[place] for place in places]
    style = styles(labels)
    return Appearance(
        style={cell: style[label] for cell, label in zip(cells, labels, strict=True)},
        label=dict(zip(cells, labels, strict=True)),
        panel={cell: titles[place] for cell, place in zip(cells, titled, strict=True)},
        panel_names=list(dict.fromkeys(titles)),
        title=title(lines) if len(names) > 1 else "",
        panel_title=title(panels),
        reference=reference,
    )


def title(keys: Sequence[str]) -> str:
    """Return the title of a legend, or of a panel, for these keys."""
    return " / ".join(TITLES.get(key, key) for key in keys)


def axis_title(keys: Sequence[str]) -> str:
    """Return the title of an axis for these keys; names of keys keep their case."""
    text = UNITS[keys[0]] if len(keys) == 1 and keys[0] in UNITS else title(keys)
    return text[:1].upper() + text[1:] if keys and keys[0] in (*TITLES, *UNITS, "epoch") else text


def styles(values: Collection[str]) -> dict[str, Style]:
    """Return the style of each value; the order of the values does not matter."""
    known = dict(zip(INITS + OPTIMIZERS, INIT_COLORS + OPTIMIZER_COLORS, strict=True))
    place = {name: number for names in (INITS, OPTIMIZERS) for number, name in enumerate(names)}
    others = sorted(set(values) - set(known), key=sort_key)
    known |= {name: MORE_COLORS[number % len(MORE_COLORS)] for number, name in enumerate(others)}
    taken = {place[name] for name in set(values) - set(others)}
    free = [number for number in range(len(MARKERS)) if number not in taken] or [*range(len(MARKERS))]
    place |= {name: free[number % len(free)] for number, name in enumerate(others)}
    return {
        name: Style(
            known[name], LINE_STYLES[place[name] % len(LINE_STYLES)], [*MARKERS][place[name] % len(MARKERS)], order
        )
        for order, name in enumerate(in_figure_order(list(set(values))))
    }


def combinations(summary: pd.DataFrame, keys: Sequence[str], named: bool = False) -> tuple[list[str], list[int]]:
    """Return the labels of all combinations of the keys' values in figure order, and each row's index among them.

    Args:
        summary: Table with the keys as columns.
        keys: Keys.
        named: Whether a value that is no option is labeled as `key=value`.
    """
    words = {key: list(map(as_typed, summary[key])) for key in keys}
    order = {key: {value: number for number, value in enumerate(in_figure_order(words[key]))} for key in keys}
    rows = list(zip(*words.values(), strict=True)) if keys else [()] * len(summary)
    places = [tuple(order[key][value] for key, value in zip(keys, row, strict=True)) for row in rows]
    texts = [[value_name(key, value) if named else value for key, value in zip(keys, row, strict=True)] for row in rows]
    labels = dict(zip(places, map(" / ".join, texts), strict=True))
    distinct = sorted(labels)
    return [labels[place] for place in distinct], [distinct.index(place) for place in places]


def in_figure_order(values: Sequence[str]) -> list[str]:
    """Return the values in the order of all figures: known optimizers from simple to adaptive, then others by name."""
    known = [name for name in OPTIMIZERS if name in set(values)]
    return known + sorted(set(values) - set(known), key=sort_key)
