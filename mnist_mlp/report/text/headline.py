"""Headline of a report: one or two sentences that a reader can repeat, made from claims (see `analysis.claims`)."""

import math
from collections.abc import Sequence

from mnist_mlp.analysis.claims import CELLS, Claim, Claims
from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.roles import CELL, value_name
from mnist_mlp.analysis.sources import join_words
from mnist_mlp.analysis.values import as_typed
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.schema import DERIVED, GROUPS, LEARNING_RATE
from mnist_mlp.base.sweep_file import ONCE
from mnist_mlp.report.text.captions import KEY_NAMES
from mnist_mlp.report.text.units import Unit, in_points

LISTED = 3  # values or cells that a headline names


def headline(comparison: Comparison) -> str:
    """Return the headline of a comparison; empty if no difference was tested, or no run was completed.

    Each claim that something makes no difference has its bound. The claims hold together at an error rate of 5%.
    """
    claims = comparison.claims
    if not claims.of or not (comparison.summary["n"] > 0).any():
        return ""
    differing = [words for claim in claims.of if (words := _difference(claim, comparison))]
    others = [claim for claim in claims.of if len(claim.groups) == 1 and not claim.significant]
    bounded = [claim for claim in others if math.isfinite(claim.bound)]
    average = "" if claims.of[0].key == CELLS else " on average"
    sentences = []
    if differing:
        sentences.append(f"{_prefix(comparison)}{'; '.join(differing)}{average}")
    if bounded:
        bounds = _bounds(bounded, comparison)
        none = f"{_prefix(comparison)}no difference is certain{average}: {bounds}"
        sentences.append(f"{bounds[0].upper()}{bounds[1:]}{average}" if differing else none)
    if untested := [claim for claim in others if not math.isfinite(claim.bound)]:
        names = join_words([_noun(claim.key) for claim in untested])
        sentences.append(f"Whether the {names} {'matters' if len(untested) == 1 else 'matter'} was not tested")
    if depends := _interactions(claims):
        sentences = [*sentences[:-1], f"{sentences[-1]}; {depends}"]
    text = f"{'. '.join(sentences)}.".replace(" points", " percentage points", 1)
    if (metric := comparison.metric) == ACCURACY:
        return text
    return f"By {metric.name} ({'less' if metric.is_less_better else 'more'} is better): {text[0].lower()}{text[1:]}"


def _prefix(comparison: Comparison) -> str:
    """Return the condition under which the claims hold, as the beginning of a sentence."""
    is_rate = list(comparison.tuned) == [LEARNING_RATE]
    if not comparison.tuned:
        is_unfair = "optim" in comparison.by and LEARNING_RATE not in comparison.by
        return "Without tuning, " if is_unfair else "At these settings, "
    if comparison.select == ONCE:
        return f"At the {'learning rates' if is_rate else 'configurations'} selected here, "
    return f"Once {'the learning rate' if is_rate else 'each cell'} is tuned, "


def _difference(claim: Claim, comparison: Comparison) -> str:
    """Say which values or cells differ; empty if no difference is significant."""
    unit = Unit(comparison.metric)
    first, last, gap = claim.groups[0], claim.groups[-1], unit.about(claim.gap)
    several = f"{_noun(claim.key)}s" if claim.key == CELLS or claim.key in GROUPS else f"values of {claim.key}"
    rest = f"; no two {{}} differ by more than {unit.at_most(claim.bound)}" if math.isfinite(claim.bound) else ""
    if len(claim.groups) == 1:
        if not claim.significant:
            return ""
        assert claim.strongest is not None
        better, worse, difference = claim.strongest
        (better,), (worse,) = (_names(claim.key, [member], comparison) for member in (better, worse))
        text = f"{better} is better than {worse}, by about {unit.about(difference)}"
        if claim.significant > 1:
            of = f"{claim.significant} of {claim.tested} pairs of {several} differ"
            text = f"{of}, most significantly {better}, better than {worse} by about {unit.about(difference)}"
        return text + (
            f"; no two differ by more than {unit.at_most(claim.bound)}" if math.isfinite(claim.bound) else ""
        )
    if len(claim.groups) > 2:
        order = ", then ".join(" or ".join(_names(claim.key, group, comparison)) for group in claim.groups)
        text = f"the {several} differ in this order, the best first: {order}; the first and the last by about {gap}"
        return text + rest.format("joined by or")
    if len(first) == len(last) == 1:
        (better,), (worse,) = (_names(claim.key, group, comparison) for group in (first, last))
        return f"{better} is better than {worse}, by about {gap}"
    named, verb = (last, "falls behind") if len(last) <= len(first) else (first, "is better than")
    many = {"falls behind": "fall behind", "is better than": "are better than"}
    names = _names(claim.key, named, comparison)
    verb = verb if len(names) == 1 and not names[0][0].isdigit() else many[verb]
    others = "of the others" if len(named) == 1 else "of one group"
    return f"{join_words(names)} {verb} all other {several}, by about {gap}{rest.format(others)}"


def _bounds(claims: Sequence[Claim], comparison: Comparison) -> str:
    """Say how much keys without a significant difference can matter."""
    parts: list[str] = []
    unit = Unit(comparison.metric)
    for claim in claims:
        untested = claim.differences - claim.tested
        but = f", apart from {untested} pairs that were not tested" if untested else ""
        verb = f" one takes changes the {comparison.metric.name}" if not parts else ""
        equal = ""
        if comparison.margin is not None and claim.bound <= comparison.margin and not untested:
            equal = f" (equivalent within {in_points(comparison.margin)})"
        parts.append(f"which {_noun(claim.key)}{verb} by at most {unit.at_most(claim.bound)}{equal}{but}")
    return join_words(parts)


def _interactions(claims: Claims) -> str:
    if not claims.interactions:
        return ""
    if len(claims.interactions) == 1:
        (one, other) = claims.interactions[0].keys
        return f"the effect of the {_noun(one)} depends on the {_noun(other)}"
    pairs = [f"{_noun(a)} and {_noun(b)}" for a, b in (interaction.keys for interaction in claims.interactions)]
    return f"these depend on each other: {', '.join(pairs)}"


def _noun(key: str) -> str:
    if key == CELLS:
        return "cell"
    return KEY_NAMES.get(key, key) if key in (*GROUPS, *DERIVED) else f"value of {key}"


def _names(key: str, members: Sequence[str], comparison: Comparison) -> list[str]:
    """Return the names of values or cells. Cells are named by the value that only they have, if there is one."""
    if key != CELLS:
        return [value_name(key, member) for member in members]
    if len(members) > 1 and (common := _common_value(members, comparison)):
        return [f"each cell with {common}"]
    return list(members) if len(members) <= LISTED else [f"{len(members)} cells"]


def _common_value(members: Sequence[str], comparison: Comparison) -> str:
    """Return the value of a compared key that these cells have, and no other cell; empty without one."""
    summary = comparison.summary.set_index(CELL)
    for key in comparison.by:
        values = summary[key].map(as_typed)
        of_members = set(values[list(members)])
        if len(of_members) == 1 and set(values.index[values.isin(of_members)]) == set(members):
            (value,) = of_members
            return value_name(key, value)
    return ""
