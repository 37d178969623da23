"""Roles of configuration keys in a comparison (compared, tuned, evaluation condition), and subsets of runs by phase.

Three things decide on the role of a key:

- The schema defines its possible role (see `mnist_mlp.base.schema.Role`).
- The configurations of the runs determine whether it varies.
- The user decides whether it is compared.

A section of the report is one combination of the evaluation conditions that are not compared. Within a section, a cell
is one combination of the compared keys: by default, one initialization with one optimizer. Within a cell, the values of
the tuned keys are selected by validation accuracy (see `selection`). Test results play no part in it.

A sweep may have two phases. Its search evaluates configurations. Its confirmation then retrains the selected ones with
new seeds.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from mnist_mlp.analysis.load import ENVIRONMENT, Results, keep_newest
from mnist_mlp.analysis.values import as_typed, distinguish_values, sort_key
from mnist_mlp.base import schema
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.record import FAILED
from mnist_mlp.base.schema import COMPARED, Role
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE, SEARCH, SweepRecord

REPLICATE = "replicate"  # column with the replicate of each run (see `load.replicates`)
STREAMS, SEED, SEARCH_SEED = "streams", "seed", "search_seed"
CELL = "cell"  # column with the name of the cell
# Columns of the table of runs that are not configuration keys.
FACTS = (
    *(
        "status",
        "reason",
        "seconds",
        "wall_seconds",
        "ended",
        "config_hash",
        "digest",
        "commonest_test_share",
        "parameters",
    ),
    *("train_size", "test_size", "inputs", "classes", "step", "stack_size", "overrides", "streams", "data"),
    *("phase", "chosen_in", "looked_in", SEARCH_SEED, CELL, REPLICATE),
    *schema.DERIVED,
)
# Keys that say where an option's code is. The location may move between versions while the option stays the same, so
# these keys are neither tuned nor evaluation conditions. A `_target_` deeper inside an option is an ordinary setting.
CODE = tuple(f"{group}._target_" for group in schema.GROUPS)


def varying_keys(runs: pd.DataFrame) -> list[str]:
    """Return the keys that vary.

    A key of a group, such as `optim.lr`, counts only if it varies among runs with the same option, such as `adam`.
    """

    def varies(key: str) -> bool:
        values = distinguish_values(runs[key])
        if values.nunique(dropna=False) < 2:  # a fast check that settles most keys
            return False
        group = key.partition(".")[0]
        parts = values.groupby(runs[group]) if group in schema.GROUPS and group != key else [(None, values)]
        return any(part.nunique(dropna=False) > 1 for _, part in parts)

    keys = [key for key in runs.columns if key not in FACTS and not key.startswith(ENVIRONMENT)]
    return [key for key in keys if schema.role_of(key).is_decisive and varies(key)]


def measured_keys(runs: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Return the varying keys that are evaluation conditions and not compared: their values define sections."""
    keys = [key for key in varying_keys(runs) if key not in (*by, *CODE)]
    return [key for key in keys if schema.role_of(key) is Role.CONDITION]


def compared_keys(varying: Sequence[str], by: Sequence[str] | None, records: Mapping[str, SweepRecord]) -> list[str]:
    """Return the keys whose combinations are the cells.

    Args:
        varying: Keys that take several values, also derived ones.
        by: Keys that the user asks to compare; None for the keys that the sweeps recorded.
        records: Contents of each `sweep.json`, by sweep. If empty, initialization and optimizer are compared by
            default.

    Raises:
        UserError: A key in `by` is a seed. Or it neither varies nor is compared by default or by a sweep. Or `by` is
            None, and the sweeps recorded different keys. Or two keys exclude each other.
    """
    if by is None:
        recorded = {tuple(record.compare): sweep for sweep, record in reversed([*records.items()])}
        if len(recorded) > 1:
            each = "; ".join(f"{sweep} compares {','.join(keys)}" for keys, sweep in sorted(recorded.items()))
            raise UserError(f"the sweeps compare different keys: {each}. Name the keys with --by.")
        return list(next(iter(recorded), COMPARED))
    known = [key for keys in (COMPARED, *(record.compare for record in records.values()), varying) for key in keys]
    allowed = [key for key in dict.fromkeys(known) if schema.role_of(key) is not Role.REPLICATE]
    for key in by:
        if schema.role_of(key) is Role.REPLICATE:
            raise UserError(f"--by {key}: expected one of {', '.join(allowed)}. Seeds are the replicates.")
        if key not in allowed:
            needs = ". It must vary, and the layers of each network have one width" if key in schema.DERIVED else ""
            raise UserError(f"--by {key}: expected one of {', '.join(allowed)}{needs}")
    if why := schema.conflict(by):
        raise UserError(f"--by {','.join(by)}: {why}")
    return list(dict.fromkeys(by))


