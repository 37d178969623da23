"""Answer of a report: sentences about the best cell, effects, sources of noise, tuning and speed."""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from mnist_mlp.analysis.claims import CELLS
from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.notes import NAMED, list_names
from mnist_mlp.analysis.outcomes import scored_phrase
from mnist_mlp.analysis.roles import CELL, evaluation_runs, with_noun
from mnist_mlp.analysis.sources import join_words
from mnist_mlp.analysis.winner import winner
from mnist_mlp.base.record import DIVERGED, FAILED
from mnist_mlp.base.schema import GROUPS
from mnist_mlp.base.sweep_file import EACH
from mnist_mlp.report.text import budget, noise
from mnist_mlp.report.text.captions import KEY_NAMES, timed_split
from mnist_mlp.report.text.numbers import MATTERS, probability
from mnist_mlp.report.text.pairs import all_pairs
from mnist_mlp.report.text.training import sentence, trained
from mnist_mlp.report.text.units import Unit, in_points
from mnist_mlp.report.text.verdicts import list_explanations, margin_in_points, seeds_needed
from mnist_mlp.stats.verdicts import SIGNIFICANT

TARGETS = (0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # to suggest


def answer(comparison: Comparison) -> list[str]:
    """Return the facts below the headline: best cell, pairs, effects, noise, tuning curves, speed and training."""
    summary = comparison.summary
    if not (summary["n"] > 0).any():
        return [_nothing(comparison), sentence(trained(comparison))]
    best, training = _winner(comparison)
    others = [
        noise.sentence(comparison.variance_components, Unit(comparison.metric)),
        budget.answer(comparison),
        _speed(comparison),
    ]
    return [fact for fact in (best, all_pairs(comparison), *_effects(comparison), *others, training) if fact]


def _nothing(comparison: Comparison) -> str:
    """Say that no run was completed. Cells are still compared if runs diverged, since these have the score 0."""
    runs = evaluation_runs(comparison.runs)
    diverged, failed = (int((runs["status"] == status).sum()) for status in (DIVERGED, FAILED))
    ends = [f"{diverged} {_diverged(diverged, Unit(comparison.metric))}"] if diverged else []
    ends += [f"{failed} failed"] if failed else []
    so = "no cell is better than another" if diverged else "there is nothing to compare"
    which = (
        f" {scored_phrase(comparison.runs)}" if comparison.confirmed else ""
    )  # runs of the search may have completed
    return f"No run{which} was completed: {', '.join(ends)}, so {so}."


def _winner(comparison: Comparison) -> tuple[str, str]:
    """Return the fact on the best cell (see `Winner`), and the one on its training."""
    facts = _winner_template().make_module(
        {
            "best": winner(comparison),
            "trained": sentence(trained(comparison))[:-1],
            "reasons": list_explanations(comparison, comparison.rivals),
            "margin": margin_in_points(comparison),
            "most": NAMED,
            "unit": Unit(comparison.metric),
        }
    )
    return str(facts.result()), str(facts.training())  # type: ignore[attr-defined]


@cache  # compiling the template takes longer than the rest of an answer
def _winner_template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "with_noun": with_noun,
        "diverged": _diverged,
        "has_interval": lambda accuracy: math.isfinite(accuracy[1]),
        "is_finite": math.isfinite,
        "listed": list_names,
        "needed": seeds_needed,
        "probability": probability,
    }
    return environment.get_template("winner.txt.jinja")


def _diverged(count: int, unit: Unit) -> str:
    return f"diverged and {'counts' if count == 1 else 'count'} as {unit.worst}"


def _effects(comparison: Comparison) -> list[str]:
    """Return a sentence on each effect, and on what needs an explanation."""
    table = comparison.effects.table
    if table.empty:
        return []
    rows = table.to_dict("records")
    tuned = ""
    if comparison.tuned:
        keys, are = join_words(comparison.tuned), "is" if len(comparison.tuned) == 1 else "are"
        tuned = f" once {keys} {are} tuned" if comparison.select == EACH else f" at the {keys} selected here"
    lines = _strictness(comparison)
    lines += [_effect(row, tuned if number == 0 else "", comparison) for number, row in enumerate(rows)]
    mains = [row for row in rows if np.isfinite(row["range"])]
    differ = bool(comparison.pairs["verdict"].isin(SIGNIFICANT).any())
    if differ and (table["p"] >= MATTERS).all():
        lines.append(
            "Single pairs of cells do differ significantly, which is no contradiction: the variance estimate of a "
            "pair borrows from all other pairs, that of an average from few others."
        )
    if any(row["p"] < MATTERS for row in mains) and not differ:
        others = "the other key" if len(mains) == 2 else "the other keys"
        lines.append(
            "No single pair of cells is significantly different, which is no contradiction: an effect averages over "
            f"{others}, so it rests on more runs than any pair."
        )
    return lines


def _strictness(comparison: Comparison) -> list[str]:
    """Say in what the headline and the lines on effects differ; empty if the headline is not about effects."""
    claims = comparison.claims
    if all(claim.key == CELLS for claim in claims.of):
        return []
    claimed = {claim.key for claim in claims.of if claim.significant}
    claimed |= {" × ".join(interaction.keys) for interaction in claims.interactions}
    table = comparison.effects.table
    alone = [_name(effect) for effect in table.loc[table["p"] < MATTERS, "effect"] if effect not in claimed]
    only = f" {join_words(alone)}: significant only on {'its' if len(alone) == 1 else 'their'} own." if alone else ""
    text = "The headline tests all effects together, the next lines each on its own, so their bounds are smaller."
    return [text + only]


