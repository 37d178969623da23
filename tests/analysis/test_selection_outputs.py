"""Selections in every output of a sweep, against a plain implementation."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import previous_seeds
from mnist_mlp.app.confirm import read, with_seed
from mnist_mlp.app.select import jobs_for
from mnist_mlp.app.state import Request
from mnist_mlp.base.record import Diverged
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.report import compare_sweeps
from mnist_mlp.report.tables import leaderboard
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.sweeping import planning, write_result


class Result(NamedTuple):
    """Result of a job, as the plain implementation needs it."""

    status: str
    accuracy: float
    loss: float


Configuration = tuple[float, float]  # learning rate, weight decay
CELLS, SEEDS = ("adam", "sgd"), (0, 1, 2)
CONFIGURATIONS = list(product((0.01, 0.1), (0.0, 0.1)))


def best(candidates: Mapping[Configuration, Result]) -> Configuration:
    """Return the selection of one seed, by a plain implementation."""

    def order(configuration: Configuration) -> tuple[float, bool, float, Configuration]:
        result = candidates[configuration]
        has_diverged = result.status == "diverged"
        return -result.accuracy * (not has_diverged), has_diverged, result.loss * (not has_diverged), configuration

    return min(candidates, key=order)


RESULTS = [Result("completed", accuracy, loss) for accuracy, loss in product((0.5, 0.75), (0.25, 0.5))] + [
    Result(status, 0.5, 0.5) for status in ("diverged", "failed", "missing")
]


class Planned:
    """Directory of a sweep, and its jobs by cell, seed and configuration, with a short repr."""

    def __init__(self, top: Path, jobs: dict[tuple[str, int, Configuration], Job]) -> None:
        self.top, self.jobs = top, jobs

    def retrain(self, overrides: Sequence[Sequence[str]]) -> list[Job]:
        """Return confirming jobs without composing them again, which would take most of the time."""
        jobs = {tuple(with_seed(job.overrides, 0)): job for job in self.jobs.values()}
        return [
            replace(jobs[tuple(with_seed(one, 0))], overrides=tuple(one), directory=self.top / " ".join(one))
            for one in overrides
        ]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    """Untrained sweep of two cells, four configurations and three seeds."""
    top = tmp_path_factory.mktemp("planned") / "sweep"
    keys = list(product(CELLS, SEEDS, CONFIGURATIONS))
    with planning(top) as plan:
        jobs = jobs_for(
            plan,
            [[f"optim={o}", f"seed={s}", f"optim.lr={lr}", f"optim.weight_decay={wd}"] for o, s, (lr, wd) in keys],
        )
        yield Planned(top, dict(zip(keys, jobs, strict=True)))


Finished = Mapping[tuple[str, int, Configuration], Result]
Selected = Mapping[str, Mapping[int, Configuration]]


def by_cell_and_seed(finished: Finished) -> dict[str, dict[int, dict[Configuration, Result]]]:
    grouped: dict[str, dict[int, dict[Configuration, Result]]] = {}
    for (cell, seed, configuration), result in finished.items():
        grouped.setdefault(cell, {}).setdefault(seed, {})[configuration] = result
    return grouped


def counted(result: Result) -> float:
    """Return the accuracy that a result counts with: zero if it diverged."""
    return result.accuracy * (result.status == "completed")


def ranked(counts: Counter[Configuration]) -> list[Configuration]:
    """Return configurations by the number of seeds that selected them, then by value."""
    return sorted(counts, key=lambda configuration: (-counts[configuration], configuration))


def assert_choices(request: Request, jobs: Sequence[Job], selected: Selected) -> None:
    """Assert that choices.json has these selections."""
    choices = request.confirm(jobs, {str(seed): [seed + 1_000_000] for seed in SEEDS}).choices
    assert {
        cell: {int(seed): tuple(of.configuration.values()) for seed, of in seeds.items()}
        for cell, seeds in choices.items()
    } == {f"he / {cell}": seeds for cell, seeds in selected.items()}


def assert_summary(comparison: Comparison, selected: Selected) -> None:
    """Assert that the counts of selections and the summary have these selections."""
    for cell, seeds in selected.items():
        name, counts = f"he / {cell}", Counter(seeds.values())
        in_order = ranked(counts)
        assert [(tuple(of.configuration.values()), of.count, of.of) for of in comparison.selected[name]] == [
            (configuration, counts[configuration], len(seeds)) for configuration in in_order
        ]
        row = comparison.summary.set_index(CELL).loc[name]
        assert (row["optim.lr"], row["optim.weight_decay"]) == in_order[0]
        assert row["selected"] == f"{counts[in_order[0]]}/{len(seeds)}"


def assert_scores_and_budget(comparison: Comparison, selected: Selected, finished: Finished) -> None:
    """Assert that each seed is scored at the previous seed's selection, and that budget curves end at the mean."""
    for cell, seeds in selected.items():
        scores = {
            seed: counted(finished[cell, seed, seeds[previous]])
            for seed, previous in previous_seeds(seeds, seeds)
            if (cell, seed, seeds[previous]) in finished
        }
        of_cell = comparison.scored[comparison.scored[CELL] == f"he / {cell}"]
        assert dict(zip(of_cell[REPLICATE], of_cell["score"], strict=True)) == scores
        if not len(comparison.budget):
            continue
        curve = comparison.budget[comparison.budget[CELL] == f"he / {cell}"]
        if len(curve):
            last = curve.iloc[-1]
            own = [counted(finished[cell, seed, configuration]) for seed, configuration in seeds.items()]
            assert last["val_expected"] == pytest.approx(mean(own))
            expected = mean(scores.values()) if scores else np.nan
            assert last["test_expected"] == pytest.approx(expected, nan_ok=True)


