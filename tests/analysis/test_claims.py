"""Claims of a headline, from effects and from pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_mlp.analysis.claims import CELLS, Claims, claims_from_effects, claims_from_pairs
from mnist_mlp.report.text.units import OF_ACCURACY
from mnist_mlp.stats.effects import factorial_effects
from mnist_mlp.stats.pairs import compare_pairs

RUNS = Path(__file__).parents[2] / "reports" / "init_by_optim" / "runs.csv"
NOISE = np.random.default_rng(3).normal(size=(12, 6)) / 1000


def of_effects(means: Sequence[Sequence[float]], families: int = 3) -> Claims:
    """Return the claims on cells of these means in percent: rows are initializations, columns optimizers."""
    grid = np.array(means) / 100
    cells = pd.MultiIndex.from_product([list("abc")[: len(grid)], list("wxyz")[: grid.shape[1]]], names=["i", "o"])
    table = pd.DataFrame(grid.ravel()[:, None] + NOISE[: grid.size], cells)
    return claims_from_effects(*factorial_effects(table, families=families))


def test_claims_from_effects_split_values_into_groups() -> None:
    claims = of_effects([[97, 95, 97, 93], [97, 95, 97, 93], [97, 95, 97, 93]])
    i, o = claims.of
    assert (i.key, [sorted(group) for group in i.groups], i.significant, i.gap) == ("i", [["a", "b", "c"]], 0, 0)
    assert 0 < i.bound < 0.01
    assert (o.key, [sorted(group) for group in o.groups]) == ("o", [["w", "y"], ["x"], ["z"]])
    assert o.gap == pytest.approx(0.04, abs=0.001)
    assert (o.significant, o.tested, o.differences) == (5, 6, 6)
    assert 0 < o.bound < 0.005  # of w and y
    assert o.strongest is not None
    assert o.strongest[1] == "z"
    assert claims.interactions == []


def test_claims_from_effects_name_interactions() -> None:
    (interaction,) = of_effects([[97, 95], [95, 97]]).interactions
    assert (interaction.keys, interaction.difference) == (("i", "o"), "a minus b, with o=w rather than x")
    assert interaction.mean == pytest.approx(0.04, abs=0.003)


def test_claims_share_the_error_rate() -> None:
    grid = [[97, 96.7], [97, 96.7]]
    alone, shared = (of_effects(grid, families).of[1] for families in (1, 50))
    assert (len(alone.groups), len(shared.groups)) == (2, 1)
    other, wider = (of_effects(grid, families).of[0].bound for families in (1, 50))
    assert wider > other > 0


def test_claims_from_pairs_count_untested_pairs() -> None:
    table = pd.DataFrame(np.array([0.97, 0.969, 0.9])[:, None] + NOISE[:3], list("abc"))
    table.loc["b", 2:] = np.nan  # two replicates are too few
    (claim,) = claims_from_pairs(compare_pairs(table)[0], list("abc")).of
    assert (claim.key, claim.groups, claim.significant) == (CELLS, [["a", "b", "c"]], 1)
    assert (claim.tested, claim.differences) == (1, 3)
    assert claim.strongest is not None
    assert claim.strongest[:2] == ("a", "c")
    table.loc["a", 2:] = np.nan
    assert claims_from_pairs(compare_pairs(table)[0], list("abc")).of == []


def test_claims_of_the_committed_study_are_recounted() -> None:
    runs = pd.read_csv(RUNS)
    runs = runs[runs["chosen"] & (runs["phase"] == "confirm")]
    table = runs.pivot_table(index=["init", "optim"], columns="seed", values="test_accuracy")
    init, optim = claims_from_effects(*factorial_effects(table, 10_000, (0, 1), 3)).of
    assert (len(init.groups), OF_ACCURACY.at_most(init.bound)) == (1, "0.3 points")
    assert (optim.groups[1:], OF_ACCURACY.at_most(optim.bound)) == ([["adadelta"]], "0.3 points")
    # Recounted without this project's functions: means over seeds, and paired differences between all optimizers.
    means = runs.groupby("optim")["test_accuracy"].mean()
    assert optim.gap == pytest.approx(means.drop("adadelta").mean() - means["adadelta"])
    of_seeds = runs.pivot_table(index="seed", columns="optim", values="test_accuracy")
    others = of_seeds.drop(columns="adadelta")
    assert (others.sub(of_seeds["adadelta"], axis=0) > 0).all(axis=None)
    assert np.ptp(others.mean()) < optim.bound
    inits = runs.groupby("init")["test_accuracy"].mean()
    assert np.ptp(inits) < init.bound
