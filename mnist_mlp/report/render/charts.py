"""The data of the page's interactive charts, and what sets each run apart."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mnist_mlp.report.analysis.roles import CELL, REPLICATE, as_typed
from mnist_mlp.report.analysis.stats import Comparison
from mnist_mlp.report.load import ENVIRONMENT
from mnist_mlp.report.render import plots
from mnist_mlp.run import schema
from mnist_mlp.run.record import SPLITS

MOST_CELLS = 60  # in one chart; the best ones
LINE_WIDTH = 2  # pixels


def charts(comparison: Comparison) -> dict[str, Any]:
    """Learning curves and learning-rate sensitivity, a list of cells each: name, colour, dash, points."""
    look = plots.looks(comparison.summary, comparison.by)
    cells = list(comparison.summary[CELL][:MOST_CELLS])

    def lines(frame: pd.DataFrame, x: str, measures: tuple[str, ...]) -> dict[str, Any]:
        columns = [f"{m}_{part}" for m in measures for part in ("mean", "ci_low", "ci_high")]
        return {"x": frame[x].tolist()} | {column: frame[column].astype(float).round(5).tolist() for column in columns}

    def cell_charts(frame: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        parts = dict(list(frame.groupby(CELL))) if len(frame) else {}
        return [
            ({"name": cell, "colour": look.colour[cell], "dash": _dash(look.line[cell])}, parts[cell])
            for cell in cells
            if cell in parts
        ]

    curves = [
        words | {split: lines(of, "epoch", ("loss", "accuracy")) for split, of in part.groupby("split")}
        for words, part in cell_charts(comparison.curves)
    ]
    sensitivity = [
        words | lines(part, "lr", ("accuracy",)) | {"diverged": part["diverged"].tolist()}
        for words, part in cell_charts(comparison.sensitivity)
    ]
    splits = [split for split in reversed(SPLITS) if any(split in curve for curve in curves)]
    return {
        "curves": curves,
        "splits": splits,
        "sensitivity": sensitivity,
        "left": len(comparison.summary) - len(cells),
    }


def _dash(style: Any) -> str:
    """A line style of matplotlib's as Plotly has it."""
    return "solid" if style == "solid" else ",".join(f"{length * LINE_WIDTH}px" for length in style[1])


def differences(comparison: Comparison) -> Mapping[str, Any]:
    """What sets each run apart from the others, packed: texts once, and places in their list.

    Returns:
        `texts`; `usual`, the most common value of every configuration key that varies, as pairs of places (key, value);
        `runs`, by run: its directory, its command and the pairs that are not the usual ones.
    """
    runs = comparison.runs
    keys = [k for k in runs.columns if k in schema.GROUPS or k == REPLICATE or _is_configured(k)]
    words = pd.DataFrame({key: runs[key].map(as_typed) for key in keys}, index=runs.index)
    varying = [key for key in keys if words[key].nunique() > 1]
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    usual = {key: words[key].mode().iloc[0] for key in varying}
    codes = {key: words[key].map(place).tolist() for key in varying}
    packed = {}
    for row, (run, overrides) in enumerate(zip(runs.index, runs["overrides"], strict=True)):
        apart = [[place(k), codes[k][row]] for k in varying if k == REPLICATE or codes[k][row] != place(usual[k])]
        command = json.loads(overrides)
        packed[run] = [shlex.join(["python", "run.py", *command]) if command else "", apart]
    return {
        "usual": {place(key): place(value) for key, value in usual.items()},
        "runs": packed,
        "texts": list(texts),
    }


def _is_configured(key: str) -> bool:
    return key in schema.KEYS or ("." in key and not key.startswith(ENVIRONMENT))
