"""What a sweep's jobs are before they have results: the cells of the report on them, and whether it would choose."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp.run import schema
from mnist_mlp.run.errors import UserError
from mnist_mlp.run.startup import importing
from mnist_mlp.sweeps.jobs import Job

if TYPE_CHECKING:  # else what takes long to import is left until it is needed
    import pandas as pd


def cells_of(jobs: Sequence[Job], place: str) -> dict[str, list[Job]]:
    """The jobs of each cell, by its name.

    Args:
        jobs: at least one.
        place: the setting that needs them, for the message.

    Raises:
        UserError: they are not all measured on the same terms.
    """
    table = _table(jobs)
    from mnist_mlp.report.analysis.roles import CELL, measured_keys

    several = ["data"] if table["data"].nunique() > 1 else measured_keys(table, schema.COMPARED)
    if several:
        raise UserError(f"{place}: {several[0]} takes several values; allowed is a sweep on the same terms")
    cells: dict[str, list[Job]] = {}
    for cell, job in zip(table[CELL], jobs, strict=True):
        cells.setdefault(cell, []).append(job)
    return cells


def is_tuned(jobs: Sequence[Job]) -> bool:
    """Whether there is a setting to choose in any cell."""
    table = _table(jobs)
    from mnist_mlp.report.analysis.roles import tuned_keys, varying_keys

    return bool(tuned_keys(table, varying_keys(table), schema.COMPARED))


def names(jobs: Sequence[Job], directory: Path) -> list[str]:
    """The directories of jobs, as seen from the sweep's."""
    top = os.path.normpath(directory)  # as the report finds them, whatever `..` is in a name
    return [Path(os.path.normpath(job.directory)).relative_to(top).as_posix() for job in jobs]


def _table(jobs: Sequence[Job]) -> "pd.DataFrame":
    """As the report has runs, as far as they are known beforehand."""
    with importing():
        import pandas as pd

        from mnist_mlp.report.analysis.roles import CELL, cell_names
        from mnist_mlp.report.load import flat

    table = pd.DataFrame([{**job.choices, **dict(flat(job.config))} for job in jobs])
    table[CELL] = cell_names(table, schema.COMPARED)
    return table
