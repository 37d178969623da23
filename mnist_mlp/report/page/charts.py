"""The data of the page's interactive charts, and what sets each run apart."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import ENVIRONMENT
from mnist_mlp.analysis.roles import CELL, each_cell, search_runs
from mnist_mlp.analysis.selection import selection_split
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.base import schema
from mnist_mlp.base.record import SPLITS
from mnist_mlp.report.figures.scales import least_error, with_errors
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text import budget, captions, escape

MOST_CELLS = 60  # in one chart; the best ones
MOST_PANELS = 24  # of them; the cells of further ones are grey
LINE_WIDTH = 2  # pixels


def charts(comparison: Comparison) -> dict[str, Any]:
    """Learning curves, learning-rate sensitivity and budget curves, a list of cells each, and how to draw them.

    Returns:
        `curves`, `sensitivity` and `budget`: a cell each, with its name, its line's label, colour and dash, its panel,
        and points: of the curves by split. `panels`: names, best first; `legend`: labels in order; `title`: of the
        legend; `reading`: how to read it (see `appearance`). `splits`: best to look at first; `judged`: that of
        the sensitivity. `means`, `search_means`: what is shown by curves and sensitivity, in words. `undrawn`: which
        runs have no curve, in words. `left`: how many cells are not drawn.
    """
    look, least = appearance(comparison.summary, comparison.by), least_error(comparison.runs)
    best = comparison.summary[:MOST_CELLS]
    cells, completed = list(best[CELL]), list(best.loc[best["n"] > 0, CELL])
    names = [*look.panels(cells), *look.legend(cells), *look.label.values()]
    shown = dict(zip(names, escape.compact(names), strict=True))

    def cell_charts(frame: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        parts = dict(each_cell(with_errors(frame, least))) if len(frame) else {}
        return [
            (
                {
                    "name": cell,
                    "label": shown[look.label[cell]],
                    "colour": look.style[cell].colour,
                    "dash": _dash(look.style[cell].dash),
                    "panel": shown[look.panel[cell]],
                },
                parts[cell],
            )
            for cell in cells
            if cell in parts
        ]

    curves = [
        words | {split: _points(of, "epoch", ("error", "loss")) for split, of in part.groupby("split")}
        for words, part in cell_charts(comparison.curves)
    ]
    sensitivity = [
        words | _points(part, "lr", ("error",)) | {"diverged": part["diverged"].tolist()}
        for words, part in cell_charts(comparison.sensitivity)
    ]
    return {
        "curves": curves,
        "splits": [split for split in reversed(SPLITS) if any(split in curve for curve in curves)],
        "sensitivity": sensitivity,
        "budget": [
            words | _points(part, "k", ("error",)) for words, part in cell_charts(budget.as_accuracies(comparison))
        ],
        "panels": [shown[panel] for panel in look.panels(cells)][:MOST_PANELS],
        "reading": look.reading(completed or cells, MOST_PANELS),
        "judged": selection_split(search_runs(comparison.runs)),
        "legend": [shown[label] for label in look.legend(cells)],
        "title": look.title,
        "means": _means(comparison.curves, comparison.scored),
        "search_means": _means(comparison.sensitivity, search_runs(comparison.runs)),
        "undrawn": captions.undrawn(comparison, cells),
        "left": len(comparison.summary) - len(cells),
    }


def _means(table: pd.DataFrame, runs: pd.DataFrame) -> str:
    interval = f" with its 95 % interval{captions.by(runs)}" if captions.has_band(table) else ""
    return f"over {captions.over(runs)}{interval}"


def _points(frame: pd.DataFrame, x: str, measures: tuple[str, ...]) -> dict[str, Any]:
    columns = [f"{measure}_{part}" for measure in measures for part in ("mean", "ci_low", "ci_high")]
    return {"x": frame[x].tolist()} | {column: [float(f"{v:.4g}") for v in frame[column]] for column in columns}


def _dash(style: Any) -> str:
    """A line style of matplotlib's as Plotly has it."""
    return "solid" if style == "solid" else ",".join(f"{length * LINE_WIDTH}px" for length in style[1])


def differences(comparison: Comparison) -> Mapping[str, Any]:
    """What sets each run apart from the others, packed: texts once, and places in their list.

    Returns:
        `texts`; `usual`, the commonest value of every configuration key that varies, and none of a seed, as pairs of
        places (key, value);
        `runs`, by run: its directory, its command and the pairs that are not the usual ones.
    """
    runs = comparison.runs
    keys = [k for k in runs.columns if k in schema.GROUPS or _is_configured(k)]
    words = pd.DataFrame({key: runs[key].map(as_typed) for key in keys}, index=runs.index)
    varying = [key for key in keys if words[key].nunique() > 1]
    seeds = {key for key in varying if schema.role_of(key) is schema.Role.REPLICATE}  # which no run has in particular
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    usual = {key: "" if key in seeds else words[key].mode().iloc[0] for key in varying}
    codes = {key: words[key].map(place).tolist() for key in varying}
    packed = {}
    for row, (run, overrides) in enumerate(zip(runs.index, runs["overrides"], strict=True)):
        apart = [[place(k), codes[k][row]] for k in varying if k in seeds or codes[k][row] != place(usual[k])]
        command = json.loads(overrides)
        packed[run] = [shlex.join(["python", "run.py", *command]) if command else "", apart]
    return {
        "usual": {place(key): place(value) for key, value in usual.items()},
        "runs": packed,
        "texts": list(texts),
    }


def _is_configured(key: str) -> bool:
    return key in schema.KEYS or ("." in key and not key.startswith(ENVIRONMENT))
