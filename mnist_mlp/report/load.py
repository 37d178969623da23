"""Reads run directories into two tables; whatever cannot be read is named and left out, never guessed at."""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mnist_mlp.run import schema
from mnist_mlp.run.record import COMPLETED, FAILED, METRICS_FILE, RUN_FILE, Metrics, defect

SPLITS = ("train", "val", "test")
UNFINISHED = "unfinished"  # a run directory without run.json: still running, or killed
ENVIRONMENT = "environment."  # prefix of the columns that say where a run was made
COLUMN_TYPES = {"epoch": "int64", "step": "int64", "split": "str"} | dict.fromkeys(
    ("loss", "accuracy", "lr", "seconds"), "float64"
)


class Problem(NamedTuple):
    """A run directory that is not in the tables, and why."""

    run: str
    why: str


class Unreadable(Exception):
    """A file that is not what its name promises."""


@dataclass(frozen=True)
class Results:
    """What was found below the sweep directories.

    Attributes:
        runs: one row a run, indexed by its directory: `status`, `reason`, `seconds`, `parameters`, `config_hash`,
            `digest` of the data, `train_size` and `test_size` (numbers of images), `inputs` (pixels of each), `classes`
            and `commonest_test_share` (the commonest class' share of the test images), NaN where unknown, `step` (how
            it was computed), `stack_size` (runs trained as one with it), `overrides` (its command line, as JSON), the
            group choices (`init`, `optim`, `data`, `model`), `environment.*` (`environment.code.MODULE`: the
            digest of a file of the user's own), and every configuration key by its dotted name (`optim.lr`), lists as
            JSON text.
        metrics: the rows of every `metrics.csv` with the column `run`.
        problems: what was left out.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: Sequence[Problem]


def load(directories: Sequence[Path]) -> Results:
    """Read every run below these directories, or that one of them is; each file once, in one pass.

    A run is left out, with a reason, if its `run.json` is missing or unreadable, or its `metrics.csv` is truncated or
    not one of this project's. Of the same configuration on the same data found twice, the newest result counts, or the
    newest failure where there is no result.
    """
    found: list[tuple[float, dict[str, Any], list[Metrics]]] = []
    problems: list[Problem] = []
    for directory in sorted({run for top in directories for run in _run_directories(top)}):
        try:
            found.append(_read_run(directory))
        except Unreadable as error:
            problems.append(Problem(str(directory), str(error)))
    found.sort(key=lambda f: (f[1]["status"] == FAILED, -f[0]))
    counted: dict[str, dict[str | None, str]] = {}  # configuration's hash, data's digest: the run that counts
    runs: list[dict[str, Any]] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("run", *COLUMN_TYPES)}
    for _, run, rows in found:
        others = counted.setdefault(run["config_hash"], {})
        # A run that failed before it had its data is the same as any of its configuration.
        same = next(iter(others.values()), None) if run["digest"] is None else others.get(run["digest"])
        if same:
            problems.append(Problem(run["run"], f"the same configuration as {same}, which counts"))
            continue
        others[run["digest"]] = run["run"]
        runs.append(run)
        columns["run"] += [run["run"]] * len(rows)
        for name, values in zip(Metrics._fields, zip(*rows, strict=True), strict=False):
            columns[name] += values
    table = pd.DataFrame(runs).set_index("run").sort_index() if runs else pd.DataFrame()
    return Results(table, pd.DataFrame(columns).astype({"run": "str", **COLUMN_TYPES}), problems)


def _run_directories(top: Path) -> Iterator[Path]:
    for folder, subfolders, files in os.walk(top):
        if RUN_FILE in files or ".hydra" in subfolders:
            subfolders.clear()  # a run has no runs inside
            yield Path(folder)


def _read_run(directory: Path) -> tuple[float, dict[str, Any], list[Metrics]]:
    """When a run ended, in seconds since 1970, its row, and its metrics."""
    summary = _read_json(directory / RUN_FILE)
    try:
        status, final, data = summary["status"], summary["final"], summary.get("data", {})
        run = {
            "run": str(directory),
            "status": status,
            "reason": summary["reason"],
            "seconds": float(summary["seconds"]),
            "config_hash": str(summary["config_hash"]),
            "digest": data.get("digest"),  # a run that failed early has none
            "train_size": float(data.get("train", math.nan)),
            "test_size": float(data.get("test", math.nan)),
            "inputs": float(data.get("inputs", math.nan)),
            "classes": float(data.get("classes", math.nan)),
            "commonest_test_share": float(data.get("commonest_test_share", math.nan)),
            "parameters": summary.get("parameters"),
            "step": summary.get("step"),
            "stack_size": summary.get("stack_size", 1),
            "overrides": json.dumps(summary.get("overrides")),
            **summary["choices"],
            **dict(_flat(summary.get("environment", {}), ENVIRONMENT)),
            **dict(_flat(summary.get("code", {}), f"{ENVIRONMENT}code.")),
            **schema.LATER_DEFAULTS,
            **dict(_flat(summary["config"])),
        }
        rows = _read_metrics(directory / METRICS_FILE)
        if status == COMPLETED:
            _check_complete(rows, int(summary["config"]["epochs"]), final)
        ended = _ended(directory, summary.get("ended"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{RUN_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
    return ended, run, rows


def _ended(directory: Path, text: str | None) -> float:
    """When a run ended, in seconds since 1970; by its file, where it is of a version that did not write it down."""
    if text is None:
        return (directory / RUN_FILE).stat().st_mtime
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Unreadable(f"{UNFINISHED}: it has no {RUN_FILE}, so it was killed or still runs") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"{RUN_FILE}: {error}") from error
    if why := defect(content):
        raise Unreadable(f"{RUN_FILE}: not one of this project's: {why}")
    assert isinstance(content, dict)
    return content


def _read_metrics(path: Path) -> list[Metrics]:
    """The rows of a file; by the csv module, as pandas takes milliseconds to open a file however small."""
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(text.splitlines())
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
        if [row.epoch for row in of_split] != list(range(epochs + 1)):
            raise Unreadable(f"{METRICS_FILE}: {split} has {len(of_split)} rows instead of {epochs + 1}: truncated")
        if (of_split[-1].loss, of_split[-1].accuracy) != (last["loss"], last["accuracy"]):
            raise Unreadable(f"{METRICS_FILE}: its last {split} row is not the one in {RUN_FILE}")


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