def _name(effect: str) -> str:
    """Return the name of an effect at the beginning of a sentence, in which keys have their case."""
    name = " × ".join(KEY_NAMES.get(key, key) if key in GROUPS else key for key in effect.split(" × "))
    return name[0].upper() + name[1:] if effect.partition(" × ")[0] in GROUPS else name


def _effect(row: Mapping[Any, Any], tuned: str, comparison: Comparison) -> str:
    """Say whether a key has an effect, or whether two keys interact, with the interval or the bound."""
    p, is_main, name = row["p"], np.isfinite(row["range"]), _name(row["effect"])
    unit, margin = Unit(comparison.metric), comparison.margin
    if not np.isfinite(p):
        same = f"its values are {unit.size(row['range'])} apart" if is_main else "it is the same"
        return f"{name}: not tested{tuned}, as {same} in every seed."
    largest = unit.size(row["largest"]) if np.isfinite(row["largest"]) else ""
    if p < MATTERS:
        what = "significant on average" if is_main else "a significant interaction"
        is_larger = row["largest"] > max(-row["ci_low"], row["ci_high"])  # false for the only difference of an effect
        most = f"; none of its differences exceeds {largest}" if is_larger else ""
        ends = unit.signed_interval(row["ci_low"], row["ci_high"])
        size = f"{row['most_significant']}: {unit.signed(row['difference'])} {ends}{unit.points}"
        return f"{name}: {what}{tuned} (p {probability(p)}). {'Most significant: ' if is_larger else ''}{size}{most}."
    what, which = ("inconclusive on average", "effect") if is_main else ("inconclusive", "interaction")
    bound = f"; an {which} of up to {largest} is possible" if largest else ""
    if margin is not None and row["largest"] <= margin:
        what = f"equivalent within {in_points(margin)}" + (" on average" if is_main else "")
        bound = f"; it is at most {largest}"
    return f"{name}: {what}{tuned} (p {probability(p)}){bound}."


def _speed(comparison: Comparison) -> str:
    if comparison.target is None:
        return _without_target(comparison)
    summary = comparison.summary
    target = f"{comparison.target * 100:g}% {timed_split(comparison)} accuracy"
    runs = comparison.scored
    chosen = f" {scored_phrase(comparison.runs)}" if comparison.tuned else ""  # other runs are not scored
    if not (summary["reached_target"] > 0).any():
        completed = " completed" if (runs["status"] == DIVERGED).any() else ""  # others may have diverged after it
        return f"No{completed} run{chosen} reached {target}{_nearer_target(comparison)}."
    stacked = bool((runs["stack_size"] > 1).any())  # runs trained together share the seconds equally
    epochs = summary["epochs_to_target"].min()
    if not np.isfinite(epochs):
        return f"In no cell did more than half of the runs{chosen} reach {target}."
    first = summary[summary["epochs_to_target"] == epochs].sort_values("seconds_to_target", kind="stable")
    cells, reached = first[CELL].tolist(), int(first["reached_target"].sum())
    ended = int(runs[CELL].isin(cells).sum())
    seconds = "" if stacked else f" and {first['seconds_to_target'].iloc[0]:.1f} s"
    there = "" if len(cells) == runs[CELL].nunique() else f" of {'this cell' if len(cells) == 1 else 'these cells'}"
    tied = "" if len(cells) == 1 else f", tied with {list_names(cells[1:])}"
    return (
        f"Fastest to {target}: {cells[0]}, in {with_noun(epochs, 'epoch')}{seconds}{tied} "
        f"(medians, not tested; {reached} of {with_noun(ended, 'run')}{there} reached it)."
    )


def _without_target(comparison: Comparison) -> str:
    """Say which option gives times if no target is set; empty if no target would be reached."""
    target = _target_to_try(comparison)
    return f"No target accuracy is set for this data set: {_trying(comparison, target)}." if target else ""


def _nearer_target(comparison: Comparison) -> str:
    """Say which accuracy was reached and which target to try."""
    highest, target = comparison.scored["highest_accuracy"].max(), _target_to_try(comparison)
    return f"; the best reached {_floor(highest)}%" + (f": {_trying(comparison, target)}" if target else "")


def _trying(comparison: Comparison, target: float) -> str:
    return f"--target {target:g} would {'compare' if comparison.scored[CELL].nunique() > 1 else 'give'} times"


def _target_to_try(comparison: Comparison) -> float | None:
    """Return the highest suggested target that at least half of the cells, and at least two, reach.

    A cell reaches a target if more than half of its runs do. None if the lowest suggestion is still too high.
    """
    of_cells = comparison.scored.groupby(CELL)["highest_accuracy"]
    # The lower median is used since a finite median time of an even number of runs needs both middle runs to arrive.
    cells = of_cells.quantile(0.5, interpolation="lower").dropna().sort_values(ascending=False)
    enough = cells.iloc[min(len(cells) - 1, max(1, (len(cells) - 1) // 2))]
    lower = [target for target in TARGETS if target <= enough]
    return lower[0] if lower else None


def _floor(accuracy: float) -> str:
    """Format an accuracy in percent, rounded down to two decimals so that a missed target does not look reached."""
    return f"{math.floor(round(accuracy * 1e4, 6)) / 100:g}"
