"""Simulated sweeps of tuned cells: shares lie in [0, 1], and arrays and run directories give equal verdicts."""

import numpy as np
import pytest

from benchmarks.designs import DIRECTORY_DESIGNS, TUNED_DESIGNS, TunedDesign
from benchmarks.tuned_cells import column, judge, scores, simulate
from benchmarks.tuned_directories import judge_directory
from mnist_mlp.base.sweep_file import EACH, ONCE

DESIGN = TunedDesign(
    name="all factors", cells=3, seeds=3, curve=0.05, collapse=1, diverging=0.5, noisy=2, split_error=1
)


def test_judge_any_design_returns_shares() -> None:
    (found,) = judge(DESIGN, [0])
    assert set(found) == {
        column(what, how, confirmed)
        for what in ("false", "power")
        for how in (EACH, ONCE)
        for confirmed in (False, True)
    }
    assert all(0 <= share <= 1 for share in found.values())


@pytest.mark.parametrize("how", [EACH, ONCE])
@pytest.mark.parametrize("confirmed", [False, True])
def test_scores_of_several_sweeps_equal_each_alone(how: str, confirmed: bool) -> None:
    together = scores(simulate(DESIGN, range(3)), how, confirmed).to_numpy()
    alone = [scores(simulate(DESIGN, [number]), how, confirmed).to_numpy() for number in range(3)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_tuned_designs_have_unique_names() -> None:
    assert len({(design.name, design.cells, design.seeds) for design in TUNED_DESIGNS}) == len(TUNED_DESIGNS)


def test_judge_directory_confirmed_and_diverging_equals_arrays() -> None:
    design, confirmed = DIRECTORY_DESIGNS[-1]
    assert confirmed
    judge_directory(design, confirmed, 0)
