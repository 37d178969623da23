"""Sentences about verdicts on pairs of cells, for all parts of the report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.effort import TuningEffort
from mnist_mlp.analysis.notes import list_names
from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.report.text.units import in_points
from mnist_mlp.stats.moderated_t import FEWEST
from mnist_mlp.stats.pairs import MAX_SEEDS
from mnist_mlp.stats.verdicts import Reason, Verdict

REASONS = {
    Reason.TOO_FEW_SEEDS: f"fewer than {FEWEST} seeds in common",
    Reason.TOO_FEW_INDEPENDENT: f"fewer than {FEWEST} independent replicates in common",
    Reason.UNEQUAL_TUNING: "unequal tuning effort; tune both alike",
    Reason.NO_VARIANCE: "the seeds show no noise to measure the difference against",
    Reason.NOT_CONFIRMED: "the selected configurations have not been confirmed; rerun the sweep's command",
    Reason.NO_ANALYSIS: "the sweep adds seeds until it is decided, and has no valid interim analysis yet",
    Reason.LOST_RUN: "a run of an earlier interim analysis has no result; rerun the sweep's command",
    Reason.OUTSIDE_PLAN: "the sweep added seeds until it was decided; report on it alone, by init and optim",
}


def explain(pair: Mapping[Any, Any], efforts: Mapping[str, TuningEffort]) -> str:
    """Explain why a pair is not tested.

    Args:
        pair: Row of `Comparison.pairs` with a reason.
        efforts: Tuning effort of each cell.
    """
    a, b = (efforts.get(str(pair[side])) for side in "ab")
    if pair["reason"] == Reason.UNEQUAL_TUNING and a and b:
        return f"tuned over {a} against {b}; tune both alike"
    return REASONS[Reason(str(pair["reason"]))]


def list_explanations(comparison: Comparison, pairs: pd.DataFrame) -> str:
    """Explain why pairs are not tested: each explanation once, the first few of many."""
    untested = pairs[pairs["verdict"] == Verdict.NOT_TESTED]
    texts = [explain(pair, comparison.efforts) for pair in untested.to_dict("records")]
    return list_names(list(dict.fromkeys(texts)))


def full_verdicts(comparison: Comparison, pairs: pd.DataFrame) -> list[str]:
    """Return the verdict on each pair with what qualifies it: margin, additional seeds or reason."""
    details = {
        Verdict.EQUIVALENT: lambda pair: f" within {margin_in_points(comparison)}",
        Verdict.INCONCLUSIVE: lambda pair: f": {seeds_needed(pair['additional_seeds'])}",
        Verdict.NOT_TESTED: lambda pair: f": {explain(pair, comparison.efforts)}",
    }
    return [
        f"{pair['verdict']}{details.get(Verdict(pair['verdict']), lambda pair: '')(pair)}"
        for pair in pairs.to_dict("records")
    ]


def margin_in_points(comparison: Comparison) -> str:
    """Return the equivalence margin in percentage points, such as "0.5 points" or "1 point"."""
    return in_points(comparison.margin or 0)


def seeds_needed(additional_seeds: float) -> str:
    """Say how many additional seeds an inconclusive comparison needs."""
    if np.isfinite(additional_seeds):
        return f"about {with_noun(round(additional_seeds), 'additional seed')} needed"
    return f"more than {MAX_SEEDS:,} seeds needed, if there is a difference at all"
