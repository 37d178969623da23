"""Jobs of a sweep as a table with their cells, and with their results as the report scores them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_mlp.run import schema
from mnist_mlp.run.errors import UserError
from mnist_mlp.run.record import SPLITS
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import Job

if TYPE_CHECKING:  # pandas is imported when it is needed: that takes a second
    import pandas as pd


def cells_of(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """Return the jobs of each cell, by the cell's name."""
    from mnist_mlp.report.analysis.roles import CELL

    cells: dict[str, list[Job]] = {}
    for cell, job in zip(table(jobs)[CELL] if jobs else (), jobs, strict=True):
        cells.setdefault(cell, []).append(job)
    return cells


def check_conditions(jobs: Sequence[Job], place: str) -> None:
    """Check that jobs share their data and evaluation conditions.

    Args:
        jobs: Jobs, at least one.
        place: Setting that needs it, for the message.

    Raises:
        UserError: They do not.
    """
    runs = table(jobs)
    from mnist_mlp.report.analysis.roles import measured_keys

    several = ["data"] if runs["data"].nunique() > 1 else measured_keys(runs, schema.COMPARED)
    if several:
        raise UserError(f"{place}: {several[0]} takes several values; allowed is a sweep on the same terms")


def tuned_keys_of(jobs: Sequence[Job]) -> list[str]:
    """Return the keys whose values are selected within a cell."""
    runs = table(jobs)
    from mnist_mlp.report.analysis.roles import tuned_keys, varying_keys

    return tuned_keys(runs, varying_keys(runs), schema.COMPARED)


def replicates_of(jobs: Sequence[Job]) -> dict[str, list[int]]:
    """Return the values of each replicate key that is set: `seed`, and `seeds.*` if a source has its own."""
    values: dict[str, set[int]] = {}
    for job in jobs:
        sources: Mapping[str, Any] = job.config.get("seeds") or {}
        for key, value in {
            "seed": job.config["seed"],
            **{f"seeds.{source}": s for source, s in sources.items()},
        }.items():
            if value is not None:
                values.setdefault(key, set()).add(int(value))
    return {key: sorted(seeds) for key, seeds in sorted(values.items())}


def names(jobs: Sequence[Job], directory: Path) -> list[str]:
    """Return the directories of jobs relative to that of their sweep."""
    top = os.path.normpath(directory)  # as the report finds them, even if a name contains `..`
    return [Path(os.path.normpath(job.directory)).relative_to(top).as_posix() for job in jobs]


def table(jobs: Sequence[Job]) -> "pd.DataFrame":
    """Return the jobs as the report's table of runs, as far as it is known before training; `cell` is their cell."""
    with importing():
        import pandas as pd

        from mnist_mlp.report.analysis.roles import CELL, cell_names
        from mnist_mlp.report.load import flat

    runs = pd.DataFrame([{**job.choices, **dict(flat(job.config))} for job in jobs])
    runs[CELL] = cell_names(runs, schema.COMPARED)
    return runs


def table_with_results(jobs: Sequence[Job]) -> "pd.DataFrame":
    """Return the table of finished jobs with `status`, final accuracies and `score`, in the order of the jobs."""
    runs = table(jobs)
    import numpy as np

    from mnist_mlp.report.analysis.roles import score

    summaries = [job.summary() for job in jobs]
    runs["status"] = [summary["status"] for summary in summaries]
    for split in SPLITS:
        runs[f"{split}_accuracy"] = [summary["final"].get(split, {}).get("accuracy", np.nan) for summary in summaries]
    runs["validated"] = runs["val_accuracy"].notna()
    runs["score"] = score(runs, "test_accuracy")
    return runs
