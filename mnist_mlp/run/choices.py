"""The settings that a sweep has chosen to train anew: `choices.json` in its directory."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_mlp.run.reading import Unreadable, texts
from mnist_mlp.run.record import finite, write_atomically
from mnist_mlp.run.sweep_file import CONFIRM, SEARCH

CHOICES_FILE = "choices.json"


@dataclass(frozen=True)
class Candidate:
    """A setting that was tried.

    Attributes:
        setting: tuned key to its value.
        mean: accuracy of its runs on the split that chooses, a diverged run as 0.
        n: how many runs that is of.
        jobs: the names of these runs' directories, in the sweep's.
    """

    setting: Mapping[str, Any]
    mean: float
    n: int
    jobs: Sequence[str]


@dataclass(frozen=True)
class Choice:
    """What was chosen for a cell.

    Attributes:
        setting: that of the candidate with the highest mean.
        candidates: every setting that was tried, the best first.
        confirmed: the names of the jobs that train it anew.
    """

    setting: Mapping[str, Any]
    candidates: Sequence[Candidate]
    confirmed: Sequence[str]


def write_choices(directory: Path, choices: Mapping[str, Choice]) -> None:
    """Write down what was chosen for each cell, by its name.

    What is there already stays: other cells, and further jobs that confirm what is chosen again; but no job that has
    been searched confirms anything.
    """
    content: dict[str, Any] = {}
    with suppress(Unreadable):  # what is damaged, or not there, is written anew
        content = _read(directory / CHOICES_FILE)
    for cell, choice in choices.items():
        setting = finite(dict(choice.setting))
        before = content.get(cell)
        kept = before["confirmed"] if before and before["setting"] == setting else []
        content[cell] = {
            "setting": setting,
            "candidates": [vars(candidate) for candidate in choice.candidates],
            "confirmed": list(dict.fromkeys([*kept, *choice.confirmed])),
        }
    searched = set(_searched(content))
    for cell in content.values():
        cell["confirmed"] = [job for job in cell["confirmed"] if job not in searched]
    write_atomically(directory / CHOICES_FILE, json.dumps(finite(content), indent=1) + "\n")


def read_choices(path: Path) -> dict[str, Choice]:
    """Read what was selected for each cell, by the cell's name.

    Raises:
        Unreadable: The file is missing or damaged.
    """
    try:
        return {
            cell: Choice(
                of_cell["setting"],
                [
                    Candidate(dict(c["setting"]), float(c["mean"]), int(c["n"]), texts(c["jobs"]))
                    for c in of_cell["candidates"]
                ],
                of_cell["confirmed"],
            )
            for cell, of_cell in _read(path).items()
        }
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise Unreadable(f"{CHOICES_FILE}: not one of this project's ({type(error).__name__}: {error})") from error


def read_phases(path: Path) -> dict[str, str]:
    """The phase of every job that a `choices.json` names, by the job's name.

    Raises:
        Unreadable: it is none of this project's.
    """
    content = _read(path)
    confirmed = [job for cell in content.values() for job in cell["confirmed"]]
    return dict.fromkeys(_searched(content), SEARCH) | dict.fromkeys(confirmed, CONFIRM)


def _read(path: Path) -> dict[str, Any]:
    """What is written down there, by cell.

    Raises:
        Unreadable: it is none of this project's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for cell in content.values():
            cell["setting"] = dict(cell["setting"])
            cell["confirmed"] = texts(cell["confirmed"])
        _searched(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{CHOICES_FILE}: not one of this project's ({type(error).__name__}: {error})") from error
    return dict(content)


def _searched(content: Mapping[str, Any]) -> list[str]:
    """The jobs that settings were chosen by."""
    return [job for cell in content.values() for candidate in cell["candidates"] for job in texts(candidate["jobs"])]
