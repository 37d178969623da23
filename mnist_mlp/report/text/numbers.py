"""Numbers of the statistics as text."""

import numpy as np

from mnist_mlp.stats.moderated_t import CONFIDENCE

MATTERS = 1 - CONFIDENCE
SMALLEST = 0.001  # p-value that is given as a number


def p_value(p: float) -> str:
    """Return a p-value with as many digits as show on which side of the level it is; "< 0.001" below that."""
    if p < SMALLEST:
        return f"< {SMALLEST:g}"
    texts = (f"{p:.{digits}f}" for digits in range(3 if p < 0.1 else 2, 18))
    return next((text for text in texts if float(text) != round(MATTERS, 12)), str(p))


def probability(p: float) -> str:
    """Return a p-value as it follows the letter p: "= 0.043" or "< 0.001"."""
    return p_value(p) if p < SMALLEST else f"= {p_value(p)}"


def interval(mean: float, low: float, high: float) -> str:
    """A fraction as per cent with its interval, as "97.32 [97.28, 97.36]"; nothing where there is none."""
    if np.isnan(mean):
        return ""
    return f"{mean * 100:.2f}" + ("" if np.isnan(low) else f" [{low * 100:.2f}, {high * 100:.2f}]")


def points(difference: float) -> str:
    """A difference of accuracies, whichever way."""
    return f"{abs(difference) * 100:.2f} points"
