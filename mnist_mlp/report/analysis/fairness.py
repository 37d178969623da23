"""Was the comparison fair? Notes that a reader needs before believing the tables."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mnist_mlp.report.analysis import sources
from mnist_mlp.report.analysis.contrasts import CONFIDENCE
from mnist_mlp.report.analysis.pairs import MOST_CELLS
from mnist_mlp.report.analysis.roles import (
    CELL,
    CODE,
    LEARNING_RATE,
    REPLICATE,
    as_said,
    as_typed,
    budgets,
    ended,
    judged_split,
    rank_settings,
    scored,
    tested,
    tried,
)
from mnist_mlp.report.load import ENVIRONMENT
from mnist_mlp.run.choices import CONFIRM
from mnist_mlp.run.record import COMPLETED, DIVERGED, FAILED
from mnist_mlp.run.schema import Role, find_setting, role_of

OWN_CODE = f"{ENVIRONMENT}code."
NAMED = 6  # cells listed in a note before "and … more"
MAKINGS = {  # what runs should have in common: name, columns
    "code": ("package", "commit"),
    "software": ("python", "torch", "cuda"),
    "hardware": ("device", "cpu", "threads"),
}


class Note(NamedTuple):
    """One thing to beware of."""

    topic: str
    text: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


UNDECIDED = Note(
    "Stopped before it was decided",
    "this sweep would add seeds to what is open; its own command, given again, goes on.",
)


def notes(
    runs: pd.DataFrame,
    summary: pd.DataFrame,
    pairs: pd.DataFrame,
    by: Sequence[str],
    tuned: Sequence[str],
    varying: Sequence[str],
) -> list[Note]:
    """Everything to beware of, the gravest first.

    Args:
        runs: all, with `chosen`.
        summary: one row a cell.
        pairs: one row a pair of cells.
        by: the compared keys.
        tuned: the keys chosen within each cell.
        varying: all keys that take several values.
    """
    return [
        *_seeds(runs),
        *(Note(*caveat) for caveat in sources.caveats(scored(runs))),
        *_confounded(runs, by, tuned, varying),
        *_tuning(runs, by, tuned),
        *_set_aside(runs),
        *_edges(runs, tuned),
        *_momentum(runs, summary, pairs, by),
        *_endings(runs),
        *_at_chance(runs),
        *_moved(runs, by, varying),
        *_makings(runs),
        *_too_many(summary),
    ]


def listed(names: Sequence[str]) -> str:
    """Names in a row, the first few of many."""
    more = len(names) - NAMED
    return ", ".join(map(str, names[:NAMED])) + (f" and {more} more" if more > 0 else "")


def _seeds(runs: pd.DataFrame) -> Iterator[Note]:
    if runs["looked_in"].notna().any():
        return  # they are unequal by design
    seeds = scored(runs).groupby(CELL)[REPLICATE].agg(frozenset)
    counts = seeds.map(len)
    if counts.empty:
        return  # whatever was run has failed
    if (counts == 1).all():
        yield Note(
            "One seed",
            "each cell has one run that ended, so any difference may be chance; seed=0,1,2,3,4 gives intervals.",
        )
    elif seeds.nunique() > 1:
        few = counts[counts < counts.max()].sort_values(kind="stable")
        text = (
            f"some cells have {counts.max()}, others fewer ({listed([f'{cell}: {n}' for cell, n in few.items()])})"
            if len(few)
            else "the cells were run with different seeds"
        )
        yield Note("Unequal seeds", f"{text}; pairs are compared by the seeds that they share.")


def _confounded(runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str], varying: Sequence[str]) -> Iterator[Note]:
    """Keys that differ between cells but not within one: their effect is confounded with the compared keys'."""
    runs = tested(runs)
    for key in varying:
        if key in (*by, *tuned, *CODE) or role_of(key) is Role.REPLICATE:
            continue
        cells = runs.groupby(runs[key].map(as_typed))[CELL].unique()
        values = "; ".join(f"{value} in {listed(sorted(names))}" for value, names in cells.items())
        yield Note(f"Cells differ in {key} too", f"{values}; its effect is confounded with what is compared.")


