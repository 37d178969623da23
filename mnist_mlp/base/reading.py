"""Strict readers for the files of runs and sweeps, with messages that name the defect."""

import csv
import json
import math
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_mlp.base.errors import ConfigError
from mnist_mlp.base.metrics import metric_of
from mnist_mlp.base.record import COLUMNS, COMPLETED, METRICS_FILE, RUN_FILE, SPLITS, STATUSES, Metrics
from mnist_mlp.base.schema import GROUPS, KEYS, MAPPINGS

# Keys of every `run.json`, and keys that are missing if the run failed early, with their types.
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "reason": (str, type(None)),
    "final": dict,
    "seconds": (int, float),
    "ended": str,
    "wall_seconds": (int, float),
    "config_hash": str,
    "choices": dict,
    "config": dict,
    "code": dict,
    "overrides": list,
}
OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "environment": dict,
    "data": dict,
    "step": (str, type(None)),
    "stack_size": int,
    "parameters": (int, type(None)),
    "weights": dict,
    "metrics": dict,
}
SIZES = ("train", "val", "test", "inputs", "classes", "commonest_test_share")  # numeric keys of `data`

LARGEST = sys.float_info.max
MAX_EPOCHS = 2**31
MAX_STEPS = 2**63  # exclusive; pandas stores int64
LONGEST_PATH, LONGEST_PART = 2000, 255  # bytes of a job's name, and of each of its path components
MAX_DEPTH = 200  # maximum nesting depth


class Unreadable(Exception):
    """A file that is missing or damaged; the message names the file and the defect."""


class Unfinished(Unreadable):
    """A run directory without `run.json`: the run was killed, or is still running."""


def strings(content: Any) -> list[str]:
    """Return JSON content after checking that it is a list of strings.

    Raises:
        ValueError: The content is not a list of strings.
    """
    if not isinstance(content, list) or not all(isinstance(text, str) for text in content):
        raise ValueError(f"{_shown(content)} is not a list of strings")
    return content


def seeds(content: Any) -> list[int]:
    """Return JSON content after checking that it is a list of distinct seeds.

    Raises:
        ValueError: The content is not a list of distinct nonnegative integers.
    """
    is_list = isinstance(content, list) and all(type(seed) is int and seed >= 0 for seed in content)
    if not is_list or len({*content}) < len(content):
        raise ValueError(f"{_shown(content)} is not a list of seeds")
    return list(content)


def job_names(content: Any) -> list[str]:
    """Return JSON content after checking that it is a list of job names: paths relative to a sweep directory.

    Raises:
        ValueError: The content is not such a list, or a path leaves the sweep directory.
    """
    for name in strings(content):
        encoded = os.fsencode(name)
        is_long = len(encoded) > LONGEST_PATH or any(len(part) > LONGEST_PART for part in encoded.split(b"/"))
        if is_long or b"\0" in encoded or {"", ".."} & {*name.split("/")}:
            raise ValueError(f"{_shown(name)} is not the name of a job")
    return strings(content)


def read_json(path: Path) -> Any:
    """Read a JSON file, rejecting content that code downstream cannot process safely.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not JSON in UTF-8, has an integer beyond the range of a float, or is nested too deeply.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_int=_whole_number)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [content]
    for _ in range(MAX_DEPTH):
        level = [child for node in level if isinstance(node, dict | list) for child in _children(node)]
        if not level:
            return content
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _children(node: dict[str, Any] | list[Any]) -> Collection[Any]:
    return node.values() if isinstance(node, dict) else node


def _whole_number(text: str) -> int:
    number = int(text)
    if abs(number) > LARGEST:
        raise ValueError(f"it has a number of {len(text)} digits")
    return number


def read_summary(path: Path) -> Any:
    """Return the content of a `run.json`, unchecked; None if it is missing or not JSON."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None


def defect(summary: Any) -> str | None:
    """Describe the first defect in the content of a `run.json`; None if it is valid."""
    if not isinstance(summary, dict):
        return "it is not a JSON object"
    kinds = REQUIRED | {key: kind for key, kind in OPTIONAL.items() if key in summary}
    for key, kind in kinds.items():
        if key not in summary:
            return f"it has no {key}"
        if not isinstance(summary[key], kind) or isinstance(summary[key], bool):
            return f"its {key} is {_shown(summary[key])}"
    if summary["status"] not in STATUSES:
        return f"its status {_shown(summary['status'])} is not one of {', '.join(STATUSES)}"
    for key in ("seconds", "wall_seconds"):
        if not _is_size(summary[key]):
            return f"its {key} are {_shown(summary[key])}"
    if why := _defect_of_config(summary["config"]) or _defect_of_data(summary.get("data", {})):
        return why
    if missing := [group for group in GROUPS if not isinstance(summary["choices"].get(group), str)]:
        return f"its choices lack {', '.join(missing)}"
    if not all(isinstance(last, dict) and {"loss", "accuracy"} <= last.keys() for last in summary["final"].values()):
        return "its final lacks losses or accuracies"
    if summary["status"] == COMPLETED and "test" not in summary["final"]:
        return "its final lacks test"
    return None