def assert_sensitivity(comparison: Comparison, finished: Finished) -> None:
    """Assert that the sensitivity has the mean of each seed's selection at every learning rate."""
    sensitivity = comparison.sensitivity.set_index([CELL, "lr"])["accuracy_mean"]
    for cell, seeds in by_cell_and_seed(finished).items():
        for lr in {configuration[0] for of in seeds.values() for configuration in of}:
            parts = [{c: r for c, r in of.items() if c[0] == lr} for of in seeds.values()]
            taken = [counted(part[best(part)]) for part in parts if part]
            assert sensitivity[f"he / {cell}", lr] == pytest.approx(mean(taken))


def assert_leaderboard(comparison: Comparison, selected: Selected) -> None:
    """Assert that the leaderboard lists the selected learning rates."""
    board = leaderboard(comparison).set_index("optim")["optim.lr"]
    for cell, seeds in selected.items():
        rates = {rate for rate, _ in seeds.values()}
        assert len(board[cell].split(", ")) == len(rates)
        assert all(str(rate) in board[cell] for rate in rates)


@settings(deadline=None, max_examples=8, phases=[Phase.generate], database=None)
@given(st.integers(0, 2**32))
def test_selection_is_equal_in_report_curves_and_choices(planned: Planned, number: int) -> None:
    """Every output shows the selections of a plain implementation, with ties, failures and gaps."""
    top, jobs = planned.top, planned.jobs
    table = [RESULTS[place] for place in np.random.default_rng(number).integers(len(RESULTS), size=len(jobs))]
    shutil.rmtree(top, ignore_errors=True)
    found = dict(zip(jobs, table, strict=True))
    for key, result in found.items():
        if result.status != "missing":
            errors = {"diverged": Diverged("the loss is nan"), "failed": RuntimeError("no")}
            write_result(jobs[key], result.accuracy, result.loss, errors.get(result.status))
    finished = {key: of for key, of in found.items() if of.status in ("completed", "diverged")}
    if not finished:
        return
    selected = {
        cell: {seed: best(of) for seed, of in seeds.items()} for cell, seeds in by_cell_and_seed(finished).items()
    }
    search = [jobs[key] for key in finished]
    request = Request(directory=top, search=search, confirmation=read(True), sequential=None, make_jobs=planned.retrain)
    if len(request.tuned) < 2:  # a key that does not vary among finished jobs is not tuned
        return
    assert_choices(request, search, selected)
    (comparison,) = compare_sweeps([top])[1].values()
    assert comparison.select == EACH
    assert_summary(comparison, selected)
    assert_scores_and_budget(comparison, selected, finished)
    assert_sensitivity(comparison, finished)
    assert_leaderboard(comparison, selected)
