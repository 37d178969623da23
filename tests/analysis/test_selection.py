"""Selection: by each seed for itself and once, against a plain implementation, and in every place that shows it."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mnist_mlp.analysis.roles import CELL, REPLICATE, varying_keys
from mnist_mlp.analysis.selection import (
    is_scored,
    number_candidates,
    previous_seeds,
    rank_candidates,
    select,
)
from mnist_mlp.app.confirm import read, with_seed
from mnist_mlp.app.select import jobs_for
from mnist_mlp.app.state import Request
from mnist_mlp.base.record import RUN_FILE, Diverged
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.report import compared
from mnist_mlp.report.tables import leaderboard
from mnist_mlp.sweeps.job_id import config_hash
from mnist_mlp.sweeps.jobs import Job
from tests.helpers.runs import Write
from tests.helpers.sweeping import planning, write_result


def runs(**columns: Any) -> pd.DataFrame:
    """A few completed runs of one cell and seed, unless said."""
    usual = {CELL: "a", "status": "completed", "validated": True, REPLICATE: 0, "val_loss": 1.0}
    return pd.DataFrame(usual | columns)


def test_select_of_each_seed_takes_its_own_best() -> None:
    frame = runs(lr=[0.1, 0.2] * 3, replicate=[0, 0, 1, 1, 2, 2], val_accuracy=[0.5, 0.6, 0.9, 0.6, 0.5, 0.9])
    assert select(frame, ["lr"])["candidate"].tolist() == [1, 0, 1]
    # Scored at the selection of the previous seed: seed 0 at that of 2, seed 1 at that of 0, seed 2 at that of 1.
    assert frame[is_scored(frame, ["lr"])]["lr"].tolist() == [0.2, 0.2, 0.1]
    assert frame[is_scored(frame, ["lr"], ONCE)]["lr"].tolist() == [0.2] * 3


def test_select_of_ties_goes_by_loss_then_by_value() -> None:
    def selected(**columns: Sequence[object]) -> int:
        (number,) = select(runs(val_accuracy=[0.9, 0.9], **columns), [key for key in columns if key != "val_loss"])[
            "candidate"
        ]
        return int(number)

    frame = runs(lr=[0.2, 0.1], val_accuracy=[0.9, 0.9], val_loss=[0.1, 0.2])
    assert number_candidates(frame, ["lr"]).tolist() == [1, 0]
    assert selected(lr=[0.2, 0.1], val_loss=[0.1, 0.2]) == 1
    assert selected(lr=[0.2, 0.1], val_loss=[0.1, 0.1]) == 0


def test_number_candidates_orders_by_rate_then_name_then_number() -> None:
    frame = runs(**{"batch": [10, 9, 9, 9], "optim.lr": [0.1, 0.2, 0.1, 0.1], "act": ["b", "a", None, "a"]})
    # optim.lr first, then act (a missing value last), then batch (as numbers, not as text).
    assert number_candidates(frame, ["batch", "optim.lr", "act"]).tolist() == [1, 3, 2, 0]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ([True, 1, 1.0, True], [1, 0, 0, 1]),
        ([0, False, 0.5, None], [0, 2, 1, 3]),
        ([True, False, None, True], [1, 0, 2, 1]),
        (["true", True, 1, "1"], [2, 3, 0, 1]),
    ],
)
def test_number_candidates_tells_booleans_from_numbers(values: list[object], numbers: list[int]) -> None:
    frame = runs(x=pd.Series(values, dtype="object"), optim="adam")
    assert number_candidates(frame, ["x"]).tolist() == numbers
    assert varying_keys(frame.rename(columns={"x": "optim.x"})) == ["optim.x"]


@pytest.mark.parametrize(("one", "other"), [(True, 1), (False, 0), ([1, True], [1, 1]), ({"a": True}, {"a": 1.0})])
def test_compared_true_and_one_are_two_configurations(
    write_run: Write, tmp_path: Path, one: object, other: object
) -> None:
    hashes = set()
    for seed, value in product((0, 1), (one, other)):
        run = write_run(seed=seed, test=[0.1, 0.8], model={"x": value})
        config = json.loads((run / RUN_FILE).read_text())["config"]
        hashes.add(config_hash(config | {"seed": 0}, {}))
    ((_, comparison),) = compared([tmp_path / "sweep"], select=ONCE)[1].items()
    assert len(hashes) == len({*map(str, comparison.runs[comparison.tuned[0]])}) == 2
    assert comparison.efforts["he / adam"].counts == ((2, 2),)
    assert comparison.runs["chosen"].sum() == 2


def test_select_counts_divergence_as_zero_and_ignores_failures() -> None:
    frame = runs(
        lr=[0.1, 0.2, 0.3],
        status=["diverged", "failed", "completed"],
        val_accuracy=[0.9, 0.9, 0.0],
        val_loss=[0.1, 0.1, 9.0],
    )
    assert rank_candidates(frame, ["lr"])["candidate"].tolist() == [2, 0]  # as accurate, but not diverged
    assert rank_candidates(frame, ["lr"])["loss"].tolist() == [9.0, np.inf]


def test_select_without_validation_goes_by_training() -> None:
    frame = runs(lr=[0.1, 0.2], val_accuracy=[np.nan] * 2, validated=[False] * 2, test_accuracy=[1, 0])
    frame = frame.assign(train_accuracy=[0.5, 0.6], train_loss=1.0)
    assert select(frame, ["lr"])["candidate"].tolist() == [1]


def test_select_once_goes_by_the_mean_over_seeds() -> None:
    frame = runs(
        cell=["a"] * 6 + ["b"] * 2,
        lr=[0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.1, 0.3],
        replicate=[0, 1] * 4,
        status=["completed"] * 3 + ["diverged"] + ["completed"] * 4,
        val_accuracy=[0.7, 0.8, 0.99, np.nan, 0.75, 0.74, 0.4, 0.5],
    )
    assert frame[is_scored(frame, ["lr"], ONCE)].index.tolist() == [0, 1, 7]
    assert is_scored(frame, []).all()
    failed = runs(lr=[0.1, 0.1, 0.2], status=["failed", "completed", "completed"], val_accuracy=[np.nan, 0.6, 0.5])
    assert failed[is_scored(failed, ["lr"], ONCE)].index.tolist() == [0, 1]


def test_select_once_takes_equal_means_as_ties_whatever_their_rounding() -> None:
    frame = runs(
        lr=[0.1] * 3 + [0.2] * 3,
        replicate=[0, 1, 2] * 2,
        val_accuracy=[0.1, 0.2, 0.3, 0.3, 0.2, 0.1],
        val_loss=[2.0] * 3 + [1.0] * 3,
    )
    assert select(frame, ["lr"], ONCE)["candidate"].tolist() == [1]


@pytest.mark.parametrize(
    ("seeds", "selecting", "expected"),
    [
        ([0], [0], [(0, 0)]),
        ([3, 1, 2], [1, 2, 3], [(1, 3), (2, 1), (3, 2)]),
        ([0, 1, 2], [0, 2], [(0, 2), (1, 0), (2, 0)]),  # seed 1 has no result to select by
        ([0, 1], [1], [(0, 1), (1, 1)]),
    ],
)
def test_previous_seeds_are_cyclic(
    seeds: Sequence[int], selecting: Sequence[int], expected: list[tuple[int, int]]
) -> None:
    assert list(previous_seeds(seeds, selecting)) == expected


class Result(NamedTuple):
    """A job's result, a plain implementation's input."""

    status: str
    accuracy: float
    loss: float


Configuration = tuple[float, float]  # learning rate, weight decay
CELLS, SEEDS = ("adam", "sgd"), (0, 1, 2)
CONFIGURATIONS = list(product((0.01, 0.1), (0.0, 0.1)))


def best(candidates: Mapping[Configuration, Result]) -> Configuration:
    """The selection of one seed, written as the rule is said."""

    def order(configuration: Configuration) -> tuple[float, bool, float, Configuration]:
        result = candidates[configuration]
        has_diverged = result.status == "diverged"
        return -result.accuracy * (not has_diverged), has_diverged, result.loss * (not has_diverged), configuration

    return min(candidates, key=order)


RESULTS = [Result("completed", accuracy, loss) for accuracy, loss in product((0.5, 0.75), (0.25, 0.5))] + [
    Result(status, 0.5, 0.5) for status in ("diverged", "failed", "missing")
]


class Planned:
    """A sweep's directory, and the jobs by cell, seed and configuration; printed in short."""

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
    """A sweep of two cells, four configurations and three seeds, of which nothing has been trained."""
    top = tmp_path_factory.mktemp("planned") / "sweep"
    keys = list(product(CELLS, SEEDS, CONFIGURATIONS))
    with planning(top) as plan:
        jobs = jobs_for(
            plan,
            [[f"optim={o}", f"seed={s}", f"optim.lr={lr}", f"optim.weight_decay={wd}"] for o, s, (lr, wd) in keys],
        )
        yield Planned(top, dict(zip(keys, jobs, strict=True)))