def _tuning(runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str]) -> Iterator[Note]:
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
    if not tuned:
        return
    confirmed, runs = bool((runs["phase"] == CONFIRM).any()), tried(runs)
    if judged_split(runs) != "val":
        yield Note(
            "No validation split",
            f"{', '.join(tuned)} was chosen by training accuracy, never by test; data.val_size=N holds N images out "
            "to choose by.",
        )
    spent = budgets(runs, tuned)
    if len(set(spent.values())) > 1:
        each = listed([f"{cell}: {words}" for cell, words in spent.items()])
        yield Note(
            "Unequal tuning budgets",
            f"cells were tuned over different numbers of settings or seeds ({each}); "
            + (
                "the more are tried, the better a setting may be found, which is part of what is compared."
                if confirmed
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
        tried = ended(runs).groupby(CELL)[key].agg(["min", "max", "nunique"]).astype(float)
        tried = tried[tried.index.isin(completed)]
        best = chosen[key].astype(float).reindex(tried.index)
        several = tried["nunique"] > 1
        setting = find_setting(key)
        lowest = setting.metadata.get("ge") if setting else None  # nothing smaller is allowed
        low, high = best[several & (best == tried["min"]) & (best != lowest)], best[several & (best == tried["max"])]
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
    sgd = runs["optim._target_"].astype(str).str.endswith("optim.SGD")
    momentum = pd.to_numeric(runs["optim.momentum"], errors="coerce")
    plain = set(runs.loc[sgd & (momentum == 0), CELL])
    general = set(runs.loc[sgd & (momentum > 0), CELL]) - plain
    cells = summary.set_index(CELL)
    found = pairs.set_index(["a", "b"])
    losing = []
    for special in (cell for cell in cells.index if cell in plain):
        for cell in (cell for cell in cells.index if cell in general):
            ahead = cells["score"][special] > cells["score"][cell]
            if not ahead or any(cells[key][special] != cells[key][cell] for key in others):
                continue
            pair = (special, cell) if (special, cell) in found.index else (cell, special)
            p = found["p_corrected"].get(pair, np.nan)
            if not p >= 1 - CONFIDENCE:  # within the noise it is no sign of anything; without a p nobody can tell
                losing.append(f"{cell} at {cells['score'][cell]:.2%} to {special} at {cells['score'][special]:.2%}")
    if losing:
        yield Note(
            "Momentum loses to plain SGD",
            f"{listed(losing)}. With momentum 0 it is plain SGD, so when tuned as well it cannot lose: its settings "
            "are not good ones.",
        )


def _endings(runs: pd.DataFrame) -> Iterator[Note]:
    diverged = runs[runs["status"] == DIVERGED].groupby(CELL).size()
    if len(diverged):
        cells = listed([f"{cell}: {count}" for cell, count in diverged.sort_values(ascending=False).items()])
        at_chosen = int((runs["chosen"] & (runs["status"] == DIVERGED)).sum())
        text = f"{at_chosen or 'none'} of them at the chosen settings"
        if at_chosen:
            text += ", where they count as 0 in the score; means of test accuracy are over the runs that did not"
        yield Note("Divergences", f"{diverged.sum()} of {len(runs)} runs diverged ({cells}), {text}.")
    failed = int((runs["status"] == FAILED).sum())
    if failed:
        yield Note("Failures", f"{failed} of {len(runs)} runs failed and have no numbers.")


def _at_chance(runs: pd.DataFrame) -> Iterator[Note]:
    """Runs that ended without a complaint, and may have learned nothing."""
    guessing = runs[runs["at_chance"].fillna(False)]
    if guessing.empty:
        return
    counts = guessing.groupby(CELL).size().sort_values(ascending=False, kind="stable")
    completed, at_chosen = int((runs["status"] == COMPLETED).sum()), int(guessing["chosen"].sum())
    yield Note(
        "Not shown to beat chance",
        f"{len(guessing)} of {completed} completed runs are not shown to be better than always naming the commonest "
        f"class ({listed([f'{cell}: {count}' for cell, count in counts.items()])}), "
        + (
            f"{at_chosen} of them at the chosen settings; they stay in the means."
            if at_chosen
            else "none of them chosen."
        ),
    )


def _moved(runs: pd.DataFrame, by: Sequence[str], varying: Sequence[str]) -> Iterator[Note]:
    """Options whose code lies in several places."""
    for key in (key for key in varying if key in CODE and key not in by):
        group = key.partition(".")[0]
        targets = runs[key].map(as_typed).groupby(runs[group]).unique()
        options = [f"{group}={option} was {listed(sorted(of))}" for option, of in targets.items() if len(of) > 1]
        yield Note("One option, several targets", f"{'; '.join(options)}; --by {key} would tell them apart.")


def _makings(runs: pd.DataFrame) -> Iterator[Note]:
    known = ended(runs)
    for name, facts in MAKINGS.items():
        columns = {ENVIRONMENT + fact: known[ENVIRONMENT + fact] for fact in facts if ENVIRONMENT + fact in known}
        if name == "code":  # a user's own, of those runs alone that use it
            columns |= {column: known[column].dropna() for column in map(str, known) if column.startswith(OWN_CODE)}
        different = [
            f"{column.removeprefix(ENVIRONMENT)} {listed(sorted(as_said(v)[:20] for v in values.unique()))}"
            for column, values in columns.items()
            if values.nunique(dropna=False) > 1
        ]
        if different:
            slow = " Seconds do not compare." if name == "hardware" else ""
            yield Note(f"Different {name}", f"the runs come from {'; '.join(different)}.{slow}")
    # Where every cell has some of each, as when a sweep was resumed under another launcher, cells still compare.
    steps = runs[runs["step"].notna()].groupby(CELL)["step"].agg(frozenset)
    if steps.nunique() > 1:
        ways = "; ".join(sorted(frozenset().union(*steps)))
        yield Note("Different ways to compute", f"{ways}. Seconds do not compare.")
    if (ENVIRONMENT + "dirty") in runs.columns and runs[ENVIRONMENT + "dirty"].eq(True).any():
        count = int(runs[ENVIRONMENT + "dirty"].eq(True).sum())
        yield Note("Uncommitted code", f"{count} of {len(runs)} runs come from a checkout with uncommitted changes.")


def _too_many(summary: pd.DataFrame) -> Iterator[Note]:
    if len(summary) > MOST_CELLS:
        yield Note(
            "Many cells", f"of {len(summary)} cells each is compared with the best one only, corrected for all pairs."
        )
