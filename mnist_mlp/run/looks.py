"""The looks that a sweep took at its results while it added seeds: `looks.json` in its directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mnist_mlp.run.reading import Unreadable
from mnist_mlp.run.record import finite, write_atomically

LOOKS_FILE = "looks.json"


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        seeds: that the cells still in play had by then.
        level: the p-value below which a pair is told apart at this look, the same for each.
        cells: in play: the best so far, and those that have not been told from it.
        best: the cell that scored highest.
        left: what was found out about the cells that got no further seeds, each against the best.
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
        jobs: the names of all jobs looked at.
        looks: in order.
    """

    margin: float | None
    max_seeds: int
    batch: int
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
        if not looks or any(not (look.seeds and 0 < look.level < 1) for look in looks):
            raise ValueError("a look without seeds or a level")
        return Looks(
            None if margin is None else float(margin),
            int(content["max_seeds"]),
            int(content["batch"]),
            [str(job) for job in content["jobs"]],
            looks,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{LOOKS_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
