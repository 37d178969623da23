"""Sentences on the method: selection, tests, interim analyses and limits."""

from collections.abc import Iterator

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.notes import list_names
from mnist_mlp.analysis.roles import CELL, has, search_runs, share
from mnist_mlp.analysis.selection import selection_split
from mnist_mlp.analysis.values import as_typed, cell_key, sort_key
from mnist_mlp.base.interim import SequentialRecord
from mnist_mlp.base.sweep_file import CONFIRM, EACH
from mnist_mlp.report.text import budget, noise
from mnist_mlp.report.text.captions import SPLIT_NAMES
from mnist_mlp.report.text.units import in_points

FEW_CELLS = 3  # too few to moderate variances (see `mnist_mlp.stats.moderated_t.moderate`)


def method(comparison: Comparison) -> list[str]:
    """Return the sentences on how the numbers were computed."""
    return [
        f"Compared: {', '.join(comparison.by)}. Seeds are replicates: blocks that all cells share.",
        *_selection(comparison),
        "Intervals of a mean are Student's 95% intervals (n - 1 degrees of freedom). Verdicts rest on the differences "
        "of pairs, not on whether these intervals overlap.",
        *_tests(comparison),
        *_looks(comparison.looks),
        *noise.method(comparison.variance_components),
        *budget.method(comparison),
        *(
            ["Time to target is a median over seeds; runs that diverge or never reach the target count as infinite."]
            if comparison.target is not None
            else []
        ),
        *_limits(comparison),
    ]


def _selection(comparison: Comparison) -> Iterator[str]:
    """Yield sentences on how configurations were selected and which runs are scored."""
    runs = search_runs(comparison.runs)
    split = SPLIT_NAMES[selection_split(runs)]
    for key in comparison.tuned:
        having = runs[has(runs, key)]
        values = having[key].map(as_typed).groupby(having[CELL], sort=False)
        values_of = {cell: ", ".join(sorted(set(of_cell), key=sort_key)) for cell, of_cell in values}
        own = list_names([f"{cell}: {values_of[cell]}" for cell in sorted(values_of, key=cell_key)])
        among = f"its own values ({own})" if len({*values_of.values()}) > 1 else next(iter(values_of.values()))
        where = "" if {*values_of} >= {*runs[CELL]} else " that has it"
        yield f"{key} was selected in each cell{where} among {among}. runs.csv has all of them."
    if comparison.tuned:
        unit = "each seed of a cell selects for itself" if comparison.select == EACH else "each cell selects once"
        by = "" if comparison.select == EACH else ", by means over its seeds"
        yield (
            f"Selection: {unit}{by}: the highest {split} accuracy after the last epoch, where a diverged run counts as "
            "0. Ties go to the lower loss, then to the smaller value."
        )
    if comparison.confirmed:
        confirmed = comparison.scored.loc[comparison.scored["phase"] == CONFIRM, CELL].nunique()
        cells = comparison.scored[CELL].nunique()
        where = "" if confirmed == cells else f"In {confirmed} of {cells} cells, "
        what = (
            "what each seed selected is retrained with a fresh seed"
            if comparison.select == EACH
            else "what was selected is retrained with fresh seeds"
        )
        text = (
            f"scores, curves and verdicts use confirmation runs: {what} that took no part in the "
            "selection. Runs of the search only select (`phase` in runs.csv)."
        )
        yield where + text if where else text[0].upper() + text[1:]
    elif comparison.tuned and comparison.select == EACH:
        yield (
            "Each seed of a cell is scored at the configuration that the previous seed selected (in ascending order; "
            "the first uses that of the last), so that luck in the selection does not enter the score."
        )
    if comparison.tuned:
        about = (
            "tuning over these candidates, with this validation split and this test set"
            if comparison.select == EACH
            else "these configurations, not about tuned cells"
        )
        yield f"Verdicts are about {about}."


def _tests(comparison: Comparison) -> Iterator[str]:
    """Yield sentences on the tests of pairs and effects."""
    if comparison.tested_cells:
        noise_of = (
            "With so few cells, the variance of each pair is estimated separately."
            if comparison.tested_cells <= FEW_CELLS
            else "The variance of each pair is moderated by all others (Smyth 2004), as far as they are similar."
        )
        yield (
            "Pairs: paired t-tests, seed by seed, of those pairs of cells that share at least three seeds "
            f"({comparison.tested_cells} cells), with simultaneous 95% intervals "
            f"(Šidák's correction for all such pairs). {noise_of}"
        )
    if not (table := comparison.effects.table).empty:
        others = "key" if len(comparison.by) == 2 else "keys"
        yield (
            f"Effects: the same tests, of averages over the other {others} within each seed, and of differences of "
            "differences for interactions; p belongs to the most significant difference. P-values and intervals hold "
            f"for all differences of an effect. Each of the {len(table)} effects is tested at 5% separately, so the "
            "probability of any false one among them is higher. Shares are of the variance of the cells' means."
        )


def _limits(comparison: Comparison) -> Iterator[str]:
    """Yield sentences on the limits of the numbers."""
    images = comparison.runs["test_size"].dropna().unique()
    yield (
        f"The {f'{images[0]:,.0f} ' if len(images) == 1 else ''}test images are a sample, too, for which no number of "
        "seeds compensates: differences and intervals hold for this test set."
    )
    if (sizes := comparison.runs["stack_size"]).max() > 1:
        stacked = int((sizes > 1).sum())
        yield (
            f"{share(stacked, len(sizes), 'run')} {'was' if stacked == 1 else 'were'} trained in stacks; seconds are "
            "then an equal share of the stack's, and say nothing about the optimizer."
        )


def _looks(looks: SequentialRecord | None) -> list[str]:
    """Return sentences on added seeds and interim analyses; empty without them."""
    if looks is None:
        return []
    counts = list_names([f"{len(look.seeds)} (p below {look.level:.2g})" for look in looks.looks])
    within = (
        f", or was shown to differ from it by less than {in_points(looks.plan.margin)}"
        if looks.plan.margin is not None
        else ""
    )
    return [
        f"Seeds were added to each cell until it was worse than the best{within}, or had "
        f"{looks.plan.max_seeds}. "
        f"Interim analyses took place after {counts} seeds. Together they have the error rate of a "
        "single test: each spends its share of 5% (Lan and DeMets 1983, with the spending function of O'Brien and "
        "Fleming), and each pair is judged by the analysis that decided it. Effects use the initial seeds, which all "
        "cells have."
    ]