def selection_of(records: Mapping[str, SweepRecord], asked: str | None) -> str:
    """Return how configurations are selected: `EACH` (one per replicate) or `ONCE` (one per cell).

    Args:
        records: Contents of each `sweep.json`, by sweep.
        asked: `EACH` or `ONCE`, as the user asks; None for what the sweeps recorded.

    Raises:
        UserError: `asked` is neither `EACH` nor `ONCE`. Or it is given, but a sweep has already retrained what it
            selected. Or it is None, and the sweeps disagree.
    """
    if asked is not None:
        if asked not in (EACH, ONCE):
            raise UserError(f"--select {asked}: expected {EACH} or {ONCE}")
        for sweep, record in records.items():
            if CONFIRM in record.phases:
                raise UserError(
                    f"--select {asked}: expected sweeps that were not confirmed. {sweep} has retrained what it "
                    f"selected with hydra.sweeper.select={record.select}, which stays. Leave --select out."
                )
        return asked
    tuned = {sweep: record.select for sweep, record in records.items() if record.tuned}
    if len({*tuned.values()}) > 1:
        each = "; ".join(
            f"select={how} in {', '.join(sweep for sweep, of in tuned.items() if of == how)}" for how in (EACH, ONCE)
        )
        raise UserError(f"expected sweeps that select in the same way: {each}. Report on each kind separately.")
    return next(iter(tuned.values()), EACH)


def margin_of(records: Mapping[str, SweepRecord], asked: float | None) -> float | None:
    """Return the equivalence margin, a fraction: the one asked for, or the one that the sweeps recorded.

    Raises:
        UserError: None is asked for, and the sweeps disagree.
    """
    recorded = {record.margin: sweep for sweep, record in records.items()}
    if asked is None and len(recorded) > 1:
        each = "; ".join(f"{sweep} has {'none' if m is None else f'{100 * m:g}'}" for m, sweep in recorded.items())
        raise UserError(f"expected sweeps with the same equivalence margin: {each}. Set one for all with --margin.")
    return next(iter(recorded), None) if asked is None else asked


def check_confirmed(runs: pd.DataFrame, by: Sequence[str], records: Mapping[str, SweepRecord], select: str) -> None:
    """Check that each cell, or with `EACH` each replicate of a cell, has at most one confirmed configuration.

    Args:
        runs: Runs of one section, with `cell`.
        by: Compared keys.
        records: Contents of each `sweep.json`, by sweep.
        select: `EACH` or `ONCE`.

    Raises:
        UserError: A sweep has confirmed selections of other cells than those of the compared keys, or several sweeps
            have confirmed different configurations of one cell.
    """
    for sweep, part in runs[runs["chosen_in"].notna()].groupby("chosen_in"):
        compare = records[str(sweep)].compare if sweep in records else COMPARED
        cells, own = cell_names(part, by), cell_names(part, compare)
        regroups = cells.groupby(own).nunique().max() > 1 or own.groupby(cells).nunique().max() > 1
        if regroups and (part["phase"] == CONFIRM).any():
            raise UserError(
                f"--by {','.join(by)}: expected --by {','.join(compare)}, or a sweep without confirmation. {sweep} "
                f"confirmed one selection per {' and '.join(compare)}."
            )
    confirmed = runs[runs["phase"] == CONFIRM]
    within = [CELL, REPLICATE] if select == EACH else [CELL]
    for key in tuned_keys(confirmed, varying_keys(confirmed), by):
        values = confirmed[key].map(as_typed).groupby([confirmed[column] for column in within]).unique()
        several = values[values.map(len) > 1]
        if several.empty:
            continue
        cell, *replicate = several.index[0] if select == EACH else (several.index[0],)
        of_cell = confirmed[confirmed[CELL] == cell]
        sweeps = sorted(of_cell["chosen_in"].unique())
        settings = " and ".join(sorted(several.iloc[0], key=sort_key))
        with_seed = f" with seed {replicate[0]}" if replicate else ""
        raise UserError(
            f"{' and '.join(sweeps)}: expected one confirmed selection for {cell}{with_seed}. They have "
            f"{key}={settings}. Report on each sweep separately."
        )


