"""Records of a sweep, written before jobs are launched: `sweep.json`, `choices.json`, `looks.json`.

Writing never removes what earlier commands have recorded, such as other cells, other jobs and later interim analyses.
"""

from pathlib import Path

from mnist_mlp.app import confirm, sequential
from mnist_mlp.app.cells import names, replicates_of
from mnist_mlp.app.state import Request, State
from mnist_mlp.base.choices import CHOICES_FILE, write_choices
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import LOOKS_FILE, SequentialRecord, write_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.sweep_file import (
    CONFIRM,
    SEQUENTIAL,
    SWEEP_FILE,
    Command,
    SweepRecord,
    read_sweep,
    write_sweep,
)


def check(request: Request) -> None:
    """Check that the records in the sweep directory agree with the request.

    Raises:
        UserError: They disagree, or a record is damaged.
    """
    directory, recorded = request.directory, _recorded(request.directory)
    if recorded:
        for key, was, now in (
            ("compare", list(recorded.compare), list(request.compare)),
            ("select", recorded.select, request.select),
        ):
            if was != now:
                raise UserError(
                    f"{sequential.SWEEPER}.{key}={_shown(now)}: expected {_shown(was)}, as in the earlier commands for "
                    f"{directory}. Repeat it, or use another hydra.sweep.dir=DIR."
                )
    phases = recorded.phases if recorded else {}
    if not request.confirmation and (CONFIRM in phases or (directory / CHOICES_FILE).exists()):
        raise UserError(
            f"{directory} holds a search with confirmation. Expected {confirm.PLACE} again, or another "
            "hydra.sweep.dir=DIR."
        )
    if not request.sequential and (SEQUENTIAL in phases or (directory / LOOKS_FILE).exists()):
        raise UserError(
            f"{directory} holds a sweep with interim analyses. Expected {sequential.PLACE}=true again, or another "
            "hydra.sweep.dir=DIR."
        )


def check_selection(request: Request, state: State) -> None:
    """Check that recorded interim analyses, if there are any, used the configurations that are selected now.

    Raises:
        UserError: The analyses used other configurations.
    """
    if request.sequential and state.phases.get(CONFIRM):
        sequential.check_same_jobs(request.directory, state.phases[CONFIRM])


def _shown(value: str | list[str]) -> str:
    return value if isinstance(value, str) else f"[{','.join(value)}]"


def _recorded(directory: Path) -> SweepRecord | None:
    path = directory / SWEEP_FILE
    if not path.exists():
        return None
    try:
        return read_sweep(path)
    except Unreadable as error:
        raise _damaged(directory, error) from error


def _damaged(directory: Path, error: Unreadable) -> UserError:
    return UserError(f"{directory}: {error}. Remove the file, and repeat the command, which writes it again.")


def jobs_of(directory: Path, command: str) -> list[Path]:
    """Return the directories of the jobs that a command requested; empty if the command is not recorded.

    Raises:
        UserError: The record is damaged.
    """
    recorded = _recorded(directory)
    asked = [given for given in recorded.commands if given.command == command] if recorded else []
    return [directory / job for given in asked for job in given.jobs]


def write(request: Request, state: State, command: str) -> None:
    """Record the request, the selections and the interim analyses so far.

    Args:
        request: Request of the command.
        state: Current state of the sweep.
        command: Command line.
    """
    directory = request.directory
    asked = SweepRecord(
        compare=list(request.compare),
        tuned=request.tuned,
        replicates=replicates_of(request.search),
        select=request.select,
        margin=request.margin,
        phases={phase: names(jobs, directory) for phase, jobs in state.phases.items()},
        commands=[Command(command=command, jobs=names(state.jobs, directory))],
    )
    try:
        write_sweep(directory, asked)
    except Unreadable as error:  # damaged since `check` read it
        raise _damaged(directory, error) from error
    if state.choices is not None:
        write_choices(directory, state.choices)
    if state.looks is not None and not _has(directory, state.looks):
        write_looks(directory, state.looks)


def _has(directory: Path, looks: SequentialRecord) -> bool:
    """Return whether these interim analyses are recorded already, possibly with later ones."""
    last = sequential.recorded_analyses(directory)
    return last is not None and list(last.looks[: len(looks.looks)]) == list(looks.looks)
