"""Reads run directories into two tables; whatever cannot be read is named and left out, never guessed at."""

import json
import math
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mnist_mlp.analysis.sweep_files import Superseded, read_sweep_files
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.directories import find_runs
from mnist_mlp.base.looks import Looks
from mnist_mlp.base.reading import Unfinished, Unreadable, defect, read_json, read_metrics
from mnist_mlp.base.record import FAILED, RUN_FILE, Metrics
from mnist_mlp.base.sweep_file import SweepRecord

OWN_SEEDS = tuple(f"seeds.{source}" for source in schema.SOURCES)
ENVIRONMENT = "environment."  # prefix of the columns that say where a run was made
COLUMN_TYPES = {"epoch": "int64", "step": "int64", "split": "str"} | dict.fromkeys(
    ("loss", "accuracy", "lr", "seconds"), "float64"
)


class ProblemKind(Enum):
    """Kind of a `Problem`."""

    UNREADABLE = "unreadable"
    UNFINISHED = "unfinished"
    REPEATED = "repeated"
    SUPERSEDED = "superseded"


KINDS: Mapping[type, ProblemKind] = {Unfinished: ProblemKind.UNFINISHED, Superseded: ProblemKind.SUPERSEDED}


class Problem(NamedTuple):
    """A run directory that is not in the tables.

    Attributes:
        run: Directory of the run, or of a sweep with a damaged file.
        why: Explanation for the reader.
        kind: Whether it has no readable result, none yet, the same run counts from another directory, or it confirms a
            selection that was replaced.
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
            (search or confirm, if the sweep retrains what it selects), `chosen_in` (that sweep) and
            `looked_in` (the sweep, if it adds seeds until it is decided), else None, `search_seed` (the seed whose
            selection the run confirms; else its own), `streams` (the seed that each of its random streams comes from,
            in the order of `schema.SOURCES`), `replicate` (see `replicates`), the
            group choices (`init`, `optim`, `schedule`, `data`, `model`), `environment.*` (`environment.code.MODULE`:
            the digest of a file of the user's own), and every configuration key by its dotted name (`optim.lr`), lists
            as JSON text.
        metrics: the rows of every `metrics.csv` with the column `run`.
        problems: what was left out.
        looks: that a sweep took at its results while it added seeds, by the sweep.
        records: Sweep to its `sweep.json`.
        unfinished: Sweep to the phases that have jobs without a result, and how many.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: Sequence[Problem]
    looks: Mapping[str, Looks] = field(default_factory=dict)
    records: Mapping[str, SweepRecord] = field(default_factory=dict)
    unfinished: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def load(directories: Sequence[Path]) -> Results:
    """Read every run below these directories, or that one of them is; each file once, in one pass.

    A run is left out, with a reason, if its `run.json` is missing or unreadable, or its `metrics.csv` is truncated or
    not one of this project's. Of the same configuration on the same data found twice, the newest result counts, or the
    newest failure where there is no result.
    """
    found: list[tuple[dict[str, Any], list[Metrics]]] = []
    problems: list[Problem] = []
    of_sweep: dict[Path, Path | None] = {}
    loops: dict[Path, None] = {}
    for top in directories:
        there = find_runs(top)
        of_sweep |= there.runs
        loops |= dict.fromkeys(there.loops)
    problems += [Problem(str(link), f"not followed: it leads back to {link.resolve()}") for link in loops]
    files = read_sweep_files(sorted(filter(None, set(of_sweep.values()))))
    problems += [Problem(str(sweep), why) for sweep, why in files.defects]
    for directory, sweep in sorted(of_sweep.items(), key=lambda pair: pair[0]):
        try:
            run, rows = _read_run(directory)
            found.append((run | files.about(directory, sweep, run["status"], run["seed"]), rows))
        except Unreadable as error:
            problems.append(Problem(str(directory), str(error), KINDS.get(type(error), ProblemKind.UNREADABLE)))
    columns: dict[str, list[Any]] = {name: [] for name in ("run", *COLUMN_TYPES)}
    for run, rows in found:
        columns["run"] += [run["run"]] * len(rows)
        for name, values in zip(Metrics._fields, zip(*rows, strict=True), strict=False):
            columns[name] += values
    metrics = pd.DataFrame(columns).astype({"run": "str", **COLUMN_TYPES})
    if not found:
        return Results(pd.DataFrame(), metrics, problems)
    table = pd.DataFrame([run for run, _ in found]).set_index("run").sort_index()
    table["replicate"] = replicates(_search_streams(table), table["search_seed"].tolist())
    looks = {str(sweep): of for sweep, of in files.looks.items() if of}
    records = {str(sweep): record for sweep, record in files.records.items() if record}
    unfinished = {str(sweep): counts for sweep, counts in files.unfinished.items()}
    results = Results(table, metrics, problems, looks, records, unfinished)
    # A run that confirms a choice is no run of a search, though it be of the same configuration.
    identities = list(zip(table["config_hash"], table["phase"].map(str), strict=True))
    return newest(results, identities, "the same configuration as")


def replicates(streams: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[int]:
    """Return the replicate of each run, as a number.

    Args:
        streams: Seeds that the sources of randomness of each run come from.
        seeds: Seed of each run.

    Returns:
        The seed, if it alone tells the streams apart; else numbers that have no other meaning.
    """
    if len({*zip(streams, seeds, strict=True)}) == len({*streams}) == len({*seeds}):
        return list(seeds)
    numbers = {of_run: number for number, of_run in enumerate(sorted({*streams}))}
    return [numbers[of_run] for of_run in streams]


def _search_streams(table: pd.DataFrame) -> list[tuple[int, ...]]:
    """Return the streams of each run; those of a run that confirms a selection are those of the search seed."""
    own = [table[key] if key in table else [None] * len(table) for key in OWN_SEEDS]
    return [
        tuple(seed if pd.isna(of_source) else int(of_source) for of_source in of_run)
        for seed, *of_run in zip(table["search_seed"], *own, strict=True)
    ]


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
            "wall_seconds": float(summary["wall_seconds"]),
            "ended": _seconds(summary["ended"]),
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
            "overrides": json.dumps(summary["overrides"]),
            "streams": tuple(map(operator.index, configuration.seeds(summary["config"]).values())),
            **{group: option for group, option in summary["choices"].items() if group in schema.GROUPS},
            **dict(flat(summary.get("environment", {}), ENVIRONMENT)),
            **dict(flat(summary["code"], f"{ENVIRONMENT}code.")),
            **dict(flat(summary["config"])),
        }
        rows = read_metrics(directory, summary)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreadable(f"{RUN_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
    return run, rows


def _seconds(text: str) -> float:
    """Return a time, as `run.json` has it, in seconds since 1970.

    Raises:
        ValueError: The text is not a time, or no calendar has its day.
    """
    time = datetime.fromisoformat(text)
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    datetime.fromtimestamp(seconds, UTC)
    return seconds


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise Unfinished(f"unfinished: it has no {RUN_FILE}, so it was killed or still runs") from error
    except (OSError, ValueError) as error:
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
