"""Reports on sweeps: text, figures and a page that present the results of `mnist_mlp.analysis`."""

import hashlib
import os
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_mlp.analysis import compare_sweeps
from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.directories import SWEEP_FILES, walk
from mnist_mlp.base.errors import UserError
from mnist_mlp.base.interim import LOOKS_FILE
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import FAILED
from mnist_mlp.base.schema import LAST
from mnist_mlp.base.sweep_file import SEARCH, SWEEP_FILE, read_sweep

__all__ = ["Outcome", "compare_sweeps", "default_directory", "newest_sweep", "report_on"]

REPORTS = Path("reports")
SWEEPS = Path("multirun")
MARK = "multirun.yaml"  # written into the sweep directory at each launch
NAME_LENGTH = 100  # maximum number of characters in a report's name


@dataclass(frozen=True)
class Outcome:
    """Result of writing a report.

    Attributes:
        directory: Report directory.
        unfinished: Number of runs that failed or have no result.
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
    where: Sequence[str] = (),
    margin: float | None = None,
    width: str | None = None,
    at: str = LAST,
    metric: str = ACCURACY.name,
) -> Outcome:
    """Write one report on all given sweeps and print its leaderboard.

    Args:
        sweeps: Sweep or run directories.
        out: Report directory; by default `reports/` and the name of the sweeps.
        target: As in `compare_sweeps`.
        by: As in `compare_sweeps`.
        formats: Formats of the figures in addition to PNG and SVG.
        about: As in `compare_sweeps`.
        select: As in `compare_sweeps`.
        where: As in `compare_sweeps`.
        margin: As in `compare_sweeps`.
        width: Width of the figures' files in a paper: `column` or `page`; None for their natural width.
        at: As in `compare_sweeps`.
        metric: As in `compare_sweeps`.

    Raises:
        UserError: As in `compare_sweeps`, or a directory is a single job of a sweep with several phases.
    """
    from mnist_mlp.analysis.load import ProblemKind
    from mnist_mlp.report import terminal, write

    _refuse_parts(sweeps)
    results, comparisons = compare_sweeps(sweeps, target, by, about, select, where, margin, at, metric)
    directory = out or default_directory(sweeps)
    command = _command(sweeps, out, target, by, formats, select, where, margin, width, at, metric)
    write.write_report(directory, comparisons, results.problems, sweeps, command, formats, width)
    failed = results.runs[results.runs["status"] == FAILED]
    failures = dict(zip(map(str, failed.index), failed["reason"], strict=True))
    terminal.show(comparisons, failures, results.problems, directory)
    unfinished = len(failures) + sum(p.kind is ProblemKind.UNFINISHED for p in results.problems)
    return Outcome(directory, unfinished)


def _refuse_parts(sweeps: Sequence[Path]) -> None:
    """Refuse single jobs of a sweep that confirms selections or adds seeds, since only all jobs give its result.

    Raises:
        UserError: A directory is such a job.
    """
    for sweep in sweeps:
        place = Path(os.path.normpath(sweep.absolute()))
        around = (place, *place.parents)
        nearest = next((above for above in around if any(os.path.lexists(above / name) for name in SWEEP_FILES)), place)
        if nearest == place:  # a sweep itself, or not part of a sweep
            continue
        for name in (CHOICES_FILE, LOOKS_FILE, SWEEP_FILE):
            if os.path.lexists(nearest / name) and (name != SWEEP_FILE or _has_later_phases(nearest / name)):
                raise UserError(
                    f"{sweep}: cannot report on a single job of a sweep with {name}. Pass {nearest} instead."
                )


def _has_later_phases(path: Path) -> bool:
    """Return whether a `sweep.json` has phases after the search; True if the file is damaged."""
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
    where: Sequence[str],
    margin: float | None,
    width: str | None,
    at: str,
    metric: str,
) -> str:
    """Return the command line that writes this report."""
    words = ["python", "report.py", *map(str, sweeps)]
    words += ["--out", str(out)] if out else []
    words += ["--target", str(target)] if target is not None else []
    words += ["--by", ",".join(by)] if by else []
    words += ["--select", select] if select else []
    words += ["--margin", f"{100 * margin:.12g}"] if margin is not None else []
    words += ["--at", at] if at != LAST else []
    words += ["--metric", metric] if metric != ACCURACY.name else []
    words += [word for condition in where for word in ("--where", condition)]
    words += [word for name in formats for word in ("--format", name)]
    return shlex.join([*words, *(["--width", width] if width else [])])


def newest_sweep(root: Path = SWEEPS) -> Path:
    """Return the most recently launched sweep below a directory.

    Raises:
        UserError: The directory contains no sweep.
    """
    marks = [folder.path / MARK for folder in walk(root) if MARK in folder.names]
    if not marks:
        raise UserError(f"{root.absolute()}: no sweep found. Run one, or pass its directory.")
    return max(marks, key=lambda path: path.stat().st_mtime).parent


def default_directory(sweeps: Sequence[Path]) -> Path:
    """Return the default directory of the report on these sweeps, which is always below `reports/`."""
    return REPORTS / _name(sweeps)


def _name(sweeps: Sequence[Path]) -> str:
    """Return the report's name: the path of each sweep below its last `multirun/` or `outputs/`, or its last part.

    Symbolic links are not resolved, so that the name is the one the user knows. `..` is resolved, so that the name
    cannot leave `reports/`.
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
