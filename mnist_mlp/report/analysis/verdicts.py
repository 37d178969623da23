"""What a pair's verdict says, by its first words; the rest of it is for the reader."""

import pandas as pd

BETTER, WORSE, EQUIVALENT, OPEN, UNTOLD = "better", "worse", "equivalent", "indistinguishable", "cannot be told"


def are(verdicts: pd.Series, *kinds: str) -> pd.Series:
    """Which of these verdicts are of one of these kinds."""
    return verdicts.astype("str").str.startswith(kinds)


def reason(verdict: str) -> str:
    """Why a pair cannot be told."""
    return verdict.removeprefix(UNTOLD).lstrip(": ")
