"""Reports on sweeps: text, figures and a page, of what `mnist_mlp.analysis` finds in their run directories."""

import hashlib
import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_mlp.analysis import compared
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.directories import SWEEP_FILES, walk
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.looks import LOOKS_FILE
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import FAILED
from mnist_mlp.base.sweep_file import SEARCH, SWEEP_FILE, read_sweep

__all__ = ["Outcome", "compared", "default_directory", "newest_sweep", "report_on"]

REPORTS = Path("reports")
SWEEPS = Path("multirun")
MARK = "multirun.yaml"  # in the directory of a sweep, written at each launch
NAME_LENGTH = 100  # characters of a report's name


@dataclass(frozen=True)
class Outcome:
    """How a report came out.

    Attributes:
        directory: where it is.
        unfinished: number of runs that failed or have no result.
    """

    directory: Path
    unfinished: int


def report_on(
    sweeps: Sequence[Path],
    out: Path | None = None,
    target: float | None = None,
    by: Sequence[str] | None = None,
    formats: Sequence[str] = (),
    about: Collection[Path] = (),
    select: str | None = None,
) -> Outcome:
    """Write the report on these sweeps together, and print its leaderboard.

    Args:
        sweeps: sweep or run directories.
        out: the report's directory; by default below `reports/`, under the sweeps' own name.
        target: As in `compared`.
        by: As in `compared`.
        formats: of the figures, besides PNG and SVG.
        about: As in `compared`.
        select: As in `compared`.

    Raises:
        UserError: As in `compared`, or one of the directories is a part of a sweep.
    """
    from mnist_mlp.analysis.load import ProblemKind
    from mnist_mlp.report import terminal, write

    _refuse_parts(sweeps)
    results, comparisons = compared(sweeps, target, by, about, select)
    directory = out or default_directory(sweeps)
    command = _command(sweeps, out, target, by, formats, select)
    write.write_report(directory, comparisons, results.problems, sweeps, command, formats)
    failed = results.runs[results.runs["status"] == FAILED]
    failures = dict(zip(map(str, failed.index), failed["reason"], strict=True))
    terminal.show(comparisons, failures, results.problems, directory)
    unfinished = len(failures) + sum(p.kind is ProblemKind.UNFINISHED for p in results.problems)
    return Outcome(directory, unfinished)


def _refuse_parts(sweeps: Sequence[Path]) -> None:
    """Check that no jobs are taken out of a sweep with several phases, of which they are only a part.

    Raises:
        UserError: One is.
    """
    for sweep in sweeps:
        place = Path(os.path.normpath(sweep.absolute()))
        around = (place, *place.parents)
        nearest = next((above for above in around if any(os.path.lexists(above / name) for name in SWEEP_FILES)), place)
        if nearest == place:  # itself a sweep, or part of none
            continue
        for name in (CHOICES_FILE, LOOKS_FILE, SWEEP_FILE):
            if os.path.lexists(nearest / name) and (name != SWEEP_FILE or _has_later_phases(nearest / name)):
                raise UserError(
                    f"{sweep}: a job of a sweep with {name}, which says how to report on all; allowed is {nearest}"
                )


def _has_later_phases(path: Path) -> bool:
    """Return whether a `sweep.json` asks for more than the jobs of a command line; a damaged one may."""
    try:
        return not read_sweep(path).phases.keys() <= {SEARCH}
    except Unreadable:
        return True


def _command(
    sweeps: Sequence[Path],
    out: Path | None,
    target: float | None,
    by: Sequence[str] | None,
    formats: Sequence[str],
    select: str | None,
) -> str:
    """The command line that writes this report."""
    words = ["python", "report.py", *map(str, sweeps)]
    words += ["--out", str(out)] if out else []
    words += ["--target", str(target)] if target is not None else []
    words += ["--by", ",".join(by)] if by else []
    words += ["--select", select] if select else []
    return shlex.join([*words, *(word for name in formats for word in ("--format", name))])


def newest_sweep(root: Path = SWEEPS) -> Path:
    """Return the sweep below a directory that was launched last.

    Raises:
        UserError: There is no sweep.
    """
    marks = [folder.path / MARK for folder in walk(root) if MARK in folder.names]
    if not marks:
        raise UserError(f"there is no sweep in {root.absolute()}; run one, or name its directory")
    return max(marks, key=lambda path: path.stat().st_mtime).parent


def default_directory(sweeps: Sequence[Path]) -> Path:
    """Where the report on these sweeps goes, unless it is told: below `reports/` in any case."""
    return REPORTS / _name(sweeps)


def _name(sweeps: Sequence[Path]) -> str:
    """The report's name: each sweep's path below the last `multirun/` or `outputs/` in it, or else its last part.

    Links are not followed, as a sweep is called by where its user sees it; `..` is, as a name may lead nowhere else.
    """
    names = []
    for sweep in sweeps:
        parts = Path(os.path.normpath(sweep.absolute())).parts
        tops = [number for number, part in enumerate(parts[:-1]) if part in (SWEEPS.name, "outputs")]
        names.append("/".join(parts[tops[-1] + 1 :]) if tops else parts[-1].strip("/") or "all")
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return names[0]
    joined = "+".join(name.replace("/", "_") for name in names)
    if len(joined) <= NAME_LENGTH:
        return joined
    return f"{joined[:NAME_LENGTH]}-{len(names)}-sweeps-{hashlib.sha256(joined.encode()).hexdigest()[:8]}"
