"""Tuning curves: expected results of cells if they had fewer candidates (see `mnist_mlp.stats.tuning_curves`).

If each replicate (seed) selects its own configuration, it draws some candidates and selects the best of them by its own
results. The selected candidate is scored by its test accuracy with the next seed, as in the report (see `selection`).
If each cell selects once, its curve is computed from the means of the candidates over seeds.
"""

from collections.abc import Sequence

import pandas as pd

from mnist_mlp.analysis.roles import CELL, REPLICATE
from mnist_mlp.analysis.selection import (
    CANDIDATE,
    number_candidates,
    previous_seeds,
    rank_candidates,
    score,
    selecting_groups,
    selection_split,
)
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.stats.tuning_curves import expected_best

FEWEST = 3  # candidates of a cell; the curve of two is only a line from their mean to their maximum


def curves(runs: pd.DataFrame, tuned: Sequence[str], cells: Sequence[str], how: str = EACH) -> pd.DataFrame:
    """Compute the expected accuracies of the best of k candidates, for each cell and k.

    Args:
        runs: Runs that configurations are selected by (see `selection.rank_candidates`).
        tuned: Tuned keys.
        cells: Cells in the order of the rows; those with fewer than three candidates are left out.
        how: See `selection.select`.

    Returns:
        Accuracies, as from `expected_best`, with the name of the selection split instead of "selection" in column
        names. Empty if fewer than two cells have three candidates.
    """
    candidates = _candidates(runs, tuned, how)
    counts = candidates.groupby([CELL, REPLICATE]).size().groupby(CELL).max()
    shown = [cell for cell in cells if counts.get(cell, 0) >= FEWEST]
    table = expected_best(candidates.set_index(CELL).loc[shown if len(shown) > 1 else []].reset_index())
    return table.rename(columns=lambda name: name.replace("selection", selection_split(runs)))


def _candidates(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> pd.DataFrame:
    """Return the candidates in the form that `expected_best` takes, in the order that breaks ties."""
    tests = runs.assign(**{CANDIDATE: number_candidates(runs, tuned), "test": score(runs, "test_accuracy")})
    ranked = rank_candidates(runs, tuned, selecting_groups(how)).rename(columns={"accuracy": "selection"})
    if how != EACH:
        values = ranked[CANDIDATE].map(tests.groupby(CANDIDATE)["test"].mean())
        return ranked.assign(replicate=0, test=values)
    seeds = ranked.groupby(CELL)[REPLICATE].unique()
    following = {(cell, before): seed for cell, of in seeds.items() for seed, before in previous_seeds(of, of)}
    scored_at = [following[pair] for pair in zip(ranked[CELL], ranked[REPLICATE], strict=True)]
    values = tests.groupby([CANDIDATE, REPLICATE])["test"].mean()
    return ranked.assign(test=values.reindex(pd.MultiIndex.from_arrays([ranked[CANDIDATE], scored_at])).to_numpy())
