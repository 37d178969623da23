"""Formatting of statistics."""

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
