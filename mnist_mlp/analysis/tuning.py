"""Notes on the fairness and the adequacy of tuning."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mnist_mlp.analysis import sources
from mnist_mlp.analysis.effort import tuning_efforts
from mnist_mlp.analysis.notes import Note, list_names
from mnist_mlp.analysis.roles import (
    CELL,
    REPLICATE,
    STREAMS,
    ended_runs,
    scored_runs,
    search_runs,
    varying_keys,
    with_noun,
)
from mnist_mlp.analysis.selection import (
    CANDIDATE,
    has_best_accuracy,
    number_candidates,
    rank_candidates,
    selecting_groups,
    selection_split,
)
from mnist_mlp.analysis.values import as_typed, by_cell, cell_key, sort_key
from mnist_mlp.base.schema import GROUPS, LEARNING_RATE, Role, find_setting, role_of
from mnist_mlp.base.sweep_file import CONFIRM, EACH, ONCE
from mnist_mlp.stats.moderated_t import CONFIDENCE


def notes(
    runs: pd.DataFrame, summary: pd.DataFrame, pairs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str], how: str
) -> Iterator[Note]:
    """Yield the notes on tuning. Arguments are those of `fairness.notes`."""
    yield from _rate(runs, by, tuned)
    if tuned:
        yield from _selection(search_runs(runs), by, tuned, how, bool((runs["phase"] == CONFIRM).any()))
        yield from _missing(runs, tuned, how)
        yield from _edges(search_runs(runs), tuned, how)
    yield from _set_aside(runs)
    yield from _momentum(runs, summary, pairs, by)


def _rate(runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str]) -> Iterator[Note]:
    if {"optim", "schedule"} & {*by} and LEARNING_RATE not in (*tuned, *by) and runs[CELL].nunique() > 1:
        what = (
            "each optimizer ran with one value, so this ranks configurations, not optimizers"
            if runs["optim"].nunique() > 1
            else "each cell ran with one value, which may suit some cells better than others"
        )
        yield Note(
            "Learning rate not tuned",
            f"{what}. To tune it on validation, run several values: optim.lr=1e-3,1e-2,1e-1.",
        )


def _selection(
    runs: pd.DataFrame, by: Sequence[str], tuned: Sequence[str], how: str, is_confirmed: bool
) -> Iterator[Note]:
    """Yield notes on the selection of configurations from these runs."""
    if how == ONCE:
        why = (
            "; sources of randomness vary independently here, so no replicate can select for itself"
            if len(sources.seeds_by_source(runs[STREAMS])) > 1
            else ""
        )
        yield Note(
            "One selection for all seeds",
            "each cell selected one configuration, by the mean over its seeds, so verdicts are about these "
            f"configurations, not about tuned cells{why}.",
        )
    if selection_split(runs) != "val":
        yield Note(
            "No validation split",
            f"{sources.join_words(tuned)} {'was' if len(tuned) == 1 else 'were'} selected by training accuracy, never "
            "by test; data.val_size=N holds out N images for selection.",
        )
    for key in (key for key in varying_keys(runs) if role_of(key) is Role.CONDITION and key not in by):
        values = runs[key].map(as_typed).groupby(runs[CELL]).agg(lambda of: ", ".join(sorted({*of}, key=sort_key)))
        yield Note(
            f"Searched with different {key}",
            f"{list_names([f'{cell}: {value}' for cell, value in by_cell(values).items()])}; selections, budget curves "
            "and sensitivities of such cells are not comparable.",
        )
    efforts = tuning_efforts(runs, tuned)
    if len(set(efforts.values())) > 1:
        each = list_names([f"{cell}: {efforts[cell]}" for cell in sorted(efforts, key=cell_key)])
        yield Note(
            "Unequal tuning budgets",
            f"cells were tuned over different numbers of configurations or seeds ({each}); "
            + (
                "with more candidates a better configuration may be found, which is part of the comparison."
                if is_confirmed or how == EACH
                else "the best of more candidates looks better by chance, so such cells are not compared."
            ),
        )
    yield from _ties(runs, tuned, how)
    of_setting = ended_runs(runs).groupby([CELL, number_candidates(runs, tuned)])[REPLICATE].agg(frozenset)
    uneven = of_setting.groupby(level=0).nunique()
    if (uneven > 1).any():
        yield Note(
            "Configurations with unequal seeds",
            f"within {list_names(list(by_cell(uneven[uneven > 1]).index))}, configurations were run with different "
            + (
                "seeds, so some seeds had fewer to select from."
                if how == EACH
                else "seeds, so a configuration may have been selected for its seeds."
            ),
        )


def _ties(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> Iterator[Note]:
    """Yield a note on selections that accuracy did not decide."""
    within = selecting_groups(how)
    ranked = rank_candidates(runs, tuned, within)
    sizes = ranked[has_best_accuracy(ranked, within)].groupby(within).size()
    tied = (sizes > 1).groupby(level=0).sum()
    if (tied > 0).any():
        table = pd.DataFrame({"tied": tied, "of": sizes.groupby(level=0).size()})
        cells = [
            f"{cell} ({many} of {with_noun(of, 'seed')})" if how == EACH else str(cell)
            for cell, many, of in by_cell(table[table["tied"] > 0]).itertuples()
        ]
        yield Note(
            "Ties in the selection",
            f"in {list_names(cells)}, several configurations tie for the best accuracy on the selection split; the "
            "lower loss decided, then the smaller value.",
        )


def _missing(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> Iterator[Note]:
    """Yield a note on seeds without a score: the configuration to be scored has no result with such a seed."""
    if how != EACH:
        return
    to_be_confirmed = set(runs.loc[runs["phase"].notna(), CELL])
    open_cells = runs[~runs[CELL].isin(to_be_confirmed)]
    have_score = scored_runs(runs).groupby(CELL)[REPLICATE].agg(frozenset)
    missing = []
    for cell, seeds in by_cell(ended_runs(open_cells).groupby(CELL)[REPLICATE].agg(frozenset)).items():
        without = sorted(seeds - have_score.get(cell, frozenset()))
        missing += [f"{cell} with seed {list_names(without)}"] if without else []
    if missing:
        yield Note(
            "Scores missing",
            f"{'; '.join(missing)}: the configuration that the previous seed selected has no result with this seed.",
        )


def _set_aside(runs: pd.DataFrame) -> Iterator[Note]:
    """Yield a note on runs of neither search nor confirmation, in cells with confirmed selections."""
    aside = runs[runs["phase"].isna() & runs[CELL].isin(runs.loc[runs["phase"] == CONFIRM, CELL])]
    if len(aside):
        counts = by_cell(aside.groupby(CELL).size())
        yield Note(
            "Runs set aside",
            f"{list_names([f'{cell}: {count}' for cell, count in counts.items()])}; these runs are not scored, "
            "since they confirm none of their cells' selections.",
        )


def _edges(runs: pd.DataFrame, tuned: Sequence[str], how: str) -> Iterator[Note]:
    """Yield notes on tuned values at the edge of their grid, if more than half of the replicates selected them.

    A replicate whose best values tie between the edge and elsewhere does not count as selecting the edge.
    """
    within = selecting_groups(how)
    ranked = rank_candidates(runs, tuned, within)
    replicates = ranked.drop_duplicates(within).groupby(CELL).size()
    # If all candidates diverged, the selection is arbitrary.
    best = ranked[has_best_accuracy(ranked, within) & (ranked["loss"] < np.inf)]
    runs = runs.assign(**{CANDIDATE: number_candidates(runs, tuned)})
    selected = runs.drop_duplicates(CANDIDATE).set_index(CANDIDATE).loc[best[CANDIDATE]]
    selected = selected.assign(**{column: best[column].to_numpy() for column in within})
    for key in tuned:
        if not runs[key].map(lambda v: isinstance(v, int | float) and not isinstance(v, bool)).all():
            continue
        sides = []
        for side, is_edge in _edges_of(key, selected, ended_runs(runs), within).items():
            at_edge = pd.Series(is_edge, best.index).groupby([best[column] for column in within]).all()
            share = by_cell(at_edge.groupby(level=0).sum() / replicates)
            values = (
                selected[is_edge]
                .groupby(CELL)[key]
                .agg(lambda of: ", ".join(sorted({*of.map(as_typed)}, key=sort_key)))
            )
            short = key.rpartition(".")[2]
            cells = [f"{cell} ({short}={values[cell]})" for cell in share.index[share > 1 / 2]]
            sides += [f"try {side} values for {list_names(cells)}"] if cells else []
        if sides:
            yield Note(f"Best {key} at the edge of what was tried", f"the best may lie outside: {'; '.join(sides)}.")


def _edges_of(key: str, selected: pd.DataFrame, runs: pd.DataFrame, within: Sequence[str]) -> dict[str, np.ndarray]:
    """Return whether each selected value is at the lower and at the upper edge of its grid.

    The names of the edges, "smaller" and "larger", say which values to try next. A bound of the valid range of the key
    is not an edge.

    Args:
        key: Tuned key whose values are numbers.
        selected: Selected configurations, with the columns of `within`.
        runs: Runs with a result. The grid of a key such as `optim.lr` consists of its values with the same option.
        within: See `selecting_groups`.
    """
    group = key.partition(".")[0]
    groups = [*within, group] if group in GROUPS else [*within]
    limits = runs.groupby(groups)[key].agg(["min", "max", "nunique"]).astype(float)
    of = limits.reindex(pd.MultiIndex.from_frame(selected[groups]) if len(groups) > 1 else selected[CELL])
    values, several = selected[key].to_numpy(dtype=float), of["nunique"].to_numpy() > 1
    setting = find_setting(key)
    # Keys without a setting in the schema, such as the momentum of an option, are assumed to have the minimum 0.
    lowest, highest = (setting.metadata.get(bound) for bound in ("ge", "le")) if setting else (0, None)
    return {
        "smaller": several & (values == of["min"].to_numpy()) & (values != lowest),
        "larger": several & (values == of["max"].to_numpy()) & (values != highest),
    }


def _momentum(runs: pd.DataFrame, summary: pd.DataFrame, pairs: pd.DataFrame, by: Sequence[str]) -> Iterator[Note]:
    """Yield a note if SGD with momentum loses to plain SGD, its special case: a sign of poor tuning."""
    if "optim" not in by or not {"optim._target_", "optim.momentum"} <= set(runs.columns):
        return
    others = [key for key in by if key != "optim"]
    chosen = scored_runs(runs)
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
            if not p >= 1 - CONFIDENCE:  # not significant, or not tested
                tested &= bool(np.isfinite(p))
                losing.append(f"{cell} at {cells['score'][cell]:.2%} to {special} at {cells['score'][special]:.2%}")
    if losing:
        yield Note(
            "Momentum loses to plain SGD",
            f"{list_names(losing)}. Momentum 0 is plain SGD, so with equally good tuning it cannot lose: its "
            f"configurations are poor{'' if tested else ', unless the difference is chance'}.",
        )
