"""Content of `looks.json`: the interim analyses of a sweep that adds seeds, and their plan."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnist_mlp.base.reading import Unreadable, job_names, read_json, seeds, strings
from mnist_mlp.base.record import finite, write_atomically

LOOKS_FILE = "looks.json"
MAX_SEEDS = 1000  # per cell; a difference that takes more seeds to detect is negligible


@dataclass(frozen=True)
class InterimRecord:
    """One interim analysis.

    Attributes:
        seeds: Seeds of the active cells at this analysis.
        level: Significance level of each pair at this analysis.
        cells: Active cells.
        best: Active cell with the highest score.
        left: Active cells that were dropped after this analysis, each with its verdict against the best.
    """

    seeds: Sequence[int]
    level: float
    cells: Sequence[str]
    best: str
    left: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SequentialPlan:
    """Plan of the interim analyses of a sweep that adds seeds.

    Attributes:
        margin: Equivalence margin, a fraction; None disables equivalence testing.
        max_seeds: Maximum number of seeds per cell.
        batch: Number of seeds that are added at a time.
    """

    margin: float | None
    max_seeds: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class SequentialRecord:
    """Content of a `looks.json`: the interim analyses of a sweep.

    Attributes:
        plan: Plan of the analyses.
        given: Initial seeds, the same for all cells.
        jobs: Names of all jobs that the analyses used.
        looks: Interim analyses in order; may be empty.
    """

    plan: SequentialPlan
    given: Sequence[int]
    jobs: Sequence[str]
    looks: Sequence[InterimRecord]


def write_looks(directory: Path, looks: SequentialRecord) -> None:
    """Write `looks.json`."""
    content = {**asdict(looks.plan), **asdict(looks)}
    del content["plan"]
    write_atomically(directory / LOOKS_FILE, json.dumps(finite(content), indent=1) + "\n")


def read_looks(path: Path) -> SequentialRecord:
    """Read a `looks.json`.

    Raises:
        Unreadable: The file is missing or damaged.
    """
    try:
        content = read_json(path)
        looks = [_look(look) for look in content["looks"]]
        if looks and (len(looks[0].cells) < 2 or any(not {*look.cells} <= {*looks[0].cells} for look in looks)):
            raise ValueError("an interim analysis has fewer than two cells, or one that the first analysis lacks")
        margin, numbers = content["margin"], [content["max_seeds"], content["batch"]]
        if not (margin is None or _is_fraction(margin)) or any(type(number) is not int for number in numbers):
            raise ValueError("margin is not a fraction, or max_seeds or batch is not a whole number")
        if not (1 <= content["max_seeds"] <= MAX_SEEDS and content["batch"] >= 1 and seeds(content["given"])):
            raise ValueError("no initial seeds, or max_seeds or batch is out of range")
        return SequentialRecord(
            plan=SequentialPlan(margin=margin, max_seeds=content["max_seeds"], batch=content["batch"]),
            given=seeds(content["given"]),
            jobs=job_names(content["jobs"]),
            looks=looks,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{LOOKS_FILE}: damaged ({type(error).__name__}: {error})") from error


def _look(content: Mapping[str, Any]) -> InterimRecord:
    look = InterimRecord(
        seeds=seeds(content["seeds"]),
        level=content["level"],
        cells=strings(content["cells"]),
        best=content["best"],
        left=dict(zip(content["left"], strings(list(content["left"].values())), strict=True)),
    )
    if not _is_fraction(look.level):
        raise ValueError("the level of an interim analysis is not a fraction")
    if len({*look.cells}) < len(look.cells) or not isinstance(look.best, str):
        raise ValueError("an interim analysis lists a cell twice, or names no best cell")
    return look


def _is_fraction(number: Any) -> bool:
    return isinstance(number, float) and 0 < number < 1
