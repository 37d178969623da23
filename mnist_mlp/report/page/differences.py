"""Differences between the configurations of runs, as data for the page's script."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import ENVIRONMENT
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.base import schema
from mnist_mlp.report.text import escape


def differences(comparison: Comparison) -> Mapping[str, Any]:
    """Return the configuration values in which each run differs from the commonest ones, and its seeds.

    Keys and values are given as indices into `texts`.

    Returns:
        `texts`: Names and values of the varying keys, each once.
        `usual`: Commonest value of each varying key; the empty text for seeds, which every run lists.
        `runs`: Command of each run, and its pairs (key, value) that differ from `usual`, by run directory.
    """
    runs = comparison.runs
    keys = [k for k in runs.columns if k in schema.GROUPS or _is_configured(k)]
    words = pd.DataFrame({key: runs[key].map(as_typed) for key in keys}, index=runs.index)
    varying = [key for key in keys if words[key].nunique() > 1]
    seeds = {key for key in varying if schema.role_of(key) is schema.Role.REPLICATE}  # each run lists its seed
    texts: dict[str, int] = {}

    def place(text: str) -> int:
        return texts.setdefault(text, len(texts))

    usual = {key: "" if key in seeds else words[key].mode().iloc[0] for key in varying}
    codes = {key: words[key].map(place).tolist() for key in varying}
    packed = {}
    for row, (run, overrides) in enumerate(zip(runs.index, runs["overrides"], strict=True)):
        apart = [[place(k), codes[k][row]] for k in varying if k in seeds or codes[k][row] != place(usual[k])]
        command = json.loads(overrides)
        packed[escape.visible(run)] = [
            escape.visible(shlex.join(["python", "run.py", *command])) if command else "",
            apart,
        ]
    return {
        "usual": {place(key): place(value) for key, value in usual.items()},
        "runs": packed,
        "texts": list(map(escape.visible, texts)),
    }


def _is_configured(key: str) -> bool:
    return key in schema.KEYS or ("." in key and not key.startswith(ENVIRONMENT))
