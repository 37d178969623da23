"""Other common tests of all pairs, measured beside the report, on complete tables of accuracies, cells x seeds."""

import functools

import numpy as np
from scipy import special, stats

LEVEL = 0.05


def paired_holm(y: np.ndarray) -> np.ndarray:
    """Return the significant pairs of paired t-tests with Holm's correction."""
    i, j = np.triu_indices(len(y), 1)
    d = y[i] - y[j]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(d.mean(axis=1) / (d.std(axis=1, ddof=1) / np.sqrt(y.shape[1])))
    p = 2 * special.stdtr(y.shape[1] - 1, -np.abs(t))
    order = np.argsort(p)
    passed = np.minimum.accumulate(p[order] <= LEVEL / np.arange(len(p), 0, -1))  # none after the first that fails
    found = np.zeros(len(p), dtype=bool)
    found[order] = passed
    return found


@functools.cache
def critical(cells: int, seeds: int) -> float:
    """Return Tukey's critical value."""
    return float(stats.studentized_range.isf(LEVEL, cells, (cells - 1) * (seeds - 1)))


def pooled_tukey(y: np.ndarray) -> np.ndarray:
    """Return the significant pairs of Tukey's test in randomized blocks."""
    i, j = np.triu_indices(len(y), 1)
    residual = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    error = np.sqrt((residual**2).sum() / ((len(y) - 1) * (y.shape[1] - 1)) / y.shape[1])
    return np.asarray(np.abs(y[i].mean(axis=1) - y[j].mean(axis=1)) > critical(*y.shape) * error)
