"""Does a compared key matter at all, once the others are averaged out? And does its effect depend on the other?"""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.report.pairs import Noise
from mnist_mlp.report.roles import REPLICATE, as_typed

COLUMNS = ("effect", "range", "share", "df", "df_error", "F", "p")


def main_effects(runs: pd.DataFrame, by: Sequence[str], noise: Noise | None) -> pd.DataFrame:
    """Analysis of variance of test accuracy: seeds as blocks, two compared keys and their interaction, type II sums.

    Both degrees of freedom of each F are multiplied by Box's epsilon, as the cells' noises may differ.

    Args:
        runs: the scored ones at the chosen settings, a diverged one with accuracy 0.
        by: the compared keys; anything but two gives no table.
        noise: of the cells.

    Returns:
        One row an effect: `effect` (a key, or "a x b"), `range` of its marginal means (accuracy; of the interaction,
        none), `share` of the sum of squares without the seeds', `df`, `df_error`, `F`, `p`. Empty where a key has one
        value, a combination is missing, or nothing is left to estimate noise from.
    """
    runs = runs.assign(**{key: runs[key].map(as_typed) for key in by})  # null is a value as any other
    nothing = pd.DataFrame(columns=list(COLUMNS))
    if len(by) != 2 or noise is None or runs[REPLICATE].nunique() < 2 or runs["test_accuracy"].nunique() < 2:
        return nothing
    levels = [runs[key].nunique() for key in by]
    if min(levels) < 2 or len(runs.groupby(list(by))) < levels[0] * levels[1]:
        return nothing
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    names = {key: f"key{number}" for number, key in enumerate(by)}
    data = (
        runs[["test_accuracy", REPLICATE, *by]]
        .rename(columns=names | {REPLICATE: "replicate"})
        .astype(dict.fromkeys([*names.values(), "replicate"], "str"))
    )
    first, second = (f"C({name})" for name in names.values())
    table = anova_lm(ols(f"test_accuracy ~ C(replicate) + {first} * {second}", data).fit(), typ=2)
    error = table.loc["Residual"]
    if error["df"] < 1 or not error["sum_sq"] > 0:
        return nothing
    from scipy import stats

    total = table["sum_sq"].drop("C(replicate)").sum()
    rows = []
    for term, effect in ((first, by[0]), (second, by[1]), (f"{first}:{second}", " × ".join(by))):
        row, key = table.loc[term], effect if effect in by else None
        means = runs.groupby(list(by))["test_accuracy"].mean().groupby(level=key).mean() if key else None
        df, df_error = row["df"] * noise.epsilon, error["df"] * noise.epsilon
        spread = float("nan") if means is None else means.max() - means.min()
        p = float(stats.f.sf(row["F"], df, df_error))
        rows.append((effect, spread, row["sum_sq"] / total, df, df_error, row["F"], p))
    return pd.DataFrame(rows, columns=list(COLUMNS))
