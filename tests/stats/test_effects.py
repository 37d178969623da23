"""Effects of compared keys against SciPy's paired t-tests of averages."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from statsmodels.stats.multitest import multipletests

from mnist_mlp.stats.effects import UntestableEffects, factorial_effects

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


def test_factorial_effects_of_two_by_two_equal_paired_t_tests() -> None:
    table = factorial_effects(layout(Y))[0].set_index("effect")
    expected = {
        "init": (Y[0].mean(axis=0), Y[1].mean(axis=0), "a minus b"),
        "optim": (Y[:, 0].mean(axis=0), Y[:, 1].mean(axis=0), "x minus y"),
        "init × optim": (Y[0, 0] - Y[1, 0], Y[0, 1] - Y[1, 1], "a minus b, with optim=x rather than y"),
    }
    for effect, (one, other, words) in expected.items():
        row = table.loc[effect]
        assert row["p"] == pytest.approx(stats.ttest_rel(one, other).pvalue)
        assert (row["difference"], row["most_significant"]) == (pytest.approx((one - other).mean()), words)
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


def test_factorial_effects_most_significant_is_named_and_corrected() -> None:
    generator = np.random.default_rng(0)
    y = 0.9 + generator.standard_normal((2, 3, 5)) / 1000
    y[:, 1] += 0.01
    y[1, 2] += 0.02
    table = factorial_effects(layout(y))[0].set_index("effect")
    margins = y.mean(axis=0)
    p = [stats.ttest_rel(margins[i], margins[j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert table["p"]["optim"] == pytest.approx(1 - (1 - min(p)) ** 3)
    assert table["most_significant"]["optim"] == ["x minus y", "x minus z", "y minus z"][int(np.argmin(p))]
    within = y[0] - y[1]
    crossed = {
        f"{a} rather than {b}": within[i] - within[j] for i, a in enumerate("xyz") for j, b in enumerate("xyz") if i < j
    }
    q = {words: stats.ttest_1samp(d, 0).pvalue for words, d in crossed.items()}
    best = min(q, key=lambda words: q[words])
    assert table["most_significant"]["init × optim"] == f"a minus b, with optim={best}"
    assert table["p"]["init × optim"] == pytest.approx(1 - (1 - q[best]) ** 3)


def test_factorial_effects_rounding_error_is_no_effect() -> None:
    y = np.full((2, 3, 4), 0.9)
    y[0, 0] = 0.1 + 0.2 + 0.6
    table = factorial_effects(layout(y))[0]
    assert table["p"].tolist() == [1.0] * 3
    assert table["difference"].abs().max() == 0


def test_factorial_effects_constant_difference_uses_image_bound() -> None:
    """A constant difference has McNemar's bound of 100 images, independent of the number of cells averaged."""
    y = np.full((2, 2, 3), 0.9)
    y[0] += 0.02
    table = factorial_effects(layout(y), images=100)[0].set_index("effect")
    t = 0.02 / np.sqrt(0.02 / 100 / 3)
    assert table["p"]["init"] == pytest.approx(2 * stats.t.sf(t, 2))
    assert table["p"]["optim"] == table["p"]["init × optim"] == 1
    other = factorial_effects(layout(y.swapaxes(0, 1), "xy", "ab"), images=100)[0].set_index("effect")
    assert other["p"]["optim"] == pytest.approx(table["p"]["init"])
    unknown = factorial_effects(layout(y))[0]["p"].tolist()  # unknown number of images
    assert unknown == pytest.approx([np.nan, 1.0, 1.0], nan_ok=True)
    y[0, 0] += 0.02
    crossed = factorial_effects(layout(y), images=100)[0].set_index("effect")["p"]["init × optim"]
    assert crossed == pytest.approx(2 * stats.t.sf(0.02 / np.sqrt(0.02 / 100 / 3), 2))


@pytest.mark.parametrize("optimizers", [2, 6, 16])
def test_factorial_effects_more_optimizers_keep_the_image_bound(optimizers: int) -> None:
    """Two initializations that differ by one image of 299 in every run."""
    y = np.full((2, optimizers, 3), 280 / 299)
    y[0] += 1 / 299
    table = factorial_effects(layout(y, optims="abcdefghijklmnop"), images=299)[0].set_index("effect")
    assert table["p"]["init"] == pytest.approx(2 * stats.t.sf(np.sqrt(3), 2))


def test_factorial_effects_of_untestable_layout_says_why() -> None:
    table = layout(Y)
    lacking = table.copy()
    lacking.loc[("a", "x"), [0, 1]] = np.nan
    for some, words in (
        (table.loc[["a"]], "init has a single value"),
        (table.iloc[:3], "there is no score for b / y"),
        (table[[0, 1]], "only 2 of at least 3 replicates have a score in all cells"),
        (lacking, "only 2 of at least 3 replicates have a score in all cells"),
    ):
        with pytest.raises(UntestableEffects, match=f"^{words}$"):
            factorial_effects(some)
    lacking.loc[("a", "x"), 0] = 0.9
    assert factorial_effects(lacking)[0]["n"].tolist() == [3] * 3


