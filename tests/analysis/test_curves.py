"""Scores against a numeric key, and differences from the best cell by epoch."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_mlp.analysis.comparison import compare
from mnist_mlp.analysis.curves import against, differences_by_epoch, numeric_axis
from mnist_mlp.analysis.load import load
from tests.helpers.runs import Write


@pytest.mark.parametrize(
    ("key", "values", "name", "expected"),
    [
        ("batch_size", [32, 64, 64], "batch_size", [32, 64, 64]),
        ("model.dropout", [0, 0.5], "model.dropout", [0, 0.5]),
        ("model.hidden", ["[64]", "[64, 64]"], "depth", [1, 2]),
        ("model.hidden", ["[64, 64]", "[128, 128]"], "width", [64, 128]),
        ("model.hidden", ["[]", "[64]", "[64, 64]"], "depth", [0, 1, 2]),
        ("model.widths", ["[64]", "[64, 64]"], "length of model.widths", [1, 2]),
    ],
)
def test_numeric_axis_of_numbers_and_uniform_lists(
    key: str, values: list[object], name: str, expected: list[float]
) -> None:
    axis = numeric_axis(pd.Series(values, dtype="object"), key)
    assert axis is not None
    assert (axis.name, axis.tolist()) == (name, expected)


@pytest.mark.parametrize(
    "values",
    [
        [32, 32],
        [32, None],
        [32, float("nan")],
        [True, False],
        ["adam", "sgd"],
        ["[64]", "[128, 128]"],  # depth and width differ
        ["[64, 32]", "[64]"],
        [f"[{10**400}]", "[64]"],
        ["[" * 100_000, "[64]"],
        ["[", "[64]"],
        ['["a"]', '["b"]'],
    ],
)
def test_numeric_axis_of_other_values_is_none(values: list[object]) -> None:
    assert numeric_axis(pd.Series(values, dtype="object"), "model.hidden") is None


def test_against_counts_divergence_as_zero() -> None:
    runs = pd.DataFrame(
        {
            "cell": ["a"] * 4 + ["b"] * 2,
            "score": [0.8, 0.9, 0.6, 0.0, 0.5, 0.7],
            "status": ["completed"] * 3 + ["diverged"] + ["completed"] * 2,
            "at_chance": [False, None, True, None, False, False],
            "independent": True,
        }
    )
    found = against(runs, pd.Series([1, 1, 2, 2, 1, 1], runs.index, dtype=float, name="depth"))
    assert found[["cell", "depth", "n", "diverged", "at_chance"]].to_numpy().tolist() == [
        *(["a", 1, 2, 0, 0], ["a", 2, 2, 1, 1], ["b", 1, 2, 0, 0]),
    ]
    assert found["accuracy_mean"].tolist() == pytest.approx([0.85, 0.3, 0.6])


def test_differences_by_epoch_are_paired_by_seed(tmp_path: Path, write_run: Write) -> None:
    accuracies = {
        "adam": {0: [0.1, 0.90, 0.94], 1: [0.1, 0.92, 0.95], 2: [0.1, 0.91, 0.96]},
        "sgd": {0: [0.1, 0.80, 0.93], 1: [0.1, 0.83, 0.93], 3: [0.1, 0.50, 0.50]},  # seeds 0 and 1 in common
        "nag": {4: [0.1, 0.7, 0.7]},
    }
    for optim, of_seed in accuracies.items():
        for seed, test in of_seed.items():
            write_run(optim=optim, seed=seed, test=test, epochs=2)
    comparison = compare(load([tmp_path / "sweep"]), 0.97)
    table = comparison.curve_differences.set_index(["cell", "epoch"])
    assert set(table.index.get_level_values("cell")) == {"he / sgd"}
    assert table["difference_mean"].tolist() == pytest.approx([0, -0.095, -0.015])
    half = 12.7062 * np.std([-0.1, -0.09], ddof=1) / 2**0.5  # Student's t with one degree of freedom
    assert table.loc[("he / sgd", 1), "difference_ci_high"] == pytest.approx(-0.095 + half, rel=1e-3)


def test_differences_by_epoch_without_another_cell_are_empty(tmp_path: Path, write_run: Write) -> None:
    write_run(test=[0.1, 0.9])
    assert compare(load([tmp_path / "sweep"]), 0.97).curve_differences.empty


def test_differences_by_epoch_use_intervals_of_independent_pairs_only() -> None:
    runs = pd.DataFrame(
        [(cell, seed) for cell in "ab" for seed in range(4)], columns=["cell", "replicate"], index=list("stuvwxyz")
    )
    runs["independent"] = [True, True, True, False, True, True, True, True]
    metrics = pd.DataFrame({"run": runs.index, "split": "test", "epoch": 1})
    metrics["accuracy"] = [0.9, 0.9, 0.9, 0.9, 0.8, 0.81, 0.82, 0.3]
    (row,) = differences_by_epoch(metrics, runs, "a").to_dict("records")
    assert row["difference_mean"] == pytest.approx(np.mean([-0.1, -0.09, -0.08, -0.6]))
    half = 4.3027 * 0.01 / 3**0.5  # Student's t with two degrees of freedom: the fourth seed is not independent
    assert row["difference_ci_high"] - row["difference_mean"] == pytest.approx(half, rel=1e-3)
