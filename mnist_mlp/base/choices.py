"""Content of `choices.json`: the selected configurations of a sweep that confirms them with new seeds."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mnist_mlp.base.configuration import canonical
from mnist_mlp.base.reading import Unreadable, job_names, read_json
from mnist_mlp.base.record import finite, write_atomically
from mnist_mlp.base.sweep_file import CONFIRM, SEARCH

CHOICES_FILE = "choices.json"
ALL_SEEDS = "all"  # in place of a search seed if a cell selects once, by the mean over all seeds


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One of the hyperparameter configurations that a selection chooses from.

    Attributes:
        configuration: Tuned keys and their values.
        accuracy: Mean final accuracy of its runs on the selection split, in [0, 1]; a run that diverged counts as 0.
        loss: Mean final loss of its runs on the selection split, in nats; infinite if a run diverged.
        jobs: Names of the jobs that evaluated the configuration.
    """

    configuration: Mapping[str, Any]
    accuracy: float
    loss: float
    jobs: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Selection of one cell, for one search seed or for all of them (`ALL_SEEDS`).

    Attributes:
        configuration: Selected configuration: that of the best candidate.
        candidates: All candidates, the best first.
        confirmed: Confirming seeds, each with the name of the job that retrains the configuration with that seed.
    """

    configuration: Mapping[str, Any]
    candidates: Sequence[Candidate]
    confirmed: Mapping[int, str]

    @property
    def searched(self) -> Iterator[str]:
        """Names of the jobs that evaluated the candidates."""
        return (job for candidate in self.candidates for job in candidate.jobs)


Choices = Mapping[str, Mapping[str, Selection]]  # cell, then search seed as text or `ALL_SEEDS`


class Part(NamedTuple):
    """Role of a job in a sweep with selections.

    Attributes:
        phase: `SEARCH` or `CONFIRM`.
        search_seed: Search seed whose selection the job confirms; None for a job of the search, and for a selection
            by the mean over all seeds.
    """

    phase: str
    search_seed: int | None


def write_choices(directory: Path, choices: Choices) -> None:
    """Merge selections into `choices.json`. Recorded selections of other cells and seeds stay.

    If the same configuration is selected again, the recorded confirming jobs stay, too. For a single search seed, they
    stay only if the new selection has no confirming job. A job of the search is never recorded as confirming.
    """
    content = recorded_choices(directory)
    for cell, of_cell in choices.items():
        for seed, selection in of_cell.items():
            before = content.setdefault(cell, {}).get(seed)
            confirmed = dict(selection.confirmed)
            if before and _select_the_same(before, selection) and (seed == ALL_SEEDS or not confirmed):
                confirmed = {**before.confirmed, **confirmed}
            content[cell][seed] = replace(selection, confirmed=confirmed)
    searched = {job for of_cell in content.values() for selection in of_cell.values() for job in selection.searched}
    tree = {cell: {seed: _as_json(of, searched) for seed, of in of_cell.items()} for cell, of_cell in content.items()}
    text = json.dumps(finite(tree), indent=1) + "\n"
    path = directory / CHOICES_FILE
    with suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return
    write_atomically(path, text)


def _select_the_same(one: Selection, other: Selection) -> bool:
    """Return whether two selections chose the same configuration, even if one records fewer tuned keys."""
    if text_of(one.configuration) == text_of(other.configuration):
        return True
    return bool(one.candidates and other.candidates and {*one.candidates[0].jobs} & {*other.candidates[0].jobs})


def text_of(configuration: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal configurations only. The values true and 1 differ; 1 and 1.0 are equal."""
    return json.dumps(canonical(finite(dict(configuration))), sort_keys=True)


def _as_json(selection: Selection, searched: set[str]) -> dict[str, Any]:
    confirmed = {str(seed): job for seed, job in sorted(selection.confirmed.items()) if job not in searched}
    return asdict(selection) | {"confirmed": confirmed}


def read_choices(path: Path) -> dict[str, dict[str, Selection]]:
    """Read the selections of each cell, by search seed (as text, or `ALL_SEEDS`).

    Raises:
        Unreadable: The file is missing or damaged.
    """
    try:
        content = read_json(path)
        return {
            cell: {_seed(seed): _selection(of) for seed, of in of_cell.items()} for cell, of_cell in content.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{CHOICES_FILE}: damaged ({type(error).__name__}: {error})") from error


def recorded_choices(directory: Path) -> dict[str, dict[str, Selection]]:
    """Read the selections of a sweep; empty if the file is missing or damaged (the sweep then rewrites it)."""
    with suppress(Unreadable):
        return read_choices(directory / CHOICES_FILE)
    return {}


def _number(text: str) -> int:
    """Parse a seed that is a key of a JSON object."""
    if not text.isdecimal() or str(int(text)) != text:
        raise ValueError(f"{text[:40]} is not a seed")
    return int(text)


def _seed(text: str) -> str:
    return text if text == ALL_SEEDS else str(_number(text))


def _selection(content: Mapping[str, Any]) -> Selection:
    confirmed = {_number(seed): job for seed, job in content["confirmed"].items()}
    job_names(list(confirmed.values()))
    return Selection(
        configuration=_configuration(content["configuration"]),
        candidates=[
            Candidate(
                configuration=_configuration(candidate["configuration"]),
                accuracy=_float(candidate["accuracy"]),
                loss=math.inf if candidate["loss"] is None else _float(candidate["loss"]),
                jobs=job_names(candidate["jobs"]),
            )
            for candidate in content["candidates"]
        ],
        confirmed=confirmed,
    )


def _configuration(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError("a configuration is not an object")
    return content


def _float(content: Any) -> float:
    if not isinstance(content, int | float) or isinstance(content, bool) or math.isnan(content):
        raise TypeError("an accuracy or a loss is not a number")
    return float(content)


def read_parts(path: Path) -> dict[str, Part]:
    """Read the roles of all jobs in a `choices.json`, by job name.

    Raises:
        Unreadable: The file is missing or damaged.
    """
    parts: dict[str, Part] = {}
    confirming: dict[str, Part] = {}
    for of_cell in read_choices(path).values():
        for seed, selection in of_cell.items():
            parts |= dict.fromkeys(selection.searched, Part(SEARCH, None))
            search_seed = None if seed == ALL_SEEDS else int(seed)
            confirming |= dict.fromkeys(selection.confirmed.values(), Part(CONFIRM, search_seed))
    return parts | confirming
