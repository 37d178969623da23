"""Jobs of a sweep as a table with one row per job: its keys, its cell and, once it is trained, its score."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.base.errors import ConfigError, UserError
from mnist_mlp.base.record import SPLITS
from mnist_mlp.base.schema import COMPARED, DERIVED, KEYS, SOURCES, Role, conflict, describe, nearest, role_of
from mnist_mlp.base.startup import importing
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.sweeps.jobs import Job

if TYPE_CHECKING:  # importing pandas takes a second, so functions import it on demand
    import pandas as pd

SEED = "seed"
COMPARE = "hydra.sweeper.compare"
DATA = "data"


def read_compare(value: Any) -> list[str]:
    """Parse and check the keys that a sweep compares.

    Args:
        value: `hydra.sweeper.compare` in plain containers.

    Raises:
        ConfigError: The value is not a list of keys that can be compared.
    """
    example = f"such as '{COMPARE}=[{','.join(COMPARED)},model.hidden]'"
    if not isinstance(value, list) or not value or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{COMPARE}={value}: expected a list of keys, {example}")
    for number, key in enumerate(value):
        if key in value[:number]:
            raise ConfigError(f"{COMPARE}: expected different keys, but {key} is listed twice")
        if not _is_key(key):
            raise ConfigError(f"{COMPARE}: {key}: unknown key.{_suggestion(key)}")
        if role_of(key) is Role.REPLICATE:
            raise ConfigError(f"{COMPARE}: {key}: expected keys that are not replicates, {example}")
        if not role_of(key).is_decisive:
            raise ConfigError(f"{COMPARE}: {key}: expected keys that change results, {example}")
        if key == DATA:
            raise ConfigError(
                f"{COMPARE}: expected keys such as data.train_size. Each data set is a separate section of the report."
            )
    if why := conflict(value):
        raise ConfigError(f"{COMPARE}={value}: {why}")
    return value


def _is_key(text: str) -> bool:
    return text.partition(".")[0] in KEYS or text in DERIVED


def _suggestion(key: str, columns: Iterable[str] = ()) -> str:
    """Return the hint of a message about an unknown compared key: the most similar key, and all known keys.

    Args:
        key: Unknown key.
        columns: Keys of the jobs, which are known in addition to those of the schema.
    """
    from mnist_mlp.analysis.roles import CODE

    keys = dict.fromkeys([*KEYS, *DERIVED, *(path for path, _ in describe()), *columns])
    roles = {Role.TUNABLE, Role.CONDITION}
    known = [k for k in keys if k not in (DATA, *CODE) and _is_key(k) and role_of(k) in roles]
    last = key.rpartition(".")[2]
    ending = next((f" Did you mean {k}?" for k in known if k.endswith(f".{last}")), "")
    return f"{ending or nearest(key, known)} Known keys: {', '.join(sorted(known))}"


def read_select(value: Any) -> str:
    """Parse `hydra.sweeper.select`, the mode of selection.

    Raises:
        ConfigError: The value is neither "each" nor "once".
    """
    if value not in (EACH, ONCE):
        raise ConfigError(f"hydra.sweeper.select={value}: expected {EACH} or {ONCE}")
    return str(value)


def check_compared(jobs: Sequence[Job], compare: Sequence[str]) -> list[str]:
    """Check that each compared key exists, and does not change the test images.

    Args:
        jobs: Jobs, at least one.
        compare: Compared keys.

    Returns:
        Compared keys with only one value.

    Raises:
        ConfigError: No job has a compared key, or jobs with different values of it have different test images.
    """
    runs = table(jobs, COMPARED)
    for key in compare:
        if key in DERIVED and (key not in runs or runs[key].isna().all()):
            raise ConfigError(f"{COMPARE}: {key}: expected networks with hidden layers of one width")
        if key not in runs:
            raise ConfigError(f"{COMPARE}: {key}: unknown key.{_suggestion(key, map(str, runs))}")
        if (
            key.startswith(f"{DATA}.")
            and len({(job.choices[DATA], job.data_digest) for job in jobs}) > runs[DATA].nunique()
        ):
            raise ConfigError(f"{COMPARE}: {key}: expected keys that do not change the test images")
    return [key for key in compare if runs[key].nunique(dropna=False) < 2]


def cells_of(jobs: Sequence[Job], compare: Sequence[str]) -> dict[str, list[Job]]:
    """Return the jobs of each cell, by the cell's name."""
    from mnist_mlp.analysis.roles import CELL

    cells: dict[str, list[Job]] = {}
    for cell, job in zip(table(jobs, compare)[CELL] if jobs else (), jobs, strict=True):
        cells.setdefault(cell, []).append(job)
    return cells


