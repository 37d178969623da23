"""Reading of run directories into tables; runs that cannot be read are left out and reported as problems."""

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

from mnist_mlp.analysis.derived import add_derived
from mnist_mlp.analysis.sweep_files import Superseded, read_sweep_files
from mnist_mlp.base import configuration, schema
from mnist_mlp.base.directories import find_runs
from mnist_mlp.base.interim import SequentialRecord
from mnist_mlp.base.metrics import Metric, metric_of
from mnist_mlp.base.reading import Unfinished, Unreadable, defect, read_json, read_metrics
from mnist_mlp.base.record import COLUMNS, FAILED, RUN_FILE, Metrics
from mnist_mlp.base.sweep_file import SweepRecord

OWN_SEEDS = tuple(f"seeds.{source}" for source in schema.SOURCES)
ENVIRONMENT = "environment."  # prefix of the columns with the provenance of a run
COLUMN_TYPES = {"epoch": "int64", "step": "int64", "split": "str"} | dict.fromkeys(
    ("loss", "accuracy", "lr", "seconds"), "float64"
)


class ProblemKind(Enum):
    """Kind of a `Problem`.

    - `UNREADABLE`: The run has no readable result. - `UNFINISHED`: The run has no result yet. - `REPEATED`: The same
      run in another directory is used instead. - `SUPERSEDED`: The run confirms a selection that was replaced.
    """

    UNREADABLE = "unreadable"
    UNFINISHED = "unfinished"
    REPEATED = "repeated"
    SUPERSEDED = "superseded"


KINDS: Mapping[type, ProblemKind] = {Unfinished: ProblemKind.UNFINISHED, Superseded: ProblemKind.SUPERSEDED}


class Problem(NamedTuple):
    """A run directory that was left out of the tables, or a damaged file of a sweep.

    Attributes:
        run: Directory of the run, or of the sweep.
        why: Explanation for the user.
        kind: Kind of the problem.
    """

    run: str
    why: str
    kind: ProblemKind = ProblemKind.UNREADABLE


