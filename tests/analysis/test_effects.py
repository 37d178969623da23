"""Effects of two keys against SciPy's paired t-tests of averages."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_mlp.analysis.effects import main_effects
from mnist_mlp.analysis.roles import REPLICATE
from mnist_mlp.stats.effects import COLUMNS, two_way_effects

BY = ["init", "optim"]
Y = np.array(  # init x optim x seeds
    [
        [[0.970, 0.972, 0.969, 0.975], [0.960, 0.961, 0.958, 0.966]],
        [[0.968, 0.971, 0.966, 0.970], [0.950, 0.955, 0.949, 0.951]],
    ]
)


def layout(y: np.ndarray, inits: str = "ab", optims: str = "xyz") -> pd.DataFrame:
    cells = pd.MultiIndex.from_product([list(inits[: y.shape[0]]), list(optims[: y.shape[1]])], names=BY)
    return pd.DataFrame(y.reshape(len(cells), -1), cells)


def test_two_way_effects_of_two_by_two_equal_paired_t_tests() -> None:
    table = two_way_effects(layout(Y)).set_index("effect")
    expected = {
        "init": (Y[0].mean(axis=0), Y[1].mean(axis=0), "a less b"),
        "optim": (Y[:, 0].mean(axis=0), Y[:, 1].mean(axis=0), "x less y"),
        "init × optim": (Y[0, 0] - Y[1, 0], Y[0, 1] - Y[1, 1], "a less b, with x rather than y"),
    }
    for effect, (one, other, words) in expected.items():
        row = table.loc[effect]
        assert row["p"] == pytest.approx(stats.ttest_rel(one, other).pvalue)
        assert (row["difference"], row["clearest"]) == (pytest.approx((one - other).mean()), words)
    assert table["n"].tolist() == [4] * 3
    means = Y.mean(axis=2)
    assert table["range"].tolist() == pytest.approx(
        [abs(means[0].mean() - means[1].mean()), abs(means[:, 0].mean() - means[:, 1].mean()), np.nan], nan_ok=True
    )
    total = ((means - means.mean()) ** 2).sum()
    by_hand = [
        2 * ((means.mean(axis=1) - means.mean()) ** 2).sum() / total,
        2 * ((means.mean(axis=0) - means.mean()) ** 2).sum() / total,
    ]
    assert table["share"].tolist() == pytest.approx([*by_hand, 1 - sum(by_hand)])


def test_two_way_effects_most_significant_is_named_and_corrected() -> None:
    generator = np.random.default_rng(0)
    y = 0.9 + generator.standard_normal((2, 3, 5)) / 1000
    y[:, 1] += 0.01
    y[1, 2] += 0.02
    table = two_way_effects(layout(y)).set_index("effect")
    margins = y.mean(axis=0)
    p = [stats.ttest_rel(margins[i], margins[j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert table["p"]["optim"] == pytest.approx(1 - (1 - min(p)) ** 3)
    assert table["clearest"]["optim"] == ["x less y", "x less z", "y less z"][int(np.argmin(p))]
    within = y[0] - y[1]
    crossed = {
        f"{a} rather than {b}": within[i] - within[j] for i, a in enumerate("xyz") for j, b in enumerate("xyz") if i < j
    }
    q = {words: stats.ttest_1samp(d, 0).pvalue for words, d in crossed.items()}
    best = min(q, key=lambda words: q[words])
    assert table["clearest"]["init × optim"] == f"a less b, with {best}"
    assert table["p"]["init × optim"] == pytest.approx(1 - (1 - q[best]) ** 3)


def test_two_way_effects_rounding_error_is_no_effect() -> None:
    y = np.full((2, 3, 4), 0.9)
    y[0, 0] = 0.1 + 0.2 + 0.6
    table = two_way_effects(layout(y))
    assert table["p"].tolist() == [1.0] * 3
    assert table["difference"].abs().max() == 0


def test_two_way_effects_constant_difference_uses_image_bound() -> None:
    """A constant difference has McNemar's bound of 100 images, independent of the number of cells averaged."""
    y = np.full((2, 2, 3), 0.9)
    y[0] += 0.02
    table = two_way_effects(layout(y), images=100).set_index("effect")
    t = 0.02 / np.sqrt(0.02 / 100 / 3)
    assert table["p"]["init"] == pytest.approx(2 * stats.t.sf(t, 2))
    assert table["p"]["optim"] == table["p"]["init × optim"] == 1
    other = two_way_effects(layout(y.swapaxes(0, 1), "xy", "ab"), images=100).set_index("effect")
    assert other["p"]["optim"] == pytest.approx(table["p"]["init"])
    unknown = two_way_effects(layout(y))["p"].tolist()  # unknown number of images
    assert unknown == pytest.approx([np.nan, 1.0, 1.0], nan_ok=True)
    y[0, 0] += 0.02
    crossed = two_way_effects(layout(y), images=100).set_index("effect")["p"]["init × optim"]
    assert crossed == pytest.approx(2 * stats.t.sf(0.02 / np.sqrt(0.02 / 100 / 3), 2))