def drop_repetitions(results: Results, by: Sequence[str]) -> Results:
    """Keep one run per cell, configuration and replicate, since a repeated run is not another replicate.

    The newest of the repeated runs is kept (see `keep_newest`). Runs that differ only in the location of an option's
    code count as repeated, unless `by` contains the key with this location.

    Args:
        results: Results of at least one run.
        by: Compared keys.
    """
    runs = results.runs
    keys = [key for key in varying_keys(runs) if schema.role_of(key) is not Role.REPLICATE]
    columns = ["data", REPLICATE, "phase", *(key for key in keys if key in by or key not in CODE)]
    texts = [runs[key].map(as_typed) for key in columns]
    return keep_newest(
        results, list(zip(*texts, strict=True)), "not used: it has the same configuration and replicate as"
    )


def tuned_keys(runs: pd.DataFrame, varying: Sequence[str], by: Sequence[str]) -> list[str]:
    """Return the varying keys that are tunable, not compared, and take several values within a cell."""
    keys = [key for key in varying if schema.role_of(key) is Role.TUNABLE and key not in (*by, *CODE)]
    return [key for key in keys if (distinguish_values(runs[key]).groupby(runs[CELL]).nunique(dropna=False) > 1).any()]


def has(runs: pd.DataFrame, key: str) -> pd.Series:
    """Return whether the option of each run has a key: whether any run with this option has a value for the key."""
    group = key.partition(".")[0]
    if group not in schema.GROUPS:
        return pd.Series(True, runs.index)
    return runs[key].notna().groupby(runs[group], dropna=False).transform("any")


def cell_names(runs: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Return a unique name for the cell of each run: options by their names, other keys as `key=value`."""
    words = [[value_name(key, _word(as_typed(value))) for value in runs[key]] for key in by]
    return pd.Series(map(" / ".join, zip(*words, strict=True)), runs.index, dtype="str")


def value_name(key: str, text: str) -> str:
    """Return the name of a key's value, given as typed: an option by its name, other values as `key=value`."""
    return text if key in schema.GROUPS else f"{key}={text}"


def _word(text: str) -> str:
    """Return a value as part of the name of a cell; quoted if it looks like several parts, or like a quoted one."""
    return json.dumps(text, ensure_ascii=False) if re.search(r'^"|(^|\s)/|/(\s|$)', text) else text


def search_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that configurations are selected by.

    In a cell with confirmed selections, these are its runs of the search. In another cell, these are the runs that may
    be evaluated (see `evaluation_runs`), or its runs of the search if it has no such run. If no run is left, all are
    returned.
    """
    is_search, is_confirmed = runs["phase"] == SEARCH, runs["phase"] == CONFIRM
    is_tested = pd.Series(runs.index.isin(evaluation_runs(runs).index), runs.index) & ~is_confirmed
    confirmed = is_confirmed.groupby(runs[CELL]).transform("any")
    has_tested = is_tested.groupby(runs[CELL]).transform("any")
    selecting: pd.DataFrame = runs[(is_search & (confirmed | ~has_tested)) | (is_tested & ~confirmed)]
    return runs if selecting.empty else selecting


def evaluation_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs that may be evaluated: all except those of a search whose selections were confirmed."""
    confirmed = runs.loc[runs["phase"] == CONFIRM, "chosen_in"].unique()
    return runs[(runs["phase"] != SEARCH) | ~runs["chosen_in"].isin(confirmed)] if len(confirmed) else runs


def ended_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the completed and the diverged runs. Failed runs have no result."""
    return runs[runs["status"] != FAILED]


def scored_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the completed and diverged runs that their cells are scored by."""
    return ended_runs(runs[runs["chosen"]])


def each_cell(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name of each cell and its rows."""
    for cell, part in frame.groupby(CELL):
        yield str(cell), part


def with_noun(number: float, noun: str) -> str:
    """Return a number with its noun: "1 epoch", "2.5 epochs"."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def share(part: int, of: int, noun: str) -> str:
    """Return a share as text: "1 of 1 run", "1 of 2 runs"."""
    return f"{part} of {with_noun(of, noun)}"
