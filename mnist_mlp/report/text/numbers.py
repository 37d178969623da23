"""Formatting of statistics."""

import numpy as np

from mnist_mlp.stats.moderated_t import CONFIDENCE

MATTERS = 1 - CONFIDENCE
SMALLEST = 0.001  # smaller p-values are reported as "< 0.001"


def p_value(p: float) -> str:
    """Format a p-value with enough digits to show on which side of the level it lies, or as "< 0.001"."""
    if p < SMALLEST:
        return f"< {SMALLEST:g}"
    texts = (f"{p:.{digits}f}" for digits in range(3 if p < 0.1 else 2, 18))
    return next((text for text in texts if float(text) != round(MATTERS, 12)), str(p))


def probability(p: float) -> str:
    """Format a p-value with its relation, such as "= 0.043" or "< 0.001"."""
    return p_value(p) if p < SMALLEST else f"= {p_value(p)}"


def interval(mean: float, low: float, high: float) -> str:
    """Format a fraction and its interval in percent, such as "97.32 [97.28, 97.36]"; empty if the mean is NaN."""
    if np.isnan(mean):
        return ""
    return f"{mean * 100:.2f}" + ("" if np.isnan(low) else f" [{low * 100:.2f}, {high * 100:.2f}]")


def points(difference: float) -> str:
    """Format the size of a difference of accuracies in percentage points."""
    return f"{abs(difference) * 100:.2f} points"