@pytest.mark.parametrize("optimizers", [2, 6, 16])
def test_two_way_effects_more_optimizers_keep_the_image_bound(optimizers: int) -> None:
    """Two initializations that differ by one image of 299 in every run."""
    y = np.full((2, optimizers, 3), 280 / 299)
    y[0] += 1 / 299
    table = two_way_effects(layout(y, optims="abcdefghijklmnop"), images=299).set_index("effect")
    assert table["p"]["init"] == pytest.approx(2 * stats.t.sf(np.sqrt(3), 2))


def test_two_way_effects_untestable_layout_gives_empty_table() -> None:
    table = layout(Y)
    lacking = table.copy()
    lacking.loc[("a", "x"), [0, 1]] = np.nan
    for some in (
        table.loc[["a"]],
        table.iloc[:3],  # a combination is missing
        table[[0, 1]],
        lacking,  # two replicates in all cells
    ):
        empty = two_way_effects(some)
        assert empty.empty
        assert tuple(empty.columns) == COLUMNS
    lacking.loc[("a", "x"), 0] = 0.9
    assert two_way_effects(lacking)["n"].tolist() == [3] * 3


def test_two_way_effects_values_keep_order_of_appearance() -> None:
    table = two_way_effects(layout(Y, inits="ba", optims="yx"))
    assert table["clearest"].tolist() == ["b less a", "y less x", "b less a, with y rather than x"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (layout(Y).reset_index("init", drop=True), r"table\.index\.nlevels=1: expected two levels, one per key"),
        (layout(Y).iloc[[0, 1, 2, 3, 3]], "non-unique"),
    ],
)
def test_two_way_effects_of_invalid_table_raises(table: pd.DataFrame, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        two_way_effects(table)


def test_main_effects_sorts_values_and_excludes_failed_runs() -> None:
    rows = [([None, 10.0][i], ["sgd", "adam"][j], s, Y[i, j, s]) for i, j, s in np.ndindex(Y.shape)]
    runs = pd.DataFrame(rows, columns=["init", "optim", REPLICATE, "score"])
    table = main_effects(runs, BY)
    assert table["clearest"].tolist() == ["10 less null", "adam less sgd", "10 less null, with adam rather than sgd"]
    expected = two_way_effects(layout(Y))
    np.testing.assert_allclose(table["p"], expected["p"])
    np.testing.assert_allclose(table["difference"], expected["difference"] * np.array([-1, -1, 1]))
    failed = runs.assign(score=runs["score"].where((runs[REPLICATE] != 3) | runs["init"].notna()))
    assert main_effects(failed, BY)["n"].tolist() == [3] * 3
    for some, by in ((runs, ["init"]), (runs.head(0), BY), (runs[runs["optim"] == "sgd"], BY)):
        empty = main_effects(some, by)
        assert empty.empty
        assert tuple(empty.columns) == COLUMNS
