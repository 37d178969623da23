"""Effects of compared keys, from runs."""

import numpy as np
import pandas as pd
import pytest

from mnist_mlp.analysis.effects import compare_effects
from mnist_mlp.analysis.roles import REPLICATE
from mnist_mlp.stats.effects import factorial_effects

BY = ["init", "optim"]
Y = 0.9 + np.random.default_rng(0).normal(size=(2, 2, 4)) / 100


def test_compare_effects_sorts_values_and_excludes_failed_runs() -> None:
    rows = [([None, 10.0][i], ["sgd", "adam"][j], s, Y[i, j, s]) for i, j, s in np.ndindex(Y.shape)]
    runs = pd.DataFrame(rows, columns=["init", "optim", REPLICATE, "score"])
    table = compare_effects(runs, BY).table
    words = ["10 minus null", "adam minus sgd", "10 minus null, with optim=adam rather than sgd"]
    assert table["most_significant"].tolist() == words
    cells = pd.MultiIndex.from_product([["a", "b"], ["x", "y"]], names=BY)
    expected = factorial_effects(pd.DataFrame(Y.reshape(4, 4), cells))[0]
    np.testing.assert_allclose(table["p"], expected["p"])
    np.testing.assert_allclose(table["difference"], expected["difference"] * np.array([-1, -1, 1]))
    failed = runs.assign(score=runs["score"].where((runs[REPLICATE] != 3) | runs["init"].notna()))
    assert compare_effects(failed, BY).table["n"].tolist() == [3] * 3


@pytest.mark.parametrize(
    ("by", "rows", "reason"),
    [
        (["init"], slice(None), ""),
        (BY, slice(0), "no run counts in a fair average over cells"),
        (BY, slice(8), "only optim varies"),
        (BY, slice(12), "there is no score for he / y"),
    ],
)
def test_compare_effects_untestable_runs_have_a_reason(by: list[str], rows: slice, reason: str) -> None:
    cells = [(init, optim, seed) for init in ("lecun", "he") for optim in "xy" for seed in range(4)]
    runs = pd.DataFrame(cells, columns=[*BY, REPLICATE]).assign(score=Y.ravel())
    found = compare_effects(runs[rows], by)
    assert (found.table.empty, found.differences.empty, found.reason) == (True, True, reason)


def test_compare_effects_uses_images_and_the_order_of_numbers() -> None:
    cells = [(init, rate, seed) for init in ("he", "lecun") for rate in (10.0, 9.0) for seed in range(3)]
    runs = pd.DataFrame(cells, columns=["init", "model.width", REPLICATE])
    runs["score"] = 0.9 + 0.02 * (runs["model.width"] == 9.0)  # the same in every seed
    by = ["init", "model.width"]
    assert compare_effects(runs, by).table["p"].isna().tolist() == [False, True, False]
    table = compare_effects(runs, by, images=100).table.set_index("effect")
    assert table["most_significant"]["model.width"] == "9 minus 10"
    assert table["p"].notna().all()


def test_compare_effects_leave_out_single_values_and_name_missing_scores() -> None:
    cells = [(init, optim, 0.5, seed) for init in ("lecun", "he") for optim in "xy" for seed in range(4)]
    runs = pd.DataFrame(cells, columns=[*BY, "dropout", REPLICATE]).assign(score=Y.ravel())
    found = compare_effects(runs, [*BY, "dropout"])
    assert found.table["effect"].tolist() == ["init", "optim", "init × optim"]
    assert compare_effects(runs[(runs["init"] == "he") & (runs["optim"] == "x")], BY).reason == "no key varies"
    failed = pd.concat([runs, runs.head(1).assign(optim="z", score=np.nan)])
    assert compare_effects(runs, BY, None, failed).reason == "there is no score for he / z"


def test_compare_effects_means_are_those_of_complete_replicates() -> None:
    cells = [(init, optim, seed) for init in ("he", "lecun") for optim in ("adam", "sgd") for seed in range(4)]
    runs = pd.DataFrame(cells, columns=[*BY, REPLICATE]).assign(score=Y.ravel()).drop(index=[0])  # a lost seed
    means = compare_effects(runs, BY).means.set_index(["effect", "value"])["mean"]
    known = Y[..., 1:]
    assert means["init"].to_dict() == pytest.approx({"he": known[0].mean(), "lecun": known[1].mean()})
    assert means["optim"].to_dict() == pytest.approx({"sgd": known[:, 1].mean(), "adam": known[:, 0].mean()})
    assert means["init × optim", "lecun / adam"] == pytest.approx(known[1, 0].mean())
    assert len(means) == 8
