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


@dataclass(frozen=True)
class Looks:
    """All looks of a sweep.

    Attributes:
        margin: differences of accuracy within which two cells are equivalent, a fraction; None where not asked for.
        max_seeds: the most a cell would have got.
        batch: how many were added at a time.
        given: seeds that each cell had to begin with.
        jobs: the names of all jobs looked at.
        looks: in order; none while the first has not been taken.
    """

    margin: float | None
    max_seeds: int
    batch: int
    given: Sequence[int]
    jobs: Sequence[str]
    looks: Sequence[Look]


def write_looks(directory: Path, looks: Looks) -> None:
    """Write them down."""
    write_atomically(directory / LOOKS_FILE, json.dumps(finite(asdict(looks)), indent=1) + "\n")


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
            None if margin is None else float(margin),
            int(content["max_seeds"]),
            int(content["batch"]),
            [int(seed) for seed in content["given"]],
            [str(job) for job in content["jobs"]],
            looks,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Unreadable(f"{LOOKS_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