def check_conditions(jobs: Sequence[Job], compare: Sequence[str], place: str) -> None:
    """Check that jobs share their data set and evaluation conditions, except for compared keys.

    Args:
        jobs: Jobs, at least one.
        compare: Compared keys.
        place: Key of the setting that requires it, for the message.

    Raises:
        UserError: The data set or a condition takes several values.
    """
    runs = table(jobs, compare)
    from mnist_mlp.analysis.roles import measured_keys

    several = [DATA] if runs[DATA].nunique() > 1 else measured_keys(runs, compare)
    if several:
        raise UserError(
            f"{place}: {several[0]}: expected one value. All jobs need the same data and evaluation conditions."
        )


def tuned_keys_of(jobs: Sequence[Job], compare: Sequence[str]) -> list[str]:
    """Return the keys whose values are selected within a cell."""
    runs = table(jobs, compare)
    from mnist_mlp.analysis.roles import tuned_keys, varying_keys

    return tuned_keys(runs, varying_keys(runs), compare)


def replicates_of(jobs: Sequence[Job]) -> dict[str, list[int]]:
    """Return the values of each key that repeats runs: `seed`, and those of `seeds.*` that are not null."""
    values: dict[str, set[int]] = {}
    for job in jobs:
        sources: Mapping[str, Any] = job.config.get("seeds") or {}
        for key, value in {
            SEED: job.config[SEED],
            **{f"seeds.{source}": s for source, s in sources.items()},
        }.items():
            if value is not None:
                values.setdefault(key, set()).add(int(value))
    return {key: sorted(seeds) for key, seeds in sorted(values.items())}


def varying_sources(jobs: Sequence[Job]) -> list[str]:
    """Return the keys `seeds.*` that take several values, that is, vary independently of `seed`."""
    found = []
    for source in SOURCES:
        own = {(job.config.get("seeds") or {}).get(source) for job in jobs}
        found += [f"seeds.{source}"] if len(own) > 1 else []
    return found


def names(jobs: Sequence[Job], directory: Path) -> list[str]:
    """Return the names of jobs: their directories relative to the sweep directory, with slashes."""
    top = os.path.normpath(directory)  # a name may contain `..`; the report finds directories without it
    return [Path(os.path.normpath(job.directory)).relative_to(top).as_posix() for job in jobs]


def table(jobs: Sequence[Job], compare: Sequence[str]) -> "pd.DataFrame":
    """Return the jobs as a table like that of the report, with the columns that are known before training.

    Args:
        jobs: Jobs.
        compare: Compared keys, which determine the column `cell`.
    """
    with importing():
        import pandas as pd

        from mnist_mlp.analysis.derived import add_derived
        from mnist_mlp.analysis.load import flat
        from mnist_mlp.analysis.roles import CELL, REPLICATE, cell_names

    runs = add_derived(pd.DataFrame([{**job.choices, **dict(flat(job.config))} for job in jobs]))
    runs[[key for key in compare if key not in runs and "." in key]] = None
    runs[CELL] = cell_names(runs, compare)
    runs[REPLICATE] = [job.config[SEED] for job in jobs]
    return runs


def table_with_results(jobs: Sequence[Job], compare: Sequence[str]) -> "pd.DataFrame":
    """Return the table of finished jobs, in their order, with `status`, final accuracies and losses, and `score`."""
    runs = table(jobs, compare)
    import numpy as np

    from mnist_mlp.analysis.selection import score

    summaries = [job.summary() for job in jobs]
    runs["status"] = [summary["status"] for summary in summaries]
    for split in SPLITS:
        for measure in ("accuracy", "loss"):
            finals = [summary["final"].get(split, {}).get(measure) for summary in summaries]
            runs[f"{split}_{measure}"] = [np.nan if final is None else final for final in finals]
    runs["validated"] = runs["val_accuracy"].notna()
    runs["score"] = score(runs, "test_accuracy")
    return runs
