"""Reads run directories into two tables; whatever cannot be read is named and left out, never guessed at."""

import json
import math
import operator
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pandas as pd

from mnist_mlp.run import configuration, schema
from mnist_mlp.run.choices import CHOICES_FILE, read_phases
from mnist_mlp.run.looks import LOOKS_FILE, Looks, read_looks
from mnist_mlp.run.reading import Unfinished, Unreadable, defect, read_metrics
from mnist_mlp.run.record import FAILED, RUN_FILE, Metrics
from mnist_mlp.run.sweep_file import CONFIRM, SEARCH, SEQUENTIAL, SWEEP_FILE, SweepRecord, read_sweep

T = TypeVar("T")
ENVIRONMENT = "environment."  # prefix of the columns that say where a run was made
COLUMN_TYPES = {"epoch": "int64", "step": "int64", "split": "str"} | dict.fromkeys(
    ("loss", "accuracy", "lr", "seconds"), "float64"
)


class ProblemKind(Enum):
    """Kind of a `Problem`."""

    UNREADABLE = "unreadable"
    UNFINISHED = "unfinished"
    REPEATED = "repeated"


class Problem(NamedTuple):
    """A run directory that is not in the tables.

    Attributes:
        run: Directory of the run, or of a sweep with a damaged file.
        why: Explanation for the reader.
        kind: Whether it has no readable result, none yet, or the same run counts from another directory.
    """

    run: str
    why: str
    kind: ProblemKind = ProblemKind.UNREADABLE


