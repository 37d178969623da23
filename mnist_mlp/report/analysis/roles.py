"""Which keys are compared, which are tuned, and which split the report into sections.

The schema says what a key is for (see `mnist_mlp.run.schema.Role`), the runs' configurations which of them vary, and
the user which to compare. A section is one combination of the keys that say what was measured, less compared ones.
Within it, a cell is one combination of the compared keys; by default, one initialisation with one optimizer. Within a
cell, the values of the tunable keys with the best mean validation accuracy are chosen, and only their test results are
shown, so that no test result ever takes part in a choice.
"""

import json
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_mlp.report.load import ENVIRONMENT, Results, newest
from mnist_mlp.run import schema
from mnist_mlp.run.errors import UserError
from mnist_mlp.run.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.run.schema import COMPARED, Role
from mnist_mlp.run.sweep_file import CONFIRM, SEARCH

REPLICATE = "replicate"  # column with what tells the repetitions of a measurement apart (see `load.replicates`)
STREAMS, SEED = "streams", "seed"
CELL = "cell"  # column with a cell's name
LEARNING_RATE = "optim.lr"
# Columns of the runs table that are no keys of the configuration.
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
    *("phase", "chosen_in", "looked_in", CELL, REPLICATE),
)
# Where the code of an option lies, which moves between versions while the option stays: no setting to choose, and no
# terms of a measurement. What an option itself is made of may have targets too, which are settings.
CODE = tuple(f"{group}._target_" for group in schema.GROUPS)


def varying_keys(runs: pd.DataFrame) -> list[str]:
    """Configuration keys with several values that the choice of their group's option does not explain."""

    def varies(key: str) -> bool:
        group = key.partition(".")[0]
        parts = runs.groupby(group)[key] if group in schema.GROUPS and group != key else [(None, runs[key])]
        return any(part.nunique(dropna=False) > 1 for _, part in parts)

    keys = [key for key in runs.columns if key not in FACTS and not key.startswith(ENVIRONMENT)]
    return [key for key in keys if schema.role_of(key) is not Role.IRRELEVANT and varies(key)]


