"""Numbers of the statistics as text."""

import numpy as np

from mnist_mlp.report.analysis.contrasts import CONFIDENCE

MATTERS = 1 - CONFIDENCE


def probability(p: float) -> str:
    """A p-value, as it follows the letter p; with as many digits as tell on which side of the level it is."""
    if p < 0.001:
        return "< 0.001"
    texts = (f"{p:.{digits}f}" for digits in range(3 if p < 0.1 else 2, 18))
    return f"= {next((text for text in texts if float(text) != round(MATTERS, 12)), p)}"


def interval(mean: float, low: float, high: float) -> str:
    """A fraction as per cent with its interval, as "97.32 [97.28, 97.36]"; nothing where there is none."""
    if np.isnan(mean):
        return ""
    return f"{mean * 100:.2f}" + ("" if np.isnan(low) else f" [{low * 100:.2f}, {high * 100:.2f}]")


def points(difference: float) -> str:
    """A difference of accuracies, whichever way."""
    return f"{abs(difference) * 100:.2f} points"
