"""Discovery of runs and sweeps below a directory."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnist_mlp.base.choices import CHOICES_FILE
from mnist_mlp.base.interim import LOOKS_FILE
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import SWEEP_FILE

SWEEP_FILES = (SWEEP_FILE, CHOICES_FILE, LOOKS_FILE)


class Folder(NamedTuple):
    """A directory that `walk` visits.

    Attributes:
        path: Directory.
        names: Names of its files and subdirectories.
        subfolders: Names of the subdirectories to visit; the caller may remove entries.
        loops: Symbolic links to a parent directory, which are not followed.
    """

    path: Path
    names: set[str]
    subfolders: list[str]
    loops: Sequence[Path]


@dataclass(frozen=True)
class Found:
    """Runs below a directory.

    Attributes:
        runs: Directories of the runs, each with the directory of its sweep; None for a run outside of sweeps.
        loops: Symbolic links to a parent directory.
    """

    runs: Mapping[Path, Path | None]
    loops: Sequence[Path]


def walk(top: Path) -> Iterator[Folder]:
    """Visit a directory and its subdirectories, following symbolic links and visiting each directory once."""
    seen: set[Path] = set()
    for folder, subfolders, files in os.walk(top, followlinks=True):
        path = Path(folder)
        real = path.resolve()
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        links = {name for name in subfolders if (path / name).is_symlink()}
        loops = {name for name in links if real.is_relative_to((path / name).resolve())}
        names = {*files, *subfolders}
        # Links come last: a directory that is also reached without a link keeps its real path.
        subfolders[:] = [*sorted({*subfolders} - links), *sorted(links - loops)]
        yield Folder(path, names, subfolders, [path / name for name in sorted(loops)])


def find_runs(top: Path, is_sweep: bool | None = None) -> Found:
    """Find the runs in a directory, which may itself be a run.

    If the directory is a sweep, runs of other sweeps below it are left out.

    Args:
        top: Directory.
        is_sweep: Whether the directory is a sweep; None decides this by the presence of `sweep.json`.
    """
    around: dict[Path, Path] = {}
    runs: dict[Path, Path | None] = {}
    loops: list[Path] = []
    is_sweep = os.path.lexists(top / SWEEP_FILE) if is_sweep is None else is_sweep
    for path, names, subfolders, loops_here in walk(top):
        if is_sweep and path != top and SWEEP_FILE in names:
            subfolders.clear()
            continue
        loops += loops_here
        if not names.isdisjoint(SWEEP_FILES):
            around[path] = path
        elif outer := around.get(path.parent):
            around[path] = outer
        if RUN_FILE in names or ".hydra" in names:
            subfolders.clear()  # a run has no runs inside
            runs[path] = around.get(path)
    return Found(runs, loops)
