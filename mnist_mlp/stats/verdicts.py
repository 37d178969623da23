"""Verdicts on pairs of cells, and the reasons why a pair is not tested."""

from enum import StrEnum


class Verdict(StrEnum):
    """Verdict on the first cell of a pair compared with the second."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTED = "not tested"

    def reversed(self) -> "Verdict":
        """Return the verdict on the second cell compared with the first."""
        return {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}.get(self, self)


SIGNIFICANT = (Verdict.BETTER, Verdict.WORSE)
UNDECIDED = (Verdict.INCONCLUSIVE, Verdict.NOT_TESTED)


class Reason(StrEnum):
    """Reason for `Verdict.NOT_TESTED`."""

    TOO_FEW_SEEDS = "too few seeds"
    TOO_FEW_INDEPENDENT = "too few independent replicates"
    UNEQUAL_TUNING = "unequal tuning"
    NO_VARIANCE = "no variance"
    NOT_CONFIRMED = "not confirmed"
    NO_ANALYSIS = "no interim analysis"
    LOST_RUN = "lost run"
    OUTSIDE_PLAN = "outside the sequential plan"
