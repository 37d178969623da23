"""Means, scores, tuning effort and marks of single runs, against hand calculations."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_mlp.analysis import compare_sweeps
from mnist_mlp.analysis.effort import CONFIRMED, TuningEffort, tuning_efforts
from mnist_mlp.analysis.measures import bounds_of
from mnist_mlp.analysis.outcomes import at_chance, final_and_best
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import score
from mnist_mlp.base.errors import UserError
from mnist_mlp.stats.means import mean_intervals
from tests.helpers.runs import Write

MEASURES = ["test_accuracy", "test_loss"]


def runs(**columns: Sequence[object]) -> pd.DataFrame:
    """Return runs of one cell, completed by default."""
    frame = pd.DataFrame(columns)
    usual = pd.DataFrame({CELL: "a", "status": "completed", "validated": True, REPLICATE: range(len(frame))})
    return frame.join(usual[[key for key in usual if key not in frame]])


def test_mean_intervals_are_students_t_within_bounds() -> None:
    frame = pd.DataFrame(
        {
            "cell": ["b", "b", "b", "a", "c", "c"],
            "test_accuracy": [0.90, 0.92, 0.97, 0.5, 0.0, 1.0],
            "test_loss": [0.3, np.nan, 0.1, 1.0, 0.0, 5.0],
        }
    )
    table = mean_intervals(frame, ["cell"], MEASURES, bounds_of(MEASURES))
    assert list(table.index) == ["b", "a", "c"]
    low, high = stats.t.interval(0.95, 2, loc=0.93, scale=stats.sem([0.90, 0.92, 0.97]))
    assert table.loc["b", "test_accuracy_mean"] == pytest.approx(0.93)
    assert table.loc["b", "test_accuracy_std"] == pytest.approx(np.std([0.90, 0.92, 0.97], ddof=1))
    assert table.loc["b", "test_accuracy_ci_low"] == pytest.approx(low)
    assert table.loc["b", "test_accuracy_ci_high"] == pytest.approx(min(high, 1))
    assert table.loc["b", "test_loss_mean"] == pytest.approx(0.2)
    assert table.loc["b", "test_loss_ci_high"] == pytest.approx(0.2 + 12.706 * 0.1, rel=1e-4)  # t, one degree
    assert table.loc["b", "test_loss_ci_low"] == 0
    assert table.loc["a", "test_accuracy_mean"] == 0.5
    measures = ["accuracy", "minutes"]
    renamed = frame.rename(columns={"test_accuracy": "accuracy", "test_loss": "minutes"})
    plain = mean_intervals(renamed, ["cell"], measures, bounds_of(measures))
    assert plain.loc["c", "accuracy_ci_high"] == 1
    assert plain.loc["b", "minutes_ci_low"] == pytest.approx(0.2 - 12.706 * 0.1, rel=1e-4)  # without known bounds
    around = table[["test_accuracy_std", "test_accuracy_ci_low", "test_accuracy_ci_high"]]
    assert around.loc[["a"]].isna().all(axis=None)
    assert around.loc[["c"]].iloc[0, 1:].tolist() == [0, 1]


def test_at_chance_is_three_standard_errors_above_commonest_class() -> None:
    m, share = 400, 0.2
    most = share + 3 * np.sqrt(share * (1 - share) / m)  # 0.26
    marked = at_chance(
        pd.DataFrame(
            {
                "test_accuracy": [most, most + 1 / m, share, 0.0, np.nan, 0.1, 0.1],
                "commonest_test_share": [share] * 5 + [np.nan, share],
                "test_size": [m] * 6 + [np.nan],
            }
        )
    )
    assert marked.dtype == "boolean"
    assert marked.isna().tolist() == [False] * 4 + [True] * 3
    assert marked.dropna().tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("share", "m", "most"),
    [(1 / 3, 3, 1.15), (0.95, 100, 1.015), (0.9, 81, 1.0), (1.0, 100, 1.0), (0.5, 10, 0.974)],  # 0.95 + 3 x 0.0218, ...
)
def test_at_chance_where_no_accuracy_could_exceed_it_is_missing(share: float, m: int, most: float) -> None:
    frame = pd.DataFrame({"test_accuracy": [1.0, share], "commonest_test_share": share, "test_size": m})
    assert share + 3 * np.sqrt(share * (1 - share) / m) == pytest.approx(most, abs=1e-3)
    assert at_chance(frame).fillna(True).tolist() == ([True, True] if most >= 1 else [False, True])
    assert at_chance(frame).isna().tolist() == [most >= 1] * 2


def test_score_counts_divergence_as_zero_and_excludes_failure() -> None:
    frame = runs(status=["completed", "diverged", "failed"], test_accuracy=[0.9, np.nan, np.nan])
    assert score(frame, "test_accuracy").tolist() == pytest.approx([0.9, 0.0, np.nan], nan_ok=True)


def test_tuning_efforts_count_configurations_by_their_seeds() -> None:
    frame = runs(
        cell=["a"] * 4 + ["b"] * 3 + ["c"] + ["d"] * 3,
        lr=[0.1, 0.1, 0.2, 0.2, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.2],
        replicate=[0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0],
        status=["completed", "diverged"] + ["completed"] * 8 + ["failed"],
    )
    efforts = tuning_efforts(frame, ["lr"])
    assert efforts == {
        "a": TuningEffort(((2, 2),)),
        "b": TuningEffort(((2, 1), (1, 1))),
        "c": TuningEffort(((1, 1),)),
        "d": TuningEffort(((2, 1),)),
    }
    assert tuning_efforts(runs(size=[None, None, 10], replicate=[0, 1, 0]), ["size"]) == {"a": efforts["b"]}
    assert str(efforts["a"]) == "2 configurations with 2 seeds"
    assert str(efforts["b"]) == "1 configuration with 2 seeds and 1 configuration with 1 seed"
    assert CONFIRMED not in efforts.values()


def test_best_epoch_breaks_ties_by_loss_then_takes_the_first() -> None:
    metrics = pd.DataFrame(
        [
            (0, "val", 0.9, 0.5), (1, "val", 0.9, 0.4), (2, "val", 0.9, 0.4), (3, "val", 0.8, 0.1),
            *((epoch, "test", epoch / 10, epoch) for epoch in range(4)),
        ],
        columns=["epoch", "split", "accuracy", "loss"],
    ).assign(run="one")  # fmt: skip
    found = final_and_best(metrics).loc["one"]
    assert list(found[["best_epoch", "best_epoch_test_accuracy", "best_epoch_test_loss"]]) == [1, 0.1, 1]
    assert found["test_accuracy"] == 0.3


@pytest.mark.parametrize("at", ["last", "best"])
def test_compare_at_best_scores_the_best_epochs_and_selects_by_the_last(
    tmp_path: Path, write_run: Write, at: str
) -> None:
    for optim, seed in product(("adam", "sgd"), range(3)):
        is_adam, noise = optim == "adam", seed * (1 + (optim == "adam")) / 1000
        test = [0.1, 0.8 + 0.1 * is_adam + noise, 0.7 + noise]
        write_run(optim=optim, seed=seed, lr=0.01, test=test, val=[0.1, 0.9, 0.8], epochs=2)
        write_run(optim=optim, seed=seed, lr=0.1, test=[0.1, 0.99, 0.2], val=[0.1, 0.95, 0.7], epochs=2)
    _, sections = compare_sweeps([tmp_path / "sweep"], at=at)
    (section,) = sections.values()
    assert section.summary["optim.lr"].tolist() == [0.01, 0.01]  # by the last epoch's validation accuracy
    scores = section.summary.set_index("optim")["score"]
    assert scores.to_dict() == pytest.approx(
        {"adam": 0.902, "sgd": 0.801} if at == "best" else {"adam": 0.702, "sgd": 0.701}
    )
    assert (section.summary["test_accuracy_mean"] == section.summary["score"]).all()
    assert ("Best epochs" in [note.topic for note in section.notes]) == (at == "best")
    assert section.pairs["verdict"].tolist() == (["better"] if at == "best" else ["inconclusive"])


def test_compare_at_best_without_validation_split_is_refused(tmp_path: Path, write_run: Write) -> None:
    write_run(val=[])
    with pytest.raises(UserError, match=r"--at best: expected runs with data\.val_size greater than 0"):
        compare_sweeps([tmp_path / "sweep"], at="best")