def measured_keys(runs: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """Those of the varying keys whose values are sections of the report, unless they are compared."""
    keys = [key for key in varying_keys(runs) if key not in (*by, *CODE)]
    return [key for key in keys if schema.role_of(key) is Role.MEASURED_ON]


def compared_keys(varying: Sequence[str], by: Sequence[str] | None, recorded: Sequence[str] = ()) -> list[str]:
    """Return the keys whose combinations are the cells.

    Args:
        varying: Keys that take several values.
        by: Keys that the user asks to compare; None for those on record.
        recorded: Keys that the sweeps compare; empty for initialization and optimizer.

    Raises:
        UserError: a key is the replicate, or has one value only.
    """
    if by is None:
        return list(recorded or COMPARED)
    allowed = [key for key in dict.fromkeys([*COMPARED, *varying]) if schema.role_of(key) is not Role.REPLICATE]
    for key in by:
        if schema.role_of(key) is Role.REPLICATE:
            raise UserError(f"--by {key}: seeds are the replicates of a comparison; allowed are {', '.join(allowed)}")
        if key not in allowed:
            raise UserError(f"--by {key}: no such key varies in these runs; allowed are {', '.join(allowed)}")
    return list(dict.fromkeys(by))


def check_confirmed(runs: pd.DataFrame, by: Sequence[str]) -> None:
    """See that the cells are those that settings were confirmed for, one for each: others would average several.

    Args:
        runs: of one section, with `cell`.
        by: the compared keys.

    Raises:
        UserError: they are not, or sweeps that are reported on together have confirmed different settings for one.
    """
    for sweep, part in runs[runs["chosen_in"].notna()].groupby("chosen_in"):
        cells, own = cell_names(part, by), cell_names(part, COMPARED)
        regroups = cells.groupby(own).nunique().max() > 1 or own.groupby(cells).nunique().max() > 1
        if regroups and (part["phase"] == CONFIRM).any():
            allowed = ",".join(COMPARED)
            raise UserError(
                f"--by {','.join(by)}: {sweep} confirmed a setting for each {' and '.join(COMPARED)}, so its runs "
                f"compare by these alone; allowed is --by {allowed}, or a sweep without confirmation"
            )
    confirmed = runs[runs["phase"] == CONFIRM]
    for key in tuned_keys(confirmed, varying_keys(confirmed), by):
        values = confirmed[key].map(as_typed).groupby(confirmed[CELL]).unique()
        cell = next(str(cell) for cell, of_cell in values.items() if len(of_cell) > 1)
        sweeps = sorted(confirmed.loc[confirmed[CELL] == cell, "chosen_in"].unique())
        settings = " and ".join(sorted(values[cell], key=sort_key))
        raise UserError(
            f"{' and '.join(sweeps)} confirmed {key}={settings} for {cell}, which has one chosen setting; allowed is a "
            "report on each sweep alone"
        )


def once(results: Results, by: Sequence[str]) -> Results:
    """The results with each setting and seed of a cell once, as a replicate that was repeated is still one.

    Versions of the package may hash one configuration in several ways, or have its classes in other places; the newest
    counts. To compare the code of an option nonetheless, `by` names its target.

    Args:
        results: at least one run.
        by: the compared keys.
    """
    runs = results.runs
    keys = [key for key in varying_keys(runs) if schema.role_of(key) is not Role.REPLICATE]
    apart = ["data", REPLICATE, "phase", *(key for key in keys if key in by or key not in CODE)]
    texts = [runs[key].map(as_typed) for key in apart]
    return newest(results, list(zip(*texts, strict=True)), "the same setting and seed, under another hash, as")


def tuned_keys(runs: pd.DataFrame, varying: Sequence[str], by: Sequence[str]) -> list[str]:
    """Those of the varying keys that may be tuned, are not compared, and take several values within one cell."""
    keys = [key for key in varying if schema.role_of(key) is Role.TUNABLE and key not in (*by, *CODE)]
    cells = runs.groupby(CELL)
    return [key for key in keys if (cells[key].nunique(dropna=False) > 1).any()]


def has(runs: pd.DataFrame, key: str) -> pd.Series:
    """Whether each run's option has this key at all: an option none of whose runs has a value has nothing to set."""
    group = key.partition(".")[0]
    if group not in schema.GROUPS:
        return pd.Series(True, runs.index)
    return runs[key].notna().groupby(runs[group], dropna=False).transform("any")


def cell_names(runs: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """A name for the cell of each run, no two of one name: options by their names, other keys as `key=value`."""
    prefixes = ["" if key in schema.GROUPS else f"{key}=" for key in by]
    words = [[prefix + _word(as_typed(value)) for value in runs[key]] for prefix, key in zip(prefixes, by, strict=True)]
    return pd.Series(map(" / ".join, zip(*words, strict=True)), runs.index, dtype="str")


def _word(text: str) -> str:
    """A value as part of a cell's name; in quotes where it could be taken for several, or is in such quotes itself."""
    return json.dumps(text, ensure_ascii=False) if re.search(r'^"|(^|\s)/|/(\s|$)', text) else text


def tried(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that settings are chosen by: those that do not confirm a choice, if there are any."""
    others = runs[runs["phase"] != CONFIRM]
    return runs if others.empty else others


def tested(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that results may be of: where a choice was confirmed, none of the search for it."""
    confirmed = runs.loc[runs["phase"] == CONFIRM, "chosen_in"].unique()
    return runs[(runs["phase"] != SEARCH) | ~runs["chosen_in"].isin(confirmed)] if len(confirmed) else runs


def ended(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that are results: the completed and the diverged ones, as failed ones can be had again."""
    return runs[runs["status"] != FAILED]


def scored(runs: pd.DataFrame) -> pd.DataFrame:
    """The results at the chosen settings, which cells are judged by."""
    return ended(runs[runs["chosen"]])


def each_cell(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """A cell's name and its rows, for every cell there is."""
    for cell, part in frame.groupby(CELL):
        yield str(cell), part


def judged_split(runs: pd.DataFrame) -> str:
    """The split that chooses: validation, or training where a run has none; never the test split.

    By the completed runs where there are any: others may have ended before they were validated at all.
    """
    completed = runs["status"] == COMPLETED
    validated = runs.loc[completed if completed.any() else runs["status"] != FAILED, "validated"]
    return "val" if len(validated) and validated.all() else "train"


def score(runs: pd.DataFrame, measure: str) -> pd.Series:
    """What each run is worth by one of its final accuracies: 0 where it diverged, NaN where it failed.

    One rule for the choice of settings, the ranking of cells and the pairs, so that a cell is never judged by the runs
    that survived alone.
    """
    return runs[measure].where(runs["status"] != DIVERGED, 0.0).where(runs["status"] != FAILED, np.nan)


def choose(runs: pd.DataFrame, tuned: Sequence[str]) -> pd.DataFrame:
    """The runs at each cell's chosen setting: the best mean score (see `score`) on the split that chooses.

    Args:
        runs: with `cell`, the tuned keys, `status` and final accuracies.
        tuned: keys that are chosen.
    """
    if not tuned:
        return runs
    settings, ranked = rank_settings(runs, tuned)
    return runs[settings.isin(ranked.groupby(CELL)["setting"].first())]


def rank_settings(runs: pd.DataFrame, tuned: Sequence[str]) -> tuple[pd.Series, pd.DataFrame]:
    """The settings of each cell by their mean score on the split that chooses, the best first; equal ones by value.

    Args:
        runs: as in `choose`.
        tuned: at least one key.

    Returns:
        The number of each run's setting, no two cells having one in common; and a row a setting: `cell`, `setting`
        (that number), `mean` (NaN where all its runs failed) and `n`, the runs that the mean is of.
    """
    settings = runs.groupby([CELL, *tuned], dropna=False, sort=True).ngroup()
    scores = score(runs, f"{judged_split(runs)}_accuracy")
    groups = pd.DataFrame({CELL: runs[CELL], "setting": settings, "score": scores}).groupby([CELL, "setting"])["score"]
    table = groups.agg(mean="mean", n="count").reset_index()
    # Equal means may be sums in another order.
    order = table["mean"].round(12).fillna(-1.0).sort_values(ascending=False, kind="stable").index
    return settings, table.loc[order]


def counted(number: float, noun: str) -> str:
    """A number with its noun: 1 epoch, 2.5 epochs."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"


def as_typed(value: object) -> str:
    """A configuration value as one types it; NaN stands for null in a column of numbers.

    A text that would be read as another value is in quotes, so that different values have different texts.
    """
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, float):
        if np.isnan(value):
            return "null"
        return str(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(float(value))
    if isinstance(value, str):
        return f"'{value}'" if value in ("null", "true", "false") or _is_number(value) else value
    return "null" if value is None else str(value)


def as_said(fact: object) -> str:
    """What is no value of a configuration, such as a version: a text as it is."""
    return fact if isinstance(fact, str) else as_typed(fact)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))  # no value is typed nan
    except ValueError:
        return False


def sort_key(text: str) -> tuple[int, float, str]:
    """A key that sorts values, as typed, by number where they are numbers."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