@dataclass(frozen=True)
class Results:
    """Results of all runs below the sweep directories.

    Attributes:
        runs: One row per run, indexed by its directory. Its columns are:

            - Outcome: `status`, `reason`, `seconds` (training), `wall_seconds` (whole run; NaN if unknown) and `ended`
              (seconds since 1970).
            - Data, NaN if unknown: `digest`, `train_size` and `test_size` (numbers of images), `inputs` (pixels per
              image), `classes` and `commonest_test_share` (share of the most frequent class among the test images).
            - Computation: `parameters`, `step` (how training steps were computed), `stack_size` (number of runs trained
              together).
            - Sweep, None if not applicable: `phase` (search or confirm, in sweeps that retrain what they select),
              `chosen_in` (directory of such a sweep), `looked_in` (directory of a sweep with interim analyses).
            - Seeds: `search_seed` (for a confirming run, the seed that made the selection; otherwise the run's seed),
              `streams` (seed of each random stream, in the order of `schema.SOURCES`), `replicate` (see `replicates`).
            - Configuration: `config_hash`, `overrides` (command line, as JSON), the option of each group (`init`,
              `optim`, …), each key by its dotted name (`optim.lr`), lists as JSON, and the keys of
              `derived.add_derived`.
            - Provenance: `environment.*`; `environment.code.MODULE` is the digest of a user-defined module.

        metrics: Rows of all `metrics.csv`, with the column `run`. Additional metrics that a run lacks are NaN.
        problems: Runs that were left out, and damaged files.
        looks: Interim analyses by sweep.
        records: Contents of each `sweep.json`, by sweep.
        unfinished: Number of jobs without a result, by sweep and phase.
        excluded: Results that the user has excluded; None if all runs are reported.
        additional: Meaning of the additional metrics of each run, by their names.
        where: Conditions that the user has set, by key, as typed (see `mnist_mlp.analysis.where`).
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: Sequence[Problem]
    looks: Mapping[str, SequentialRecord] = field(default_factory=dict)
    records: Mapping[str, SweepRecord] = field(default_factory=dict)
    unfinished: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    excluded: "Results | None" = None
    additional: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)


def load(directories: Sequence[Path]) -> Results:
    """Read all runs in or below these directories.

    A run is left out, and reported as a problem, if its `run.json` or `metrics.csv` is missing, damaged or not of this
    project. Of several runs with the same configuration and data, the newest result is kept, or the newest failure if
    there is no result.
    """
    found: list[tuple[dict[str, Any], Mapping[str, Metric], list[Metrics]]] = []
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
            run, additional, rows = _read_run(directory)
            found.append((run | files.about(directory, sweep, run["status"], run["seed"]), additional, rows))
        except Unreadable as error:
            problems.append(Problem(str(directory), str(error), KINDS.get(type(error), ProblemKind.UNREADABLE)))
    metrics = _metrics_table(found)
    if not found:
        return Results(pd.DataFrame(), metrics, problems)
    table = add_derived(pd.DataFrame([run for run, _, _ in found]).set_index("run").sort_index())
    table["replicate"] = replicates(_search_streams(table), table["search_seed"].tolist())
    looks = {str(sweep): of for sweep, of in files.looks.items() if of}
    records = {str(sweep): record for sweep, record in files.records.items() if record}
    unfinished = {str(sweep): counts for sweep, counts in files.unfinished.items()}
    meanings = {str(run["run"]): of_run for run, of_run, _ in found}
    results = Results(table, metrics, problems, looks, records, unfinished, additional=meanings)
    # A confirming run does not repeat a run of the search, even if both have the same configuration.
    identities = list(zip(table["config_hash"], table["phase"].map(str), strict=True))
    return keep_newest(results, identities, "not used: it has the same configuration as")


def _metrics_table(found: Sequence[tuple[Mapping[str, Any], Mapping[str, Metric], Sequence[Metrics]]]) -> pd.DataFrame:
    """Return the rows of all runs, with a column per additional metric.

    Args:
        found: Row of each run in the table, its additional metrics, and its records.
    """
    additional = sorted({name for _, names, _ in found for name in names})
    columns: dict[str, list[Any]] = {name: [] for name in ("run", *COLUMN_TYPES, *additional)}
    for run, names, rows in found:
        columns["run"] += [run["run"]] * len(rows)
        for name, values in zip(COLUMNS, zip(*(row[: len(COLUMNS)] for row in rows), strict=True), strict=False):
            columns[name] += values
        for name in additional:
            at = [*names].index(name) if name in names else None
            columns[name] += [math.nan if at is None else row.metrics[at] for row in rows]
    return pd.DataFrame(columns).astype({"run": "str", **COLUMN_TYPES, **dict.fromkeys(additional, "float64")})


def replicates(streams: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[int]:
    """Return the replicate of each run, as a number.

    Args:
        streams: Seeds of the random streams of each run.
        seeds: Seed of each run.

    Returns:
        The seeds, if they correspond one to one to the streams; otherwise arbitrary numbers, equal for equal streams.
    """
    if len({*zip(streams, seeds, strict=True)}) == len({*streams}) == len({*seeds}):
        return list(seeds)
    numbers = {of_run: number for number, of_run in enumerate(sorted({*streams}))}
    return [numbers[of_run] for of_run in streams]


def _search_streams(table: pd.DataFrame) -> list[tuple[int, ...]]:
    """Return the seeds of the streams of each run; a confirming run has those of the seed that made its selection."""
    own = [table[key] if key in table else [None] * len(table) for key in OWN_SEEDS]
    return [
        tuple(seed if pd.isna(of_source) else int(of_source) for of_source in of_run)
        for seed, *of_run in zip(table["search_seed"], *own, strict=True)
    ]


def keep_newest(results: Results, identities: Sequence[Any], what: str) -> Results:
    """Keep one run per identity and data: the newest result, or the newest failure if there is no result.

    Args:
        results: Results with repeated runs.
        identities: Identity of each run, in order of the rows; hashable.
        what: Explanation why a run is left out. The directory of the kept run follows it.

    Returns:
        The results without repeated runs. Each repeated run is added to the problems.
    """
    equal = pd.Series(list(identities), results.runs.index, dtype="object")
    runs = results.runs.assign(identity=equal, failed=results.runs["status"] == FAILED)
    runs = runs.sort_values(["failed", "ended"], ascending=[True, False], kind="stable")
    counted: dict[Hashable, dict[Any, str]] = {}  # identity and digest of the data to the run that is kept
    older = []
    for run, identity, digest in zip(map(str, runs.index), runs["identity"], runs["digest"], strict=True):
        others = counted.setdefault(identity, {})
        # A run that failed before it loaded its data counts as a repetition of any run with the same identity.
        same = next(iter(others.values()), None) if pd.isna(digest) else others.get(digest)
        if same:
            older.append(Problem(run, f"{what} {same}, which is used", ProblemKind.REPEATED))
        else:
            others[digest] = run
    left_out = [problem.run for problem in older]
    return replace(
        results,
        runs=results.runs.drop(index=left_out),
        metrics=results.metrics[~results.metrics["run"].isin(left_out)].reset_index(drop=True),
        problems=[*results.problems, *older],
    )


def _read_run(directory: Path) -> tuple[dict[str, Any], Mapping[str, Metric], list[Metrics]]:
    """Return the row of a run in the table, its additional metrics, and the records of `metrics.csv`.

    Raises:
        Unreadable: A file is missing, damaged or of another program.
    """
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
            "digest": data.get("digest"),  # missing if the run failed early
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
    nodes = summary["config"].get("metrics", {})
    return run, {name: metric_of(name, node) for name, node in nodes.items()}, rows


def _seconds(text: str) -> float:
    """Return a time in ISO format in seconds since 1970; without an offset it is UTC.

    Raises:
        ValueError: The text is not a time, or the time is out of range.
    """
    time = datetime.fromisoformat(text)
    seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    datetime.fromtimestamp(seconds, UTC)
    return seconds


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise Unfinished(f"unfinished: it has no {RUN_FILE}, so it was killed or is still running") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"{RUN_FILE}: {error}") from error
    if why := defect(content):
        raise Unreadable(f"{RUN_FILE}: not one of this project's: {why}")
    assert isinstance(content, dict)
    return content


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key of a nested configuration by its dotted name, with its value; lists as JSON text."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
