"""Means over replicates and their intervals, against SciPy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_mlp.stats.means import mean_intervals


def test_mean_intervals_equal_student_intervals_and_need_spread() -> None:
    scores = [0.91, 0.95, 0.96]
    frame = pd.DataFrame({"cell": ["a"] * 3 + ["b"] * 2 + ["c"], "score": [*scores, 0.5, 0.5, 0.7]})
    table = mean_intervals(frame, ["cell"], ["score"])
    expected = stats.t.interval(0.95, 2, np.mean(scores), stats.sem(scores))
    assert list(table.loc["a"]) == pytest.approx([np.mean(scores), np.std(scores, ddof=1), *expected])
    # Neither equal scores nor a single one say anything about the noise.
    assert list(table.loc["b", ["score_mean", "score_std"]]) == [0.5, 0]
    assert table.loc[["b", "c"], ["score_ci_low", "score_ci_high"]].isna().all(axis=None)


def test_mean_intervals_are_clipped_at_the_bounds_of_their_measure() -> None:
    frame = pd.DataFrame({"cell": "a", "score": [0.1, 0.9, 0.8], "loss": [0.1, 0.9, 0.8]})
    row = mean_intervals(frame, ["cell"], ["score", "loss"], {"score": (0, 1)}).loc["a"]
    assert list(row[["score_ci_low", "score_ci_high"]]) == [0, 1]
    assert row["loss_ci_low"] < 0
    assert row["loss_ci_high"] > 1