def test_factorial_effects_values_keep_order_of_appearance() -> None:
    table = factorial_effects(layout(Y, inits="ba", optims="yx"))[0]
    assert table["most_significant"].tolist() == ["b minus a", "y minus x", "b minus a, with optim=y rather than x"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            layout(Y).reset_index("init", drop=True),
            r"table\.index\.nlevels=1: expected at least two levels, one per key",
        ),
        (layout(Y).iloc[[0, 1, 2, 3, 3]], "non-unique"),
    ],
)
def test_factorial_effects_of_invalid_table_raises(table: pd.DataFrame, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        factorial_effects(table)[0]


THREE = ["init", "optim", "depth"]


def factorial(shape: tuple[int, int, int], seeds: int, seed: int = 0) -> pd.DataFrame:
    """Return scores of three keys with noise of a seed, of its cells, and true effects of the first two keys."""
    generator = np.random.default_rng(seed)
    y = 0.9 + generator.normal(size=(*shape, seeds)) / 100 + generator.normal(size=seeds) / 50
    y[0] += 0.004
    y[:, 0] -= 0.006
    cells = pd.MultiIndex.from_product([range(values) for values in shape], names=THREE)
    return pd.DataFrame(y.reshape(-1, seeds), cells)


def test_factorial_effects_of_two_values_equal_anova_of_repeated_measures() -> None:
    table = factorial((2, 2, 2), seeds=7)
    long = table.rename_axis(columns="seed").melt(ignore_index=False, value_name="score").reset_index()
    anova = AnovaRM(long, "score", "seed", within=THREE).fit().anova_table
    effects, differences = factorial_effects(table)
    assert effects["effect"].tolist() == [*THREE, *(f"{a} × {b}" for a, b in combinations(THREE, 2))]
    for row in differences.to_dict("records"):
        expected = anova.loc[row["effect"].replace(" × ", ":")]
        t = stats.t.isf(row["p"] / 2, 6)
        assert t**2 == pytest.approx(expected["F Value"])
        assert row["p_corrected"] == row["p"] == pytest.approx(expected["Pr > F"])
        half = abs(row["mean"]) / t * stats.t.isf(0.025, 6)
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([row["mean"] - half, row["mean"] + half])
    total = sum(effects["share"])
    assert 0 < total < 1  # the rest is the interaction of all three keys


def test_factorial_effects_of_three_values_equal_sidak_corrected_t_tests() -> None:
    table = factorial((2, 3, 2), seeds=5)
    effects, differences = factorial_effects(table)
    of = differences[differences["effect"] == "optim"].set_index("difference")
    means = table.groupby("optim").mean()
    p = [stats.ttest_rel(means.loc[a], means.loc[b]).pvalue for a, b in combinations(range(3), 2)]
    assert of["p"].tolist() == pytest.approx(p)
    assert of["p_corrected"].tolist() == pytest.approx(multipletests(p, method="sidak")[1].tolist())
    row = effects.set_index("effect").loc["optim"]
    clearest = str(of["p"].idxmin())
    assert row["most_significant"] == clearest
    for column, other in (("difference", "mean"), ("ci_low", "ci_low"), ("ci_high", "ci_high"), ("p", "p_corrected")):
        assert row[column] == of[other][clearest]
    assert row["largest"] == max(-of["ci_low"].min(), of["ci_high"].max())
    assert differences["effect"].value_counts().to_dict() == {
        **{"init": 1, "optim": 3, "depth": 1},
        **{"init × optim": 3, "init × depth": 1, "optim × depth": 3},
    }


def test_factorial_effects_bounds_double_for_interactions() -> None:
    up, down = np.array([0.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.5])
    for y, limits in (([[up, up], [down, down]], [1, 0, 0]), ([[up, down], [down, up]], [0, 0, 2])):
        _, differences = factorial_effects(layout(np.array(y)), bounds=(0, 1))
        assert differences["ci_high"].fillna(0).tolist() == limits
        assert differences["ci_low"].fillna(0).tolist() == [-limit for limit in limits]


def test_factorial_effects_constant_difference_beside_noise_is_not_tested() -> None:
    noise = np.array([0.0, 0.04, -0.06, 0.02])
    y = np.array([[[0.9] * 4] * 2, [[0.8] * 4] * 2, [0.85 + noise] * 2])
    row = factorial_effects(layout(y, inits="abc"))[0].set_index("effect").loc["init"]
    assert (np.isnan(row["p"]), row["most_significant"], row["difference"]) == (True, "a minus b", pytest.approx(0.1))
