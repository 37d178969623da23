"""Simulated sweeps of tuned cells, as tables of runs: selected, scored and compared by the report's own functions."""

import functools
import zlib
from collections.abc import Sequence
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.designs import BETTER, CANDIDATES, EDGE, MEAN, OPTIMUM, RATES, TunedDesign, share
from mnist_mlp.analysis.effort import TuningEffort, tuning_efforts
from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import CANDIDATE, is_scored, score, select
from mnist_mlp.base.record import COMPLETED, DIVERGED
from mnist_mlp.base.schema import LEARNING_RATE
from mnist_mlp.base.sweep_file import EACH, ONCE
from mnist_mlp.stats.moderated_t import Noise
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import SIGNIFICANT, Verdict

TUNED = (LEARNING_RATE,)
LRS = np.round(10 ** (np.arange(RATES) / 2 - 4), 6)
POINTS = 100.0  # per unit of accuracy


class Simulated(NamedTuple):
    """Simulated sweeps. Cells select on their own, so all sweeps are in one table, which is many times faster.

    Attributes:
        runs: Runs of the searches, as `selection.rank_candidates` takes them, sorted by cell, learning rate and seed.
        cells: Names of the cells, sweep after sweep, in alphabetical order.
        of_cell: Cell of each candidate, as its place in `cells`, of shape (candidates,).
        rates: Learning rate of each candidate, as its place in `LRS`, of shape (candidates,).
        confirming: Test accuracy of a confirming run at each learning rate, of shape (cells, rates, seeds); NaN if it
            diverges.
    """

    runs: pd.DataFrame
    cells: Sequence[str]
    of_cell: np.ndarray
    rates: np.ndarray
    confirming: np.ndarray


