"""Files of the sweeps that runs belong to, and what they record about each run."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mnist_mlp.base.choices import CHOICES_FILE, Part, read_parts
from mnist_mlp.base.interim import LOOKS_FILE, SequentialRecord, read_looks
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import FAILED, RUN_FILE
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH, SEQUENTIAL, SWEEP_FILE, SweepRecord, read_sweep

T = TypeVar("T")


class Superseded(Unreadable):
    """Error for a run that confirms an earlier selection, which another one has replaced."""


@dataclass(frozen=True)
class SweepFiles:
    """Contents of the files of sweeps; None stands for a damaged file.

    Attributes:
        records: Contents of each `sweep.json`, by sweep directory.
        parts: Phase and search seed of each job, by sweep directory, for sweeps that confirm their selections.
            Until selections are recorded, only jobs of the search are listed.
        looks: Interim analyses by sweep directory.
        unfinished: Number of jobs without a result, by sweep directory and phase.
        defects: Pairs (sweep directory, explanation) of damaged files.
    """

    records: Mapping[Path, SweepRecord | None]
    parts: Mapping[Path, Mapping[str, Part] | None]
    looks: Mapping[Path, SequentialRecord | None]
    unfinished: Mapping[Path, Mapping[str, int]]
    defects: Sequence[tuple[Path, str]]

    def about(self, run: Path, sweep: Path | None, status: str, seed: int) -> dict[str, Any]:
        """Return the columns `phase`, `chosen_in`, `looked_in` and `search_seed` of a run (see `load.Results`).

        Args:
            run: Run directory.
            sweep: Directory of its sweep; None for a single run.
            status: Status of the run.
            seed: Seed of the run.

        Raises:
            Unreadable: The run is not a part of its sweep, or a file of the sweep is damaged.
        """
        part = self._part(run, sweep)
        phase = part.phase if part else None
        return {
            "phase": phase,
            "chosen_in": str(sweep) if part else None,
            "looked_in": self._looked_in(run, sweep, status, phase),
            "search_seed": seed if part is None or part.search_seed is None else part.search_seed,
        }

    def _part(self, run: Path, sweep: Path | None) -> Part | None:
        if sweep is None or sweep not in self.parts:
            return None
        known, record, name = self.parts[sweep], self.records.get(sweep), run.relative_to(sweep).as_posix()
        if known is None:
            raise Unreadable(
                f"its sweep's {SWEEP_FILE} or {CHOICES_FILE} is damaged. Remove the file, and rerun the command."
            )
        if name in known:
            return known[name]
        if record and name in record.phases.get(CONFIRM, ()):
            raise Superseded(f"not one of the jobs in {CHOICES_FILE}: it confirms an earlier selection")
        raise Unreadable(
            f"not one of the jobs in {CHOICES_FILE}: it belongs to an earlier selection, or to an unfinished search"
        )

    def _looked_in(self, run: Path, sweep: Path | None, status: str, phase: str | None) -> str | None:
        if sweep is None or sweep not in self.looks or phase == SEARCH:
            return None
        known = self.looks[sweep]
        if known is None or status == FAILED or run.relative_to(sweep).as_posix() in known.jobs:
            return str(sweep)
        raise Unreadable(
            f"not one of the jobs in {LOOKS_FILE}: it awaits an interim analysis, or belongs to another sweep"
        )


def read_sweep_files(sweeps: Sequence[Path]) -> SweepFiles:
    """Read the files of these sweeps."""
    defects: list[tuple[Path, str]] = []
    records = _read_all(sweeps, SWEEP_FILE, read_sweep, defects)
    selected = _read_all(sweeps, CHOICES_FILE, read_parts, defects)
    looks = _read_all(sweeps, LOOKS_FILE, read_looks, defects)
    parts: dict[Path, Mapping[str, Part] | None] = dict(selected)
    for sweep, record in records.items():
        if record is None:
            parts[sweep] = None
        elif CONFIRM in record.phases and sweep not in selected:
            parts[sweep] = dict.fromkeys(record.phases.get(SEARCH, ()), Part(SEARCH, None))
        if record and SEQUENTIAL in record.phases:
            looks.setdefault(sweep, None)
    return SweepFiles(records, parts, looks, _unfinished(records, parts), defects)


def _unfinished(
    records: Mapping[Path, SweepRecord | None], parts: Mapping[Path, Mapping[str, Part] | None]
) -> dict[Path, dict[str, int]]:
    """Count the jobs without a `run.json` per sweep and phase. Jobs of earlier selections do not count."""
    found: dict[Path, dict[str, int]] = {}
    for sweep in {*records, *parts}:
        record, of_jobs = records.get(sweep), parts.get(sweep) or {}
        jobs = {phase: {*names} for phase, names in record.phases.items()} if record else {}
        jobs[CONFIRM] = {name for name, part in of_jobs.items() if part.phase == CONFIRM}
        counts = {phase: sum(not (sweep / name / RUN_FILE).exists() for name in names) for phase, names in jobs.items()}
        if any(counts.values()):
            found[sweep] = {phase: count for phase, count in counts.items() if count}
    return found


def _read_all(
    sweeps: Sequence[Path], name: str, read: Callable[[Path], T], defects: list[tuple[Path, str]]
) -> dict[Path, T | None]:
    """Read the named file of each sweep that has it. A damaged file gives None and adds an entry to `defects`."""
    found: dict[Path, T | None] = {}
    for sweep in sweeps:
        if os.path.lexists(sweep / name):
            try:
                found[sweep] = read(sweep / name)
            except Unreadable as error:
                found[sweep] = None
                defects.append((sweep, str(error)))
    return found