def _defect_of_config(config: Mapping[str, Any]) -> str | None:
    """Describe the first defect in the configuration of a `run.json`: an unknown key or an impossible value."""
    for key, value in config.items():
        is_right = key in KEYS and isinstance(value, dict) == (key in (*GROUPS, *MAPPINGS))
        strange = _impossible_key({key: value}) if is_right else key
        if strange is not None:
            return f"its config has an unknown key or an invalid value at {_shown(strange)}"
    for name, node in config.get("metrics", {}).items():
        try:
            metric_of(name, node)
        except ConfigError as error:
            return f"its config is invalid: {_shown(str(error))}"
    for key, most in (("epochs", MAX_EPOCHS), ("seed", LARGEST)):
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
            return f"its config lacks {key}" if value is None else f"its config has {key} {_shown(value)}"
    return None


def _defect_of_data(data: Mapping[str, Any]) -> str | None:
    for key, value in data.items():
        if not (isinstance(value, str | None) if key == "digest" else key not in SIZES or _is_size(value)):
            return f"its data.{key} is {_shown(value)}"
    return None


def _is_size(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]


def _impossible_key(config: Mapping[str, Any], prefix: str = "") -> str | None:
    """Return the first key with an impossible value: a target that is not a string, or a number that is not finite."""
    for key, value in config.items():
        if isinstance(value, dict):
            if (found := _impossible_key(value, f"{prefix}{key}.")) is not None:
                return found
        elif not (isinstance(value, str) if key == "_target_" else _is_finite(value)):
            return f"{prefix}{key}"
    return None


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def read_metrics(directory: Path, summary: Mapping[str, Any]) -> list[Metrics]:
    """Read the rows of a run's `metrics.csv`.

    Args:
        directory: Run directory.
        summary: Content of the `run.json`, without a `defect`.

    Raises:
        Unreadable: The file is missing or damaged, or lacks rows of a completed run.
    """
    rows = _rows(directory / METRICS_FILE, list(summary["config"].get("metrics", {})))
    if summary["status"] == COMPLETED:
        _check_complete(rows, summary["config"]["epochs"], summary["final"])
    return rows


def _rows(path: Path, metrics: Sequence[str]) -> list[Metrics]:
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines())  # pandas takes milliseconds even for a small file
    except (OSError, ValueError, csv.Error) as error:
        raise Unreadable(f"{METRICS_FILE}: {error}") from error
    if tuple(header) != (*COLUMNS, *metrics):
        raise Unreadable(f"{METRICS_FILE}: unexpected columns {', '.join(header)}")
    if not text.endswith("\n"):
        raise Unreadable(f"{METRICS_FILE}: truncated in its last row")
    try:
        rows = [_row(line, len(metrics)) for line in lines]
    except (TypeError, ValueError) as error:
        raise Unreadable(f"{METRICS_FILE}: {error}") from error
    if unknown := {row.split for row in rows} - set(SPLITS):
        raise Unreadable(f"{METRICS_FILE}: unknown split {', '.join(map(repr, sorted(unknown)))}")
    if strange := [row for row in rows if not _is_in_range(row)]:
        raise Unreadable(f"{METRICS_FILE}: impossible row {','.join(map(str, strange[0]))[:80]}")
    if len({(row.epoch, row.split) for row in rows}) < len(rows):
        raise Unreadable(f"{METRICS_FILE}: two rows have the same epoch and split")
    return rows


def _row(line: Sequence[str], metrics: int) -> Metrics:
    epoch, step, split, *numbers = line
    loss, accuracy, lr, seconds, *additional = numbers
    if len(additional) != metrics:
        raise ValueError(f"{len(line)} values in a row instead of {len(COLUMNS) + metrics}")
    values = tuple(float(text or math.nan) for text in additional)
    return Metrics(int(epoch), int(step), split, float(loss), float(accuracy), float(lr), float(seconds), values)


def _is_in_range(row: Metrics) -> bool:
    """Return whether the values of a row are in range; losses, learning rates and metrics may be any number."""
    counts = 0 <= row.epoch < MAX_EPOCHS and 0 <= row.step < MAX_STEPS
    return counts and 0 <= row.accuracy <= 1 and _is_size(row.seconds)


def _check_complete(rows: Sequence[Metrics], epochs: int, final: Mapping[str, Mapping[str, float]]) -> None:
    """Check that the metrics of a completed run reach its last epoch and agree with `final` in its `run.json`."""
    for split, last in final.items():
        of_split = [row for row in rows if row.split == split]
        if len(of_split) != epochs + 1 or any(row.epoch != epoch for epoch, row in enumerate(of_split)):
            raise Unreadable(f"{METRICS_FILE}: {split} has {len(of_split)} rows instead of {epochs + 1}: truncated")
        if (of_split[-1].loss, of_split[-1].accuracy) != (last["loss"], last["accuracy"]):
            raise Unreadable(f"{METRICS_FILE}: its last {split} row disagrees with {RUN_FILE}")
