"""The answer in words, made from the numbers."""

import math

import numpy as np
import pandas as pd

from mnist_mlp.report.analysis.comparison import Comparison
from mnist_mlp.report.analysis.notes import listed
from mnist_mlp.report.analysis.outcomes import judged_by
from mnist_mlp.report.analysis.pairs import needed
from mnist_mlp.report.analysis.roles import CELL, REPLICATE, as_typed, counted, tested
from mnist_mlp.report.analysis.verdicts import BETTER, EQUIVALENT, OPEN, UNTOLD, WORSE, are, reason
from mnist_mlp.report.render import budget, noise
from mnist_mlp.report.render.captions import timed_split
from mnist_mlp.report.render.numbers import MATTERS, interval, points, probability
from mnist_mlp.report.render.style import NAMES
from mnist_mlp.report.render.training import sentence, trained
from mnist_mlp.run.choices import CONFIRM
from mnist_mlp.run.record import DIVERGED, FAILED
from mnist_mlp.run.schema import GROUPS

TARGETS = (0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # to be suggested


def answer(comparison: Comparison) -> list[str]:
    """Which cell won, whether the difference is real, what mattered, how fast it got there."""
    summary = comparison.summary
    if not (summary["n"] > 0).any():
        return [_nothing(comparison), sentence(trained(comparison))]
    sentences = (
        f"{_winner(comparison)}{_without_result(comparison)}",
        _effects(comparison),
        noise.sentence(comparison.split),
    )
    return [s for s in (*sentences, budget.answer(comparison), _speed(comparison)) if s]


def _nothing(comparison: Comparison) -> str:
    """That no run was completed, in agreement with the pairs: runs that diverged have a score, all the same."""
    runs = tested(comparison.runs)
    diverged, failed = (int((runs["status"] == status).sum()) for status in (DIVERGED, FAILED))
    ends = [f"{diverged} {_diverged(diverged)}"] if diverged else []
    ends += [f"{failed} failed"] if failed else []
    so = "no cell is better than another" if diverged else "there is nothing to compare"
    which = f" {judged_by(comparison.runs)}" if comparison.confirmed else ""  # those of the search may have been
    return f"No run{which} was completed: {', '.join(ends)}, so {so}."


def _without_result(comparison: Comparison) -> str:
    """How many cells are none of the others, as all of their runs failed."""
    number = int(comparison.summary["score"].isna().sum())
    return f" {counted(number, 'more cell')} {'has' if number == 1 else 'have'} no result." if number else ""


def _winner(comparison: Comparison) -> str:
    first = _first(comparison)
    rivals = comparison.rivals
    if rivals.empty:
        result = " with a result" if len(comparison.summary) > 1 else ""
        return f"{first}. There is no other cell{result} to compare it with."
    unknown = are(rivals["verdict"], UNTOLD)
    told, why = rivals[~unknown], listed(list(dict.fromkeys(map(reason, rivals.loc[unknown, "verdict"]))))
    rest = f" ({unknown.sum()} more cannot be judged: {why})" if unknown.any() else ""
    if told.empty:
        return f"{first}, but no difference can be judged: {why}."
    beaten, open_ = are(told["verdict"], BETTER).sum(), told[are(told["verdict"], OPEN)]
    alike, ahead = told[are(told["verdict"], EQUIVALENT)], told[are(told["verdict"], WORSE)]
    if len(ahead):
        over, means = (
            ("seeds that they share", "different seeds")
            if comparison.independent
            else ("independent replicates", "all runs")
        )
        return f"{first}, but over the {over}, {ahead.iloc[0]['b']} is better: the means are over {means}."
    same = f"{alike.iloc[0]['verdict'].partition(' at ')[0]} to {listed(_with_seeds(alike))}" if len(alike) else ""
    if open_.empty and not same:
        other = (
            "the other cell" if len(rivals) == 1 else f"{'all ' * (not rest)}{counted(len(told), 'other cell')}{rest}"
        )
        closest = told.sort_values("difference").iloc[0]
        return (
            f"{first}, better than {other}; the closest is {closest['b']}, {_gap(comparison, closest)} "
            f"(corrected p {probability(closest['p_corrected'])})."
        )
    parts = [f"better than {beaten} of {counted(len(rivals), 'other cell')}{rest}"] if beaten else []
    parts += [f"{same}{rest if not beaten else ''}"] if same else []
    if open_.empty:
        return f"{first}. It is {', and '.join(parts)}."
    runner = open_.iloc[0]
    gap = f"{_gap(comparison, runner)}: {needed(runner['more_seeds'])}"
    if np.isfinite(runner["more_seeds"]):
        gap += ", if it is as large as observed"
    if not parts:
        others, which = _all_open(len(told), len(rivals), str(runner["b"]))
        return (
            f"{first}, but it is statistically indistinguishable from {others} at this number of seeds; {which} is "
            f"{gap}{rest}.{_elsewhere(comparison)}"
        )
    which = f"{len(open_)}, such as {runner['b']}" if len(open_) > 1 else runner["b"]
    return f"{first}. It is {', '.join(parts)}, and statistically indistinguishable from {which} ({gap})."


def _with_seeds(pairs: pd.DataFrame) -> list[str]:
    """The second cells of pairs; with their seeds, where the verdict is of so many."""
    said = zip(pairs["b"], pairs["verdict"].str.partition(" at ")[2], strict=True)
    return [f"{cell} ({seeds})" if seeds else cell for cell, seeds in said]


def _all_open(told: int, rivals: int, runner: str) -> tuple[str, str]:
    """Which cells the best is like, and which is next, where it is like all that can be judged: so many of so many."""
    if told == rivals:
        return ("every other cell", f"the next, {runner},") if rivals > 1 else ("the other cell", runner)
    if told == 1:
        return "the one other cell that can be judged", runner
    which = "both" if told == 2 else f"all {told}"
    return f"{which} other cells that can be judged", f"the next of them, {runner},"


def _gap(comparison: Comparison, pair: pd.Series) -> str:
    """How far the second cell of a pair is from the first, and which way, over the seeds that the pair is of.

    These are fewer than those of the cells' means where one has seeds that the other lacks; they may tell otherwise.
    """
    difference = pair["difference"]
    apart = f"{points(difference)} {'ahead' if difference < 0 else 'behind'}" if difference else "level with it"
    if comparison.looks:
        return f"{apart} at {counted(pair['n'], 'seed')}"
    scored = comparison.scored
    seeds = scored[scored["independent"]].groupby(CELL)[REPLICATE].nunique()
    if pair["n"] < max(seeds.get(pair["a"], 0), seeds.get(pair["b"], 0)):
        return f"{apart} over the {counted(pair['n'], 'seed')} that they share"
    return apart if comparison.independent else f"{apart} over {pair['n']} independent replicates"


def _first(comparison: Comparison) -> str:
    """What was trained, the cell that scored highest, and how high."""
    best = comparison.summary.iloc[0]
    at = ", ".join(f"{key}={as_typed(best[key])}" for key in comparison.tuned if best[CELL] in comparison.chose(key))
    scored = comparison.scored[comparison.scored[CELL] == best[CELL]]
    anew = ", chosen in a search and trained anew" if (scored["phase"] == CONFIRM).any() else ""
    name = f"{best[CELL]}{f' (with {at}{anew})' if at else ''}"
    mean = interval(*(best[f"test_accuracy_{part}"] for part in ("mean", "ci_low", "ci_high")))
    summary = comparison.summary
    level = summary.loc[np.isclose(summary["score"], best["score"], rtol=0, atol=1e-12), CELL].tolist()[1:]
    as_high = f" (as high as {listed(level)})" if level else ""
    reached = f"scored highest{as_high}:" if len(summary) > 1 else "reached"
    text = f"{sentence(trained(comparison))[:-1]}, {name} {reached} "
    if diverged := int((scored["status"] == DIVERGED).sum()):
        return (
            f"{text}{best['score'] * 100:.2f} % test accuracy over {counted(len(scored), 'run')}, of which {diverged} "
            f"{_diverged(diverged)}; the rest reached {mean} %"
        )
    independent = int(scored["independent"].sum())
    has_interval = independent < len(scored) and np.isfinite(best["test_accuracy_ci_low"])
    by = f", the interval by {counted(independent, 'independent replicate')}" if has_interval else ""
    guessing = scored["at_chance"].fillna(False).all()
    chance = ", which is not shown to be better than always naming the commonest class" if guessing else ""
    return f"{text}{mean} % test accuracy (n = {best['n']}{by}){chance}"


def _diverged(count: int) -> str:
    return "diverged and counts as 0" if count == 1 else "diverged and count as 0"


def _elsewhere(comparison: Comparison) -> str:
    """The differences that are real where none is with the best cell, whose noise may be all the trouble."""
    real = comparison.pairs[are(comparison.pairs["verdict"], BETTER, WORSE)]
    if real.empty:
        return ""
    one = real.sort_values("p_corrected", kind="stable").iloc[0]
    better, worse = (one["a"], one["b"]) if one["verdict"].startswith(BETTER) else (one["b"], one["a"])
    return f" {len(real)} of {counted(len(comparison.pairs), 'pair')} do differ, such as {better}, better than {worse}."


def _effects(comparison: Comparison) -> str:
    table = comparison.effects
    if table.empty:
        return ""
    *mains, both = (row for _, row in table.iterrows())
    parts = []
    for row in mains:
        name, p = _called(row["effect"]), probability(row["p"])
        parts.append(
            f"{name} matters (p {p}; its best and worst are {points(row['range'])} apart on average)"
            if row["p"] < MATTERS
            else f"no effect of {name} on average was found (p {p})"
            if np.isfinite(row["p"])
            else f"whether {name} matters cannot be told (its values are {points(row['range'])} apart in every seed)"
        )
    tuned = " once " + ", ".join(comparison.tuned) + " is tuned" if comparison.tuned else ""
    if np.isfinite(both["p"]):
        joint = "and the effect of one depends on the other" if both["p"] < MATTERS else "no interaction was found"
        joint += f" (p {probability(both['p'])})"
    else:
        joint = "and whether the effect of one depends on the other cannot be told (it is the same in every seed)"
    text = f"{parts[0]}, {parts[1]}, {joint}{tuned}."
    differ = bool(are(comparison.pairs["verdict"], BETTER, WORSE).any())
    if differ and (table["p"] >= MATTERS).all():
        text += (
            " Single pairs of cells do differ, which is no contradiction: the noise of a pair is judged with that of "
            "all other pairs, that of an average with few others."
        )
    if any(row["p"] < MATTERS for row in mains) and not differ:
        text += (
            " No single pair of cells is significantly different, which is no contradiction: an effect averages over "
            "the other key, so it rests on more runs than any pair."
        )
    return text if parts[0].startswith(f"{mains[0]['effect']} ") else text[0].upper() + text[1:]


def _called(key: str) -> str:
    """A key as the subject of a sentence: groups by their names, settings as they are typed."""
    return f"the {NAMES.get(key, key)}" if key in GROUPS else key


def _speed(comparison: Comparison) -> str:
    summary = comparison.summary
    target = f"{comparison.target * 100:g} % {timed_split(comparison)} accuracy"
    runs = comparison.scored
    chosen = f" {judged_by(comparison.runs)}" if comparison.tuned else ""  # of others nothing is told
    if not (summary["reached_target"] > 0).any():
        completed = " completed" if (runs["status"] == DIVERGED).any() else ""  # which may have been there before
        return f"No{completed} run{chosen} reached {target}{_nearer_target(comparison)}."
    stacked = bool((runs["stack_size"] > 1).any())  # in a stack an epoch takes all runs equally long
    epochs = summary["epochs_to_target"].min()
    if not np.isfinite(epochs):
        return f"In no cell did more than half of the runs{chosen} reach {target}."
    first = summary[summary["epochs_to_target"] == epochs].sort_values("seconds_to_target", kind="stable")
    cells, reached = first[CELL].tolist(), int(first["reached_target"].sum())
    ended = int(runs[CELL].isin(cells).sum())
    seconds = "" if stacked else f" and {first['seconds_to_target'].iloc[0]:.1f} s"
    tied = "" if len(cells) == 1 else f", as soon as {listed(cells[1:])}"
    return (
        f"Fastest to {target}: {cells[0]}, in {counted(epochs, 'epoch')}{seconds}{tied} "
        f"(medians, not tested; {reached} of {counted(ended, 'run')} reached it)."
    )


def _nearer_target(comparison: Comparison) -> str:
    """The most that was reached, and a rounder, lower target that half of the cells would reach, and two at least."""
    highest = comparison.scored["highest_accuracy"]
    of_cells = comparison.scored.groupby(CELL)["highest_accuracy"]
    # Of an even number of runs the lower middle one, as the median time is infinite unless both arrive.
    cells = of_cells.quantile(0.5, interpolation="lower").dropna().sort_values(ascending=False)
    enough = cells.iloc[min(len(cells) - 1, max(1, (len(cells) - 1) // 2))]
    lower = [target for target in TARGETS if target <= enough]
    return f"; the best reached {_floor(highest.max())} %" + (
        f": --target {lower[0]:g} would {'compare' if len(cells) > 1 else 'give'} times" if lower else ""
    )


def _floor(accuracy: float) -> str:
    """Per cent with two digits behind the point, never rounded up to a target that was missed."""
    return f"{math.floor(round(accuracy * 1e4, 6)) / 100:g}"
