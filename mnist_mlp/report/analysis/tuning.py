"""Was the tuning fair, and was it enough?"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_mlp.report.analysis.contrasts import CONFIDENCE
from mnist_mlp.report.analysis.effort import tuning_efforts
from mnist_mlp.report.analysis.notes import Note, listed
from mnist_mlp.report.analysis.roles import (
    CELL,
    LEARNING_RATE,
    REPLICATE,
    as_typed,
    ended,
    judged_split,
    rank_settings,
    scored,
    tried,
    varying_keys,
)
from mnist_mlp.run.record import COMPLETED
from mnist_mlp.run.schema import GROUPS, Role, find_setting, role_of
from mnist_mlp.run.sweep_file import CONFIRM


def notes(
    runs: pd.DataFrame, summary: pd.DataFrame, pairs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str]
) -> Iterator[Note]:
    """What to beware of; arguments are those of `fairness.notes`."""
    yield from _rate(runs, by, tuned)
    if tuned:
        yield from _choice(tried(runs), tuned, bool((runs["phase"] == CONFIRM).any()))
    yield from _set_aside(runs)
    yield from _edges(runs, tuned)
    yield from _momentum(runs, summary, pairs, by)


def _rate(runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str]) -> Iterator[Note]:
    if {"optim", "schedule"} & {*by} and LEARNING_RATE not in (*tuned, *by) and runs[CELL].nunique() > 1:
        what = (
            "each optimizer ran at one value, so this ranks settings, not optimizers"
            if runs["optim"].nunique() > 1
            else "each cell ran at one value, which may suit some cells better than others"
        )
        yield Note(
            "Learning rate not tuned",
            f"{what}; several values, such as optim.lr=1e-3,1e-2,1e-1, are tuned on validation.",
        )


def _choice(runs: pd.DataFrame, tuned: Sequence[str], is_confirmed: bool) -> Iterator[Note]:
    """How settings were chosen, from these runs."""
    if judged_split(runs) != "val":
        yield Note(
            "No validation split",
            f"{', '.join(tuned)} {'was' if len(tuned) == 1 else 'were'} chosen by training accuracy, never by test; "
            "data.val_size=N holds N images out to choose by.",
        )
    for key in (key for key in varying_keys(runs) if role_of(key) is Role.MEASURED_ON):
        values = runs[key].map(as_typed).groupby(runs[CELL]).agg(lambda of_cell: ", ".join(sorted({*of_cell})))
        yield Note(
            f"Searched with different {key}",
            f"{listed([f'{cell}: {value}' for cell, value in values.items()])}; choices, budget curves and "
            "sensitivities of such cells do not compare.",
        )
    efforts = tuning_efforts(runs, tuned)
    if len(set(efforts.values())) > 1:
        each = listed([f"{cell}: {effort}" for cell, effort in efforts.items()])
        yield Note(
            "Unequal tuning budgets",
            f"cells were tuned over different numbers of configurations or seeds ({each}); "
            + (
                "the more are tried, the better a setting may be found, which is part of what is compared."
                if is_confirmed
                else "the more are tried, the better the best of them looks, so that such cells are not compared."
            ),
        )
    _, ranked = rank_settings(runs, tuned)
    means = ranked["mean"].round(12)
    best = means == means.groupby(ranked[CELL]).transform("max")
    level = ranked[best].groupby(CELL).size()
    if (level > 1).any():
        yield Note(
            "Ties in the choice",
            f"in {listed([f'{cell} ({n} settings)' for cell, n in level[level > 1].items()])}, settings are equally "
            "good by what they are chosen by; the first of them is taken, by its value.",
        )
    of_setting = ended(runs).groupby([CELL, *tuned], dropna=False)[REPLICATE].agg(frozenset)
    uneven = of_setting.groupby(level=0).nunique()
    if (uneven > 1).any():
        yield Note(
            "Settings with unequal seeds",
            f"within {listed(list(uneven[uneven > 1].index))}, settings were tried with different seeds, so a setting "
            "may have been chosen for its seeds.",
        )


def _set_aside(runs: pd.DataFrame) -> Iterator[Note]:
    """Runs of no search, in cells that have confirmed ones."""
    aside = runs[runs["phase"].isna() & runs[CELL].isin(runs.loc[runs["phase"] == CONFIRM, CELL])]
    if len(aside):
        counts = aside.groupby(CELL).size()
        yield Note(
            "Runs set aside",
            f"{listed([f'{cell}: {count}' for cell, count in counts.items()])}: they confirm nothing, in cells whose "
            "setting was confirmed by others, and are not scored.",
        )


def _edges(runs: pd.DataFrame, tuned: Sequence[str]) -> Iterator[Note]:
    completed = set(runs.loc[runs["chosen"] & (runs["status"] == COMPLETED), CELL])  # else nothing was really chosen
    chosen = runs[runs["chosen"]].drop_duplicates(CELL).set_index(CELL)
    for key in tuned:
        if not runs[key].map(lambda v: isinstance(v, int | float) and not isinstance(v, bool)).all():
            continue
        group, of = key.partition(".")[0], ended(runs)
        if group in GROUPS:  # the grid of the option that was chosen, where options are tuned as well
            of = of[of[group].map(as_typed) == of[CELL].map(chosen[group].map(as_typed))]
        tried = of.groupby(CELL)[key].agg(["min", "max", "nunique"]).astype(float)
        tried = tried[tried.index.isin(completed)]
        best = chosen[key].astype(float).reindex(tried.index)
        several = tried["nunique"] > 1
        setting = find_setting(key)
        # Nothing beyond is allowed; keys that only an option has, such as its momentum, are taken to begin at 0.
        lowest, highest = (setting.metadata.get(bound) for bound in ("ge", "le")) if setting else (0, None)
        low = best[several & (best == tried["min"]) & (best != lowest)]
        high = best[several & (best == tried["max"]) & (best != highest)]
        sides = [
            f"try {what} values for {listed([f'{cell} ({as_typed(value)})' for cell, value in side.items()])}"
            for side, what in ((low, "smaller"), (high, "larger"))
            if len(side)
        ]
        if sides:
            yield Note(f"Best {key} at the edge of what was tried", f"the best may lie outside: {'; '.join(sides)}.")


def _momentum(runs: pd.DataFrame, summary: pd.DataFrame, pairs: pd.DataFrame, by: Sequence[str]) -> Iterator[Note]:
    """Momentum that loses to plain SGD, its special case at momentum 0: a sign of poor tuning."""
    if "optim" not in by or not {"optim._target_", "optim.momentum"} <= set(runs.columns):
        return
    others = [key for key in by if key != "optim"]
    chosen = scored(runs)
    sgd = chosen["optim._target_"].astype(str).str.endswith("optim.SGD")
    momentum = pd.to_numeric(chosen["optim.momentum"], errors="coerce")
    plain = set(chosen.loc[sgd & (momentum == 0), CELL])
    general = set(chosen.loc[sgd & (momentum > 0), CELL]) - plain
    cells = summary.set_index(CELL)
    found = pairs.set_index(["a", "b"])
    losing, tested = [], True
    for special in (cell for cell in cells.index if cell in plain):
        for cell in (cell for cell in cells.index if cell in general):
            ahead = cells["score"][special] > cells["score"][cell]
            if not ahead or any(as_typed(cells[key][special]) != as_typed(cells[key][cell]) for key in others):
                continue
            pair = (special, cell) if (special, cell) in found.index else (cell, special)
            p = found["p_corrected"].get(pair, np.nan)
            if not p >= 1 - CONFIDENCE:  # within the noise it is no sign of anything; without a p nobody can tell
                tested &= bool(np.isfinite(p))
                losing.append(f"{cell} at {cells['score'][cell]:.2%} to {special} at {cells['score'][special]:.2%}")
    if losing:
        yield Note(
            "Momentum loses to plain SGD",
            f"{listed(losing)}. With momentum 0 it is plain SGD, so when tuned as well it cannot lose: its settings "
            f"are not good ones{'' if tested else ', unless the difference is chance'}.",
        )