def simulate(design: TunedDesign, numbers: Sequence[int]) -> Simulated:
    """Simulate the sweeps of these numbers; each is the same for the same number."""
    val, test, confirming = (np.concatenate(parts) for parts in zip(*(_draw(design, n) for n in numbers), strict=True))
    cells = [f"{number:05} c{cell:02}" for number in numbers for cell in range(design.cells)]
    of_half = [list(CANDIDATES[design.candidates[2 * cell // design.cells]]) for cell in range(design.cells)]
    candidates = [(cell, rate) for cell in range(len(cells)) for rate in of_half[cell % design.cells]]
    of_cell, rates = np.array(candidates).T
    val_accuracy = val[of_cell, rates].ravel()  # candidates x seeds
    is_completed = np.isfinite(val_accuracy)
    runs = pd.DataFrame(
        {
            CELL: np.repeat(np.array(cells)[of_cell], design.seeds),
            REPLICATE: np.tile(np.arange(design.seeds), len(rates)),
            LEARNING_RATE: np.repeat(LRS[rates], design.seeds),
            "status": np.where(is_completed, COMPLETED, DIVERGED),
            "validated": is_completed,
            "val_accuracy": val_accuracy,
            "val_loss": 1 - val_accuracy,
            "test_accuracy": test[of_cell, rates].ravel(),
        }
    )
    return Simulated(runs, cells, of_cell, rates, confirming)


def _draw(design: TunedDesign, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the accuracies of one sweep, each of shape (cells, rates, seeds), NaN if a run diverges.

    Returns:
        Validation and test accuracy of the search, and test accuracy of confirming runs.
    """
    name = zlib.crc32(design.name.encode())
    generator = np.random.default_rng([number, design.cells, design.seeds, name])
    shape = (design.cells, RATES, design.seeds)
    distance = np.arange(RATES)[:, None] - generator.uniform(*OPTIMUM)  # (rates, 1)
    is_beyond = distance >= EDGE
    expected = -design.curve * distance**2 - design.collapse * is_beyond
    scale = generator.permutation(share(1 / 3, design.noisy)(design.cells))[:, None, None]
    split_error = design.split_error * generator.standard_normal((design.cells, RATES, 1))

    def draw() -> tuple[np.ndarray, np.ndarray]:
        """Draw validation and test accuracies, with an effect of the seed that all cells share."""
        run, own_val, own_test = generator.standard_normal((3, *shape))
        seed = generator.standard_normal(design.seeds)
        is_diverged = is_beyond & (generator.random(shape) < design.diverging)
        both, own = np.sqrt(design.common), np.sqrt(1 - design.common)
        val = expected + split_error + design.noise_val * (seed + scale * (both * run + own * own_val))
        test = expected + design.noise_test * (seed + scale * (both * run + own * own_test))
        return np.where(is_diverged, np.nan, MEAN + val / POINTS), np.where(is_diverged, np.nan, MEAN + test / POINTS)

    return *draw(), draw()[1]


def scores(sweeps: Simulated, how: str, confirmed: bool) -> pd.DataFrame:
    """Return the scores that the cells are compared by, cells x seeds.

    Args:
        sweeps: Simulated sweeps.
        how: `EACH` or `ONCE`.
        confirmed: Whether the scores are those of confirming runs.
    """
    cells, _, seeds = sweeps.confirming.shape
    values = np.full((cells, seeds), np.nan)
    if confirmed:
        selected = select(sweeps.runs, TUNED, how)
        candidates = selected[CANDIDATE].to_numpy()  # numbered in the order of the runs
        of_seed = selected[REPLICATE].to_numpy()[:, None] if how == EACH else np.arange(seeds)
        of_cell, rates = sweeps.of_cell[candidates][:, None], sweeps.rates[candidates][:, None]
        values[of_cell, of_seed] = np.nan_to_num(sweeps.confirming[of_cell, rates, of_seed], nan=0.0)
    else:
        rows = np.flatnonzero(is_scored(sweeps.runs, TUNED, how))
        assert len(rows) == values.size
        of_seed = sweeps.runs[REPLICATE].to_numpy()[rows]
        values[sweeps.of_cell[rows // seeds], of_seed] = score(sweeps.runs, "test_accuracy").to_numpy()[rows]
    assert np.isfinite(values).all()
    return pd.DataFrame(values, index=list(sweeps.cells))


@functools.cache
def _efforts(design: TunedDesign) -> list[TuningEffort]:
    """Return the tuning effort of each cell, the same in all sweeps of a design."""
    sweep = simulate(design, [0])
    efforts = tuning_efforts(sweep.runs, TUNED)
    return [efforts[cell] for cell in sweep.cells]


def compare(design: TunedDesign, table: pd.DataFrame, how: str, confirmed: bool) -> pd.DataFrame:
    """Compare all pairs of cells of one sweep as the report does, the best cell first.

    Args:
        design: Design of the sweep.
        table: Scores, cells x seeds.
        how: `EACH` or `ONCE`.
        confirmed: Whether the scores are those of confirming runs.
    """
    order = table.mean(axis=1).sort_values(ascending=False, kind="stable").index
    efforts = dict(zip(table.index, _efforts(design), strict=True)) if how == ONCE and not confirmed else {}
    # The search for the intervals' widths takes most of the time, and decides no verdict without a margin.
    with mock.patch.object(Noise, "quantile", lambda noise, level, which: np.zeros(len(which))):
        return compare_pairs(table.reindex(order), None, efforts)[0]


def judge(design: TunedDesign, numbers: Sequence[int]) -> list[dict[str, float]]:
    """Judge sweeps: whether any pair is significant, and the share of a better cell's differences that is found.

    The better cell is the first. All its completed runs are better by as much, which changes no selection within it.

    Returns:
        For each sweep, value by the names that `column` gives.
    """
    sweeps = simulate(design, numbers)
    found: list[dict[str, float]] = [{} for _ in numbers]
    for confirmed in (False, True):
        for how in (EACH, ONCE):
            of_all = scores(sweeps, how, confirmed)
            for place, of_sweep in enumerate(found):
                table = of_all.iloc[place * design.cells : (place + 1) * design.cells].copy()
                verdicts = compare(design, table, how, confirmed)["verdict"]
                of_sweep[column("false", how, confirmed)] = float(verdicts.isin(SIGNIFICANT).any())
                best = table.index[0]
                table.loc[best] += np.where(table.loc[best] > 0, BETTER / POINTS, 0)
                pairs = compare(design, table, how, confirmed)
                is_found = (pairs["a"] == best) & (pairs["verdict"] == Verdict.BETTER)
                of_sweep[column("power", how, confirmed)] = float(is_found.sum() / (design.cells - 1))
    return found


def column(what: str, how: str, confirmed: bool) -> str:
    """Return the name of a measured rate.

    Args:
        what: "false" or "power".
        how: `EACH` or `ONCE`.
        confirmed: Whether the scores are those of confirming runs.
    """
    return f"{what} {how}, {'confirmed' if confirmed else 'search'}"
