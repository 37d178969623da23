"""Results that are set aside while their runs are trained again, for outputs that they lack.

A run that is trained again must have the same result. Otherwise, as on another machine, the earlier result stays. It
stays, too, if the new run is killed. A new result also keeps the outputs that only the earlier one had.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from mnist_mlp.base.reading import read_json, read_summary
from mnist_mlp.base.record import (
    COLUMNS,
    METRICS_FILE,
    RUN_FILE,
    STEPS_FILE,
    WEIGHTS,
    WEIGHTS_FILES,
    StepLoss,
    write_atomically,
)
from mnist_mlp.sweeps.jobs import FINISHED, status_of

KEPT = ".kept"  # folder of a run directory
PARTS = (METRICS_FILE, STEPS_FILE, WEIGHTS, RUN_FILE)  # run.json is moved last, so its place tells how far a move got


def set_aside(directory: Path) -> None:
    """Move a run's result into the folder `.kept` of its directory."""
    kept = directory / KEPT
    kept.mkdir(exist_ok=True)
    _move(directory, kept)


def settle(directory: Path) -> bool:
    """Keep the new result of a run if it equals the one set aside; otherwise restore that one.

    Returns:
        False if a new result was different. True if it was equal, or if there is no new result.
    """
    kept = directory / KEPT
    if not kept.is_dir():
        return True
    has_ended = (kept / RUN_FILE).exists() and status_of(directory) is not None
    is_equal = has_ended and _are_equal(directory, kept)
    if is_equal:
        _add_outputs(directory, kept)
    else:
        if (kept / RUN_FILE).exists():  # otherwise it was not yet moved, or already moved back
            (directory / RUN_FILE).unlink(missing_ok=True)
            if "weights" not in (read_summary(kept / RUN_FILE) or {}):
                shutil.rmtree(directory / WEIGHTS, ignore_errors=True)
        _move(kept, directory)
    # Renamed first: a kill while it is deleted must not leave a part of it to be moved back.
    settled_before = directory / f"{KEPT}.settled"
    shutil.rmtree(settled_before, ignore_errors=True)
    kept.replace(settled_before)
    shutil.rmtree(settled_before)
    return is_equal or not has_ended


def _move(source: Path, target: Path) -> None:
    for name in PARTS:
        if (source / name).exists():
            if (target / name).is_dir():
                shutil.rmtree(target / name)
            (source / name).replace(target / name)


def settle_all(top: Path) -> None:
    """Settle all runs of a sweep that was killed while they were trained again."""
    for kept in list(top.rglob(KEPT)):
        settle(kept.parent)


def _are_equal(one: Path, other: Path) -> bool:
    """Return whether two results have the same status, losses, accuracies and step losses."""
    statuses = {status_of(one), status_of(other)}
    names = (METRICS_FILE, STEPS_FILE)
    if not all((place / name).is_file() for place in (one, other) for name in names):
        return False
    same_files = (_rows(one / name) == _rows(other / name) for name in names)
    return len(statuses) == 1 and statuses <= {*FINISHED} and all(same_files)


def _rows(path: Path) -> list[dict[str, str]]:
    compared = {*COLUMNS, *StepLoss._fields} - {"seconds"}
    return [{key: value for key, value in row.items() if key in compared} for row in _table(path)]


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _add_outputs(directory: Path, kept: Path) -> None:
    """Add the weights and metrics that only the result set aside has to a new, equal result.

    If this is interrupted, it can be done again.
    """
    new, old = read_json(directory / RUN_FILE), read_json(kept / RUN_FILE)
    for path in (kept / WEIGHTS).glob(WEIGHTS_FILES):
        (directory / WEIGHTS).mkdir(exist_ok=True)
        if not (directory / WEIGHTS / path.name).exists():
            path.replace(directory / WEIGHTS / path.name)
    files = sorted(path.name for path in (directory / WEIGHTS).glob(WEIGHTS_FILES))
    if files:
        new["weights"] = old.get("weights", {}) | new.get("weights", {}) | {"files": files}
    of_new, of_old = new["config"].get("metrics", {}), old["config"].get("metrics", {})
    if added := [name for name in of_old if name not in of_new]:
        new["config"]["metrics"] = of_new | {name: of_old[name] for name in added}
        facts = old.get("metrics", {})  # may lack a metric in a file that was changed by hand
        new["metrics"] = new.get("metrics", {}) | {name: facts[name] for name in added if name in facts}
        for split, last in new["final"].items():
            last |= {name: old["final"].get(split, {}).get(name) for name in added}
        rows = [
            [*(row[name] for name in (*COLUMNS, *of_new)), *(before[name] for name in added)]
            for row, before in zip(_table(directory / METRICS_FILE), _table(kept / METRICS_FILE), strict=True)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([[*COLUMNS, *of_new, *added], *rows])
        write_atomically(directory / METRICS_FILE, text.getvalue())
    write_atomically(directory / RUN_FILE, json.dumps(new, indent=2) + "\n")


def settled(directories: Iterable[Path]) -> list[Path]:
    """Settle runs, and return the directories whose new result was different."""
    return [directory for directory in directories if not settle(directory)]
