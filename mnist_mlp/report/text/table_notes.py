"""Notes below the tables of a report: the meaning of letters and of the columns of the effects."""

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.stats.verdicts import Verdict


def letters(comparison: Comparison) -> str:
    """Say what the letters of the leaderboard mean, and how many pairs were not tested; empty without letters."""
    if (comparison.summary["letters"] == "").all():
        return ""
    untested = int((comparison.pairs["verdict"] == Verdict.NOT_TESTED).sum())
    rest = f", as do the cells of {with_noun(untested, 'pair')} that could not be tested" if untested else ""
    return f"cells that do not differ significantly share at least one{rest}."


def effects(comparison: Comparison) -> str:
    """Explain the columns of the table of effects."""
    return (
        "Range: the highest minus the lowest mean of the key's values, which chance alone makes positive. Difference, "
        "interval and p belong to the most significant difference of the effect. At most: the largest value in the "
        "intervals of all its differences; a larger one is ruled out, at an error rate of 5% for each effect. An "
        "average over the other keys can hide opposite effects: if an interaction is significant, compare within the "
        "values of the other key."
    )
