"""Content of `sweep.json`: the request for a sweep, written before any job is launched."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mnist_mlp.base import schema
from mnist_mlp.base.reading import Unreadable, job_names, read_json, seeds, strings
from mnist_mlp.base.record import finite, write_atomically

SWEEP_FILE = "sweep.json"
SEARCH, CONFIRM, SEQUENTIAL = "search", "confirm", "sequential"  # phases
PHASES = (SEARCH, CONFIRM, SEQUENTIAL)  # in the order in which they run
EACH, ONCE = "each", "once"  # `select`: one selection per replicate, or one per cell by the mean over seeds


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that the user ran for a sweep.

    Attributes:
        command: Command line.
        jobs: Names of the jobs that the command requested, in all phases so far.
    """

    command: str
    jobs: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """Content of a `sweep.json`: the combined request of all commands for a sweep directory.

    Attributes:
        compare: Compared keys, whose combinations are the cells.
        tuned: Keys whose values are selected within a cell.
        replicates: Replicate keys, such as `seed`, and their values in the search.
        select: Mode of selection: `EACH` or `ONCE`.
        margin: Equivalence margin, a fraction; None disables equivalence testing.
        phases: Requested phases, each with the names of its jobs so far.
        commands: All commands, the latest last; a repeated command is listed once.
    """

    compare: Sequence[str]
    tuned: Sequence[str]
    replicates: Mapping[str, Sequence[int]]
    select: str
    margin: float | None
    phases: Mapping[str, Sequence[str]]
    commands: Sequence[Command]

    def merge(self, later: "SweepRecord") -> "SweepRecord":
        """Return the union of this record and that of later commands."""
        given_again = {command.command for command in later.commands}
        return SweepRecord(
            compare=later.compare,
            tuned=_union(self.tuned, later.tuned),
            replicates={
                key: sorted({*self.replicates.get(key, ()), *later.replicates.get(key, ())})
                for key in _union(self.replicates, later.replicates)
            },
            select=later.select,
            margin=later.margin,
            phases={
                phase: _union(self.phases.get(phase, ()), later.phases.get(phase, ()))
                for phase in PHASES
                if phase in self.phases or phase in later.phases
            },
            commands=[*(one for one in self.commands if one.command not in given_again), *later.commands],
        )


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))


def write_sweep(directory: Path, record: SweepRecord) -> None:
    """Merge a record into `sweep.json`. Requests of earlier commands stay.

    Raises:
        Unreadable: The existing file is damaged.
    """
    path = directory / SWEEP_FILE
    if path.exists():
        before = read_sweep(path)
        record = before.merge(record)
        if record == before:
            return
    write_atomically(path, json.dumps(finite(asdict(record)), indent=1) + "\n")


def read_sweep(path: Path) -> SweepRecord:
    """Read a `sweep.json`.

    Raises:
        Unreadable: The file is missing or damaged.
    """
    try:
        content = read_json(path)
        record = SweepRecord(
            compare=strings(content["compare"]),
            tuned=strings(content["tuned"]),
            replicates={key: seeds(values) for key, values in content["replicates"].items()},
            select=content["select"],
            margin=content["margin"],
            phases={phase: job_names(jobs) for phase, jobs in content["phases"].items()},
            commands=[
                Command(command=one["command"], jobs=job_names(one["jobs"])) for one in list(content["commands"])
            ],
        )
        _check(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{SWEEP_FILE}: damaged ({type(error).__name__}: {error})") from error
    return record


def _check(record: SweepRecord) -> None:
    """Raise a ValueError if no command can have written the record."""
    if not record.compare or len({*record.compare}) < len(record.compare):
        raise ValueError("no compared keys, or one is listed twice")
    for key in record.compare:
        is_key = re.fullmatch(r"\w+(\.\w+)*", key) and key.partition(".")[0] in (*schema.KEYS, *schema.DERIVED)
        if not is_key or schema.role_of(key) is schema.Role.REPLICATE:
            raise ValueError(f"{json.dumps(key)[:40]} cannot be compared")
    if record.select not in (EACH, ONCE):
        raise ValueError(f"select is neither {EACH} nor {ONCE}")
    if not isinstance(record.margin, float | None) or not 0 < (0.5 if record.margin is None else record.margin) < 1:
        raise ValueError("margin is not a fraction")
    if not record.phases.keys() <= {*PHASES}:
        raise ValueError("unknown phases")
    if not record.commands or not all(isinstance(one.command, str) for one in record.commands):
        raise ValueError("no commands, or one that is not a string")
