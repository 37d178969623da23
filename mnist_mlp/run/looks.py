"""The looks that a sweep took at its results while it added seeds: `looks.json` in its directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import finite, write_atomically

LOOKS_FILE = "looks.json"
MOST_SEEDS = 1000  # of a cell; to tell what takes more is not worth it


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        seeds: that the cells in play had by then.
        level: the p-value below which a pair is told apart at this look, the same for each.
        cells: in play.
        best: the one of them that scored highest.
        left: those of them that got no further seeds, and the verdict on each beside the best.
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
class Looks:
    """Content of a `looks.json`: the interim analyses of a sweep.

    Attributes:
        plan: Plan of the analyses.
        given: Initial seeds of each cell.
        jobs: Names of all jobs that the analyses used.
        looks: Interim analyses in order; empty before the first.
    """

    plan: SequentialPlan
    given: Sequence[int]
    jobs: Sequence[str]
    looks: Sequence[Look]


def write_looks(directory: Path, looks: Looks) -> None:
    """Write `looks.json`."""
    content = {**asdict(looks.plan), **asdict(looks)}
    del content["plan"]
    write_atomically(directory / LOOKS_FILE, json.dumps(finite(content), indent=1) + "\n")


def read_looks(path: Path) -> Looks:
    """What a `looks.json` says.

    Raises:
        Unreadable: it is none of this project's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        margin = content["margin"]
        looks = [
            Look(
                [int(seed) for seed in look["seeds"]],
                float(look["level"]),
                [str(cell) for cell in look["cells"]],
                str(look["best"]),
                {str(cell): str(verdict) for cell, verdict in look["left"].items()},
            )
            for look in content["looks"]
        ]
        if any(not 0 < look.level < 1 or len(set(look.seeds)) < len(look.seeds) for look in looks):
            raise ValueError("a look with a seed twice, or a level that is none")
        if any(len({*look.cells}) < len(look.cells) or not {*look.cells} <= {*looks[0].cells} for look in looks):
            raise ValueError("a look at a cell twice, or at one that was not there before")
        if not (content["given"] and content["batch"] >= 1 and 1 <= content["max_seeds"] <= MOST_SEEDS):
            raise ValueError("no seeds to begin with, or numbers of seeds that cannot be")
        if margin is not None and not 0 < float(margin) < 1:
            raise ValueError(f"margin {margin}")
        return Looks(
            plan=SequentialPlan(
                margin=None if margin is None else float(margin),
                max_seeds=int(content["max_seeds"]),
                batch=int(content["batch"]),
            ),
            given=[int(seed) for seed in content["given"]],
            jobs=[str(job) for job in content["jobs"]],
            looks=looks,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Unreadable(f"{LOOKS_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