@dataclass(frozen=True)
class Results:
    """What was found below the sweep directories.

    Attributes:
        runs: one row a run, indexed by its directory: `status`, `reason`, `seconds`, `wall_seconds` (all that it took;
            NaN where unknown), `ended` (seconds since 1970), `parameters`, `config_hash`, `digest` of the data,
            `train_size` and `test_size` (numbers of images), `inputs` (pixels of each), `classes` and
            `commonest_test_share` (the commonest class' share of the test images), NaN where unknown, `step` (how it
            was computed), `stack_size` (runs trained as one with it), `overrides` (its command line, as JSON), `phase`
            (search or confirm, where settings were chosen and trained anew), `chosen_in` (the sweep that did so) and
            `looked_in` (that which added seeds until cells were told apart), else None, `streams` (the seed that each
            of its random streams comes from, in the order of `schema.SOURCES`), `replicate` (see `replicates`), the
            group choices (`init`, `optim`, `schedule`, `data`, `model`), `environment.*` (`environment.code.MODULE`:
            the digest of a file of the user's own), and every configuration key by its dotted name (`optim.lr`), lists
            as JSON text.
        metrics: the rows of every `metrics.csv` with the column `run`.
        problems: what was left out.
        looks: that a sweep took at its results while it added seeds, by the sweep.
        compare: Compared keys, as the commands of the sweeps have asked; empty if unknown, or if sweeps differ.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: Sequence[Problem]
    looks: Mapping[str, Looks] = field(default_factory=dict)
    compare: Sequence[str] = ()


def load(directories: Sequence[Path]) -> Results:
    """Read every run below these directories, or that one of them is; each file once, in one pass.

    A run is left out, with a reason, if its `run.json` is missing or unreadable, or its `metrics.csv` is truncated or
    not one of this project's. Of the same configuration on the same data found twice, the newest result counts, or the
    newest failure where there is no result.
    """
    found: list[tuple[dict[str, Any], list[Metrics]]] = []
    problems: list[Problem] = []
    of_sweep = dict(pair for top in directories for pair in _run_directories(top))
    sweeps = sorted(filter(None, set(of_sweep.values())))
    # None for a damaged file: its runs are left out, or not tested, as it says what they are.
    records = _read_all(sweeps, SWEEP_FILE, read_sweep, problems)
    phases = _phases(records, _read_all(sweeps, CHOICES_FILE, read_phases, problems))
    looks = _read_all(sweeps, LOOKS_FILE, read_looks, problems)
    looks |= {
        sweep: None
        for sweep, record in records.items()
        if record and SEQUENTIAL in record.phases and sweep not in looks
    }
    for directory, of in sorted(of_sweep.items(), key=lambda pair: pair[0]):
        try:
            run, rows = _read_run(directory)
            run |= _phase(directory, of, phases)
            run["looked_in"] = _looked_in(directory, of, looks, run)
            found.append((run, rows))
        except Unreadable as error:
            kind = ProblemKind.UNFINISHED if isinstance(error, Unfinished) else ProblemKind.UNREADABLE
            problems.append(Problem(str(directory), str(error), kind))
    columns: dict[str, list[Any]] = {name: [] for name in ("run", *COLUMN_TYPES)}
    for run, rows in found:
        columns["run"] += [run["run"]] * len(rows)
        for name, values in zip(Metrics._fields, zip(*rows, strict=True), strict=False):
            columns[name] += values
    metrics = pd.DataFrame(columns).astype({"run": "str", **COLUMN_TYPES})
    if not found:
        return Results(pd.DataFrame(), metrics, problems)
    table = pd.DataFrame([run for run, _ in found]).set_index("run").sort_index()
    table["replicate"] = replicates(table["streams"])
    results = Results(
        table, metrics, problems, {str(sweep): of for sweep, of in looks.items() if of}, _compared(records.values())
    )
    # A run that confirms a choice is no run of a search, though it be of the same configuration.
    identities = list(zip(table["config_hash"], table["phase"].map(str), strict=True))
    return newest(results, identities, "the same configuration as")


def replicates(streams: pd.Series) -> list[int]:
    """What tells the repetitions of a measurement apart, as a number a run.

    Args:
        streams: of each run, see `Results`.

    Returns:
        The seed of each run, where all their streams come from one; otherwise numbers that have no other meaning.
    """
    if all(len(set(of_run)) == 1 for of_run in streams):
        return [of_run[0] for of_run in streams]
    numbers = {of_run: number for number, of_run in enumerate(sorted(set(streams)))}
    return [numbers[of_run] for of_run in streams]


def newest(results: Results, identities: Sequence[Any], what: str) -> Results:
    """The results less those runs that are there again: of equal ones on the same data one counts.

    That is the newest result, or the newest failure where there is no result.

    Args:
        results: to be looked through.
        identities: of each run, in order; equal ones are the same run.
        what: why a run is left out, in words that the name of the one that counts completes.
    """
    equal = pd.Series(list(identities), results.runs.index, dtype="object")
    runs = results.runs.assign(identity=equal, failed=results.runs["status"] == FAILED)
    runs = runs.sort_values(["failed", "ended"], ascending=[True, False], kind="stable")
    counted: dict[Hashable, dict[Any, str]] = {}  # identity, data's digest: the run that counts
    older = []
    for run, identity, digest in zip(map(str, runs.index), runs["identity"], runs["digest"], strict=True):
        others = counted.setdefault(identity, {})
        # A run that failed before it had its data is the same as any of its configuration.
        same = next(iter(others.values()), None) if pd.isna(digest) else others.get(digest)
        if same:
            older.append(Problem(run, f"{what} {same}, which counts", ProblemKind.REPEATED))
        else:
            others[digest] = run
    left_out = [problem.run for problem in older]
    return replace(
        results,
        runs=results.runs.drop(index=left_out),
        metrics=results.metrics[~results.metrics["run"].isin(left_out)].reset_index(drop=True),
        problems=[*results.problems, *older],
    )


def _read_all(
    sweeps: Sequence[Path], name: str, read: Callable[[Path], T], problems: list[Problem]
) -> dict[Path, T | None]:
    """Read the file of this name of each sweep that has one; None if it is damaged, which is added to the problems."""
    found: dict[Path, T | None] = {}
    for sweep in sweeps:
        if os.path.lexists(sweep / name):
            try:
                found[sweep] = read(sweep / name)
            except Unreadable as error:
                found[sweep] = None
                problems.append(Problem(str(sweep), str(error)))
    return found


def _phases(
    records: Mapping[Path, SweepRecord | None], chosen: Mapping[Path, dict[str, str] | None]
) -> dict[Path, dict[str, str] | None]:
    """Return the phase of each job, by the sweeps that have several: as `choices.json` has it.

    Before there is a selection, all jobs of a search that is to be confirmed are of the search.
    """
    phases = dict(chosen)
    for sweep, record in records.items():
        if record is None:
            phases[sweep] = None
        elif CONFIRM in record.phases and sweep not in chosen:
            phases[sweep] = dict.fromkeys(record.phases.get(SEARCH, ()), SEARCH)
    return phases


def _compared(records: Iterable[SweepRecord | None]) -> Sequence[str]:
    """Return the compared keys that all records agree on; empty if there are none."""
    keys = {tuple(record.compare) for record in records if record}
    return next(iter(keys)) if len(keys) == 1 else ()


def _run_directories(top: Path) -> Iterator[tuple[Path, Path | None]]:
    """Return every run, and the sweep around it; None if there is no sweep with a file of its own around it."""
    around: dict[str, Path] = {}
    for folder, subfolders, files in os.walk(top):
        if {SWEEP_FILE, CHOICES_FILE, LOOKS_FILE} & {*files, *subfolders}:
            around[folder] = Path(folder)
        elif (outer := around.get(str(Path(folder).parent))) is not None:
            around[folder] = outer
        if RUN_FILE in files or ".hydra" in subfolders:
            subfolders.clear()  # a run has no runs inside
            yield Path(folder), around.get(folder)


def _phase(run: Path, sweep: Path | None, phases: Mapping[Path, Mapping[str, str] | None]) -> dict[str, str | None]:
    """The phase of a run, and the sweep that it is a phase of.

    Raises:
        Unreadable: it is of neither phase, such as one that confirmed what is no longer chosen, or nobody knows.
    """
    if sweep not in phases:
        return {"phase": None, "chosen_in": None}
    assert sweep is not None
    known = phases[sweep]
    if known is None:
        raise Unreadable(f"its sweep's {SWEEP_FILE} or {CHOICES_FILE} is damaged. Remove it, and repeat the command.")
    try:
        return {"phase": known[run.relative_to(sweep).as_posix()], "chosen_in": str(sweep)}
    except KeyError as error:
        raise Unreadable(
            f"it is none of the jobs in {CHOICES_FILE}: of an earlier choice, or of a search that has not ended"
        ) from error


def _looked_in(
    directory: Path, sweep: Path | None, looks: Mapping[Path, Looks | None], run: Mapping[str, Any]
) -> str | None:
    """The sweep whose looks a run is part of.

    Raises:
        Unreadable: it is no part of them, though it lies there, and has a result.
    """
    if sweep not in looks or run["phase"] == SEARCH:
        return None
    assert sweep is not None
    known = looks[sweep]
    if known is None or run["status"] == FAILED or directory.relative_to(sweep).as_posix() in known.jobs:
        return str(sweep)
    raise Unreadable(f"it is none of the jobs in {LOOKS_FILE}: no look was taken at it yet, or it is of another sweep")


def _read_run(directory: Path) -> tuple[dict[str, Any], list[Metrics]]:
    """A run's row, and its metrics."""
    summary = _read_json(directory / RUN_FILE)
    try:
        data = summary.get("data", {})
        run = {
            "run": str(directory),
            "status": summary["status"],
            "reason": summary["reason"],
            "seconds": float(summary["seconds"]),
            "wall_seconds": _finite(summary.get("wall_seconds")),
            "ended": _ended(directory, summary.get("ended")),
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
            "streams": tuple(map(operator.index, configuration.seeds(summary["config"]).values())),
            **schema.BEFORE,
            **summary["choices"],
            **dict(flat(summary.get("environment", {}), ENVIRONMENT)),
            **dict(flat(summary.get("code", {}), f"{ENVIRONMENT}code.")),
            **dict(flat(summary["config"])),
        }
        rows = read_metrics(directory, summary)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(f"{RUN_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
    return run, rows


def _finite(number: Any) -> float:
    """A number that is one, or NaN."""
    return float(number) if isinstance(number, int | float) and math.isfinite(number) else math.nan


def _ended(directory: Path, text: str | None) -> float:
    """When a run ended, in seconds since 1970; by its file, where it is of a version that did not write it down."""
    if text is None:
        return (directory / RUN_FILE).stat().st_mtime
    time = datetime.fromisoformat(text)
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    datetime.fromtimestamp(seconds, UTC)  # raises where no calendar has that day
    return seconds


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Unfinished(f"unfinished: it has no {RUN_FILE}, so it was killed or still runs") from error
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{RUN_FILE}: {error}") from error
    if why := defect(content):
        raise Unreadable(f"{RUN_FILE}: not one of this project's: {why}")
    assert isinstance(content, dict)
    return content


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key of a plain configuration with its value, a list as JSON text."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