@settings(deadline=None, max_examples=8, phases=[Phase.generate], database=None)
@given(st.integers(0, 2**32))
def test_all_places_show_the_same_selections(planned: Planned, number: int) -> None:
    """The report's tables, the budget curve, the sensitivity and choices.json, on ties, failures and gaps."""
    top, jobs = planned.top, planned.jobs
    table = [RESULTS[place] for place in np.random.default_rng(number).integers(len(RESULTS), size=len(jobs))]
    shutil.rmtree(top, ignore_errors=True)
    found = dict(zip(jobs, table, strict=True))
    for key, result in found.items():
        if result.status != "missing":
            errors = {"diverged": Diverged("the loss is nan"), "failed": RuntimeError("no")}
            write_result(jobs[key], result.accuracy, result.loss, errors.get(result.status))
    finished = {key: of for key, of in found.items() if of.status in ("completed", "diverged")}
    by_seed: dict[str, dict[int, dict[Configuration, Result]]] = {}
    for (cell, seed, configuration), result in finished.items():
        by_seed.setdefault(cell, {}).setdefault(seed, {})[configuration] = result
    selected = {cell: {seed: best(of) for seed, of in seeds.items()} for cell, seeds in by_seed.items()}
    if not finished:
        return

    request = Request(
        directory=top,
        search=[jobs[key] for key in finished],
        confirmation=read(True),
        sequential=None,
        make_jobs=planned.retrain,
    )
    if len(request.tuned) < 2:  # what does not vary in the finished jobs is tuned nowhere
        return
    confirming = {str(seed): [seed + 1_000_000] for seed in SEEDS}
    choices = request.confirm([jobs[key] for key in finished], confirming).choices
    assert {
        cell: {int(seed): tuple(of.configuration.values()) for seed, of in seeds.items()}
        for cell, seeds in choices.items()
    } == {f"he / {cell}": seeds for cell, seeds in selected.items()}

    (comparison,) = compared([top])[1].values()
    assert comparison.select == EACH
    for cell, seeds in selected.items():
        name = f"he / {cell}"
        counts = Counter(seeds.values())
        in_order = sorted(counts, key=lambda configuration: (-counts[configuration], configuration))
        assert [(tuple(of.configuration.values()), of.count, of.of) for of in comparison.selected[name]] == [
            (configuration, counts[configuration], len(seeds)) for configuration in in_order
        ]
        row = comparison.summary.set_index(CELL).loc[name]
        assert (row["optim.lr"], row["optim.weight_decay"]) == in_order[0]
        assert row["selected"] == f"{counts[in_order[0]]}/{len(seeds)}"
        scores = {
            seed: finished[cell, seed, seeds[previous]]
            for seed, previous in previous_seeds(seeds, seeds)
            if (cell, seed, seeds[previous]) in finished
        }
        of_cell = comparison.scored[comparison.scored[CELL] == name]
        values = {seed: result.accuracy * (result.status == "completed") for seed, result in scores.items()}
        assert dict(zip(of_cell[REPLICATE], of_cell["score"], strict=True)) == values
        curve = comparison.budget[comparison.budget[CELL] == name] if len(comparison.budget) else comparison.budget
        if len(curve):
            last = curve.iloc[-1]
            own = [by_seed[cell][seed][configuration] for seed, configuration in seeds.items()]
            assert last["val_expected"] == pytest.approx(mean(of.accuracy * (of.status == "completed") for of in own))
            expected = mean(values.values()) if values else np.nan
            assert last["test_expected"] == pytest.approx(expected, nan_ok=True)
        sensitivity = comparison.sensitivity.set_index([CELL, "lr"])["accuracy_mean"]
        for lr in {configuration[0] for of in by_seed[cell].values() for configuration in of}:
            parts = [{c: r for c, r in of.items() if c[0] == lr} for of in by_seed[cell].values()]
            taken = [part[best(part)] for part in parts if part]
            assert sensitivity[name, lr] == pytest.approx(mean(r.accuracy * (r.status == "completed") for r in taken))
    board = leaderboard(comparison).set_index("optim")["optim.lr"]
    for cell, seeds in selected.items():
        rates = Counter(rate for rate, _ in seeds.values())
        shown = board[cell].split(", ")
        assert len(shown) == len(rates)
        assert all(str(rate) in board[cell] for rate in rates)
