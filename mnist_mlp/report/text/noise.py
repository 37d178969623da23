"""Variance components as a sentence, a table and a description of the method."""

import re

import pandas as pd

from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.analysis.sources import join_words
from mnist_mlp.report.text.units import OF_ACCURACY, Unit
from mnist_mlp.stats.variance_components import CROSSED, INTERACTION, INTERACTIONS, TOTAL, VarianceComponents

ARTICLE = "weights|batches"  # sources that take an article in a sentence


def sentence(split: VarianceComponents | None, unit: Unit = OF_ACCURACY) -> str:
    """Say how much of the variance each source causes; empty if fewer than two seeds vary independently."""
    if split is None:
        return ""
    if not split.design:
        return f"The sources of noise were not estimated: {split.reason}."
    rows = [row for _, row in split.table.iterrows() if row["source"] != TOTAL]
    if split.design == CROSSED:
        parts = [f"{_share(row)} comes from {_called(row['source'])}" for row in rows]
        return (
            f"Of the variance between seeds, {join_words([parts[0], *(p.replace(' comes', '') for p in parts[1:])])}."
        )
    parts = [f"{unit.size(row['sd'])} {_ends(row, unit)} over {_called(row['source'])}" for row in rows]
    a = "an" if unit.metric.name[0] in "aeiou" else "a"
    return f"With the other seeds fixed, the standard deviation of {a} {unit.metric.name} is {join_words(parts)}."


def table(split: VarianceComponents | None, unit: Unit = OF_ACCURACY) -> pd.DataFrame:
    """Format the variance components; empty without them."""
    if split is None or not split.design:
        return pd.DataFrame()
    rows = [row for _, row in split.table.iterrows()]
    shown = {
        "source": [row["source"] for row in rows],
        "seeds": [str(row["seeds"]) for row in rows],
        unit.with_unit("standard deviation"): [f"{unit.number(row['sd'])} {_ends(row, unit)}" for row in rows],
    }
    if split.design == CROSSED:
        shown["share of variance"] = [_share(row) if row["source"] != TOTAL else "100%" for row in rows]
    return pd.DataFrame(shown)


def method(split: VarianceComponents | None) -> list[str]:
    """Return sentences on dependent runs and variance components; empty if fewer than two seeds vary independently."""
    if split is None:
        return []
    lines = [
        "Runs that share the seed of one random stream but not of another are not independent: intervals and verdicts "
        "use only replicates of which no two share a varying seed; means use all runs."
    ]
    if not split.design:
        return lines
    over = f"averaged over {with_noun(split.cells, 'cell')}, so that noisier ones weigh more"
    if split.cells < split.of:
        over += f"; in the others of {split.of} cells, runs did not complete"
    how = (
        "variance components of the crossed seeds within a cell, by expected mean squares of random effects; the "
        "joint effect of sources is their interaction, and a negative estimate counts as 0"
        if split.design == CROSSED
        else "the variance over the seeds of one source, others fixed, interactions included (Bouthillier et al. 2021)"
    )
    lines.append(
        f"Sources of noise: {how}; {over}. Intervals are generalized 95% confidence intervals (Weerahandi "
        "1993), with fewer degrees of freedom the more similar the cells are (Greenhouse & Geisser 1959)."
    )
    return lines


def _called(source: str) -> str:
    if source in (INTERACTION, INTERACTIONS):
        return f"their {source}"
    return re.sub(ARTICLE, r"the \g<0>", source)


def _share(row: pd.Series) -> str:
    return f"{row['share']:.0%} [{row['share_low'] * 100:.0f}, {row['share_high'] * 100:.0f}]"


def _ends(row: pd.Series, unit: Unit) -> str:
    return f"[{unit.number(row['sd_low'])}, {unit.number(row['sd_high'])}]"
