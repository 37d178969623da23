"""Reading what a run has left behind; whatever is damaged is named."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.run.record import COMPLETED, METRICS_FILE, RUN_FILE, SPLITS, STATUSES, Metrics
from mnist_mlp.run.schema import BEFORE, GROUPS

# What every `run.json` has, and what one that ended early, or of an older version, may lack.
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "reason": (str, type(None)),
    "final": dict,
    "seconds": (int, float),
    "config_hash": str,
    "choices": dict,
    "config": dict,
}
OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "ended": str,
    "wall_seconds": (int, float),
    "environment": dict,
    "data": dict,
    "code": dict,
    "step": (str, type(None)),
    "stack_size": int,
    "overrides": (list, type(None)),
}


LARGEST = sys.float_info.max


class Unreadable(Exception):
    """A file that is not what its name promises."""


class Unfinished(Unreadable):
    """A run directory without `run.json`: the run was killed, or is still running."""


def texts(content: Any) -> list[str]:
    """Return the content of a JSON file that has to be a list of texts.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
        raise ValueError(f"{json.dumps(content)[:40]} is not a list of texts")
    return content


def read_summary(path: Path) -> Any:
    """The content of a `run.json`, whatever that is; None where there is none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def defect(summary: Any) -> str | None:
    """What keeps the content of a file from being a `run.json`, in words; None where nothing does."""
    if not isinstance(summary, dict):
        return "it is no JSON object"
    kinds = REQUIRED | {key: kind for key, kind in OPTIONAL.items() if key in summary}
    for key, kind in kinds.items():
        if key not in summary:
            return f"it has no {key}"
        if not isinstance(summary[key], kind):
            return f"its {key} is {json.dumps(summary[key])[:40]}"
    if summary["status"] not in STATUSES:
        return f"status {summary['status']!r} is none of {', '.join(STATUSES)}"
    if not isinstance(summary["config"].get("epochs"), int):
        return "its config lacks epochs"
    if not isinstance(digest := summary.get("data", {}).get("digest"), str | None):
        return f"its data.digest is {json.dumps(digest)[:40]}"
    if (strange := _strange(summary["config"])) is not None:
        return f"its config has a {strange} that none can have"
    chosen = BEFORE | summary["choices"]
    if missing := [group for group in GROUPS if not isinstance(chosen.get(group), str)]:
        return f"its choices lack {', '.join(missing)}"
    if not all(isinstance(last, dict) and {"loss", "accuracy"} <= last.keys() for last in summary["final"].values()):
        return "its final lacks losses or accuracies"
    if summary["status"] == COMPLETED and "test" not in summary["final"]:
        return "its final lacks test"
    return None


def _strange(config: Mapping[str, Any], prefix: str = "") -> str | None:
    """A key whose value no configuration has: a target that is no text, or a number beyond all floats."""
    for key, value in config.items():
        if isinstance(value, dict):
            if found := _strange(value, f"{prefix}{key}."):
                return found
        elif (key == "_target_" and not isinstance(value, str)) or (isinstance(value, int) and abs(value) > LARGEST):
            return f"{prefix}{key}"
    return None


def read_metrics(directory: Path, summary: Mapping[str, Any]) -> list[Metrics]:
    """The rows of a run's `metrics.csv`.

    Args:
        directory: of the run.
        summary: its `run.json`, without a `defect`.

    Raises:
        Unreadable: there is none, or it is damaged; or the run is completed and the rows end before its last epoch.
    """
    rows = _rows(directory / METRICS_FILE)
    if summary["status"] == COMPLETED:
        _check_complete(rows, summary["config"]["epochs"], summary["final"])
    return rows


def _rows(path: Path) -> list[Metrics]:
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines())  # pandas takes milliseconds to open a file however small
    except (OSError, ValueError, csv.Error) as error:
        raise Unreadable(f"{METRICS_FILE}: {error}") from error
    if tuple(header) != Metrics._fields:
        raise Unreadable(f"{METRICS_FILE}: its columns are {', '.join(header)}")
    if not text.endswith("\n"):
        raise Unreadable(f"{METRICS_FILE}: its last row has no end: truncated")
    try:
        rows = [Metrics(int(epoch), int(step), split, *map(float, numbers)) for epoch, step, split, *numbers in lines]
    except (TypeError, ValueError) as error:
        raise Unreadable(f"{METRICS_FILE}: {error}") from error
    if unknown := {row.split for row in rows} - set(SPLITS):
        raise Unreadable(f"{METRICS_FILE}: there is no split {', '.join(map(repr, sorted(unknown)))}")
    if len({(row.epoch, row.split) for row in rows}) < len(rows):
        raise Unreadable(f"{METRICS_FILE}: it has two rows of one epoch and split")
    return rows


def _check_complete(rows: Sequence[Metrics], epochs: int, final: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse the metrics of a completed run that end before its last epoch, or differ from its `run.json`."""
    for split, last in final.items():
        of_split = [row for row in rows if row.split == split]
        if len(of_split) != epochs + 1 or any(row.epoch != epoch for epoch, row in enumerate(of_split)):
            raise Unreadable(f"{METRICS_FILE}: {split} has {len(of_split)} rows instead of {epochs + 1}: truncated")
        if (of_split[-1].loss, of_split[-1].accuracy) != (last["loss"], last["accuracy"]):
            raise Unreadable(f"{METRICS_FILE}: its last {split} row is not the one in {RUN_FILE}")
