"""Selection of configurations, per seed and once for all seeds."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_mlp.analysis.roles import CELL, REPLICATE, varying_keys
from mnist_mlp.analysis.selection import (
    is_scored,
    number_candidates,
    preference,
    previous_seeds,
    rank_candidates,
    select,
)
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import ONCE
from mnist_mlp.report import compare_sweeps
from mnist_mlp.sweeps.job_id import config_hash
from tests.helpers.runs import Write


def runs(**columns: Any) -> pd.DataFrame:
    """Return completed runs of one cell and seed by default."""
    usual = {CELL: "a", "status": "completed", "validated": True, REPLICATE: 0, "val_loss": 1.0}
    return pd.DataFrame(usual | columns)


def test_select_each_takes_best_of_each_seed() -> None:
    frame = runs(lr=[0.1, 0.2] * 3, replicate=[0, 0, 1, 1, 2, 2], val_accuracy=[0.5, 0.6, 0.9, 0.6, 0.5, 0.9])
    assert select(frame, ["lr"])["candidate"].tolist() == [1, 0, 1]
    # Scored at the selection of the previous seed: seed 0 at that of 2, seed 1 at that of 0, seed 2 at that of 1.
    assert frame[is_scored(frame, ["lr"])]["lr"].tolist() == [0.2, 0.2, 0.1]
    assert frame[is_scored(frame, ["lr"], ONCE)]["lr"].tolist() == [0.2] * 3


def test_select_of_ties_uses_loss_then_value() -> None:
    def selected(**columns: Sequence[object]) -> int:
        (number,) = select(runs(val_accuracy=[0.9, 0.9], **columns), [key for key in columns if key != "val_loss"])[
            "candidate"
        ]
        return int(number)

    frame = runs(lr=[0.2, 0.1], val_accuracy=[0.9, 0.9], val_loss=[0.1, 0.2])
    assert number_candidates(frame, ["lr"]).tolist() == [1, 0]
    assert selected(lr=[0.2, 0.1], val_loss=[0.1, 0.2]) == 1
    assert selected(lr=[0.2, 0.1], val_loss=[0.1, 0.1]) == 0


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.9]), st.sampled_from([0.1, 0.2])), min_size=2, max_size=6),
    st.randoms(use_true_random=False),
)
def test_preference_orders_candidates_as_rank_candidates(scores: list[tuple[float, float]], random: Random) -> None:
    rates = random.sample([0.003, 0.01, 0.1, 1e-05, 2.0, 10.0], len(scores))
    accuracies, losses = zip(*scores, strict=True)
    frame = runs(**{"optim.lr": rates, "val_accuracy": accuracies, "val_loss": losses})
    ranked = [sorted(rates)[number] for number in rank_candidates(frame, ["optim.lr"])["candidate"]]
    keys = [preference(*score, {"optim.lr": rate}) for score, rate in zip(scores, rates, strict=True)]
    assert [rate for _, rate in sorted(zip(keys, rates, strict=True))] == ranked


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
def test_number_candidates_distinguishes_booleans_from_numbers(values: list[object], numbers: list[int]) -> None:
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
    ((_, comparison),) = compare_sweeps([tmp_path / "sweep"], select=ONCE)[1].items()
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
    assert rank_candidates(frame, ["lr"])["candidate"].tolist() == [2, 0]  # equally accurate, but not diverged
    assert rank_candidates(frame, ["lr"])["loss"].tolist() == [9.0, np.inf]


def test_select_without_validation_uses_training_accuracy() -> None:
    frame = runs(lr=[0.1, 0.2], val_accuracy=[np.nan] * 2, validated=[False] * 2, test_accuracy=[1, 0])
    frame = frame.assign(train_accuracy=[0.5, 0.6], train_loss=1.0)
    assert select(frame, ["lr"])["candidate"].tolist() == [1]


def test_select_once_uses_mean_over_seeds() -> None:
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


def test_select_once_means_equal_up_to_rounding_are_ties() -> None:
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
