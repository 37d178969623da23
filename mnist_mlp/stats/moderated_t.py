"""Moderated t-tests: paired t-tests of many differences at once, whose variances borrow strength from one another.

Replicates, such as seeds, are blocks: cells are compared within each replicate. This cancels the effect that a seed has
on all cells. Each difference has its own variance over the replicates, so cells may be unequally noisy. With few
replicates, this variance is uncertain, and t-tests with n - 1 degrees of freedom have little power among many cells. So
each variance is moderated by all others (Smyth 2004, "Linear models and empirical Bayes methods", Statistical
Applications in Genetics and Molecular Biology 3:3):

- If the variances are alike, each is shrunk towards their center and gains degrees of freedom.
- If the variances differ, each stays nearly as it is.
- With up to three cells there is nothing to borrow, and the tests are plain paired t-tests.

The prior of the variances has a scale (their center) and a spread (how much they differ). Smyth plugs in estimates of
both. Here, p-values are averaged over their posterior distribution, which keeps false verdicts rare with few cells.
Šidák's correction makes p-values and intervals hold for all differences simultaneously.

Every design is tested in this one way; no preliminary test selects the method. `benchmarks/verdicts.py` measures the
error rates.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy.optimize.elementwise import find_root

CONFIDENCE = 0.95
FEWEST = 3  # replicates; two hardly determine the noise of a difference
DECIMALS = 12  # of a difference of accuracies; smaller digits are rounding errors, not noise
SPREADS = 20  # grid points of the prior's spread
WIDEST = 2.0  # largest spread of the grid; the bulk of the variances then spans five orders of magnitude
SCALES = 60  # grid points of the prior's scale
# Differences that share cells are dependent: only `rank` of them are linearly independent. The two parameters of the
# prior use up two of these. Each of the other rank - 2 counts as `EACH` variances in the likelihood. The value is the
# largest that kept false verdicts below 5.5% in all simulations.
EACH = 3.0
NEGLIGIBLE = 1e-6  # cases of `Noise` with less weight, relative to the likeliest, are left out
PRECISE = 1e-9  # relative error of an interval's width


class ModeratedTests(NamedTuple):
    """Result of `moderated_tests`, one test per difference: arrays of shape (differences,), in the unit of the scores.

    Attributes:
        n: Number of replicates.
        mean: Mean over replicates.
        variance: Moderated variance of a single replicate's difference, averaged over the cases of `Noise`.
        freedom: Degrees of freedom of the variance, averaged over the cases of `Noise`.
        low: Low end of the simultaneous 95% interval; NaN if the noise is unknown.
        high: High end of the interval; NaN if the noise is unknown.
        p: Two-sided p-value without correction, in [0, 1]; 1 if the mean is 0, else NaN if the noise is unknown.
        p_corrected: Corrected p-value, for all differences together; below 0.05 exactly if `p` is below `level`.
        level: Significance level of each test, in (0, 1).
    """

    n: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_corrected: np.ndarray
    level: float


class Noise(NamedTuple):
    """Posterior distribution of the noise of each difference, as weighted cases.

    Attributes:
        weights: Weights of the cases, (cases,); their sum is 1.
        variance: Variance of a single replicate's difference in each case, (cases, differences).
        freedom: Degrees of freedom of the variance, (cases, differences).
    """

    weights: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray

    def tail(self, size: np.ndarray, which: Any = slice(None)) -> np.ndarray:
        """Return the probability that the noise of a single replicate's difference exceeds `size` in absolute value."""
        tails: np.ndarray = self.weights @ (
            2 * special.stdtr(self.freedom[:, which], -size / np.sqrt(self.variance[:, which]))
        )
        return tails

    def quantile(self, level: float, which: np.ndarray) -> np.ndarray:
        """Return the size whose `tail` is `level`, for the differences `which`."""
        variance, freedom = self.variance[:, which], self.freedom[:, which]
        least = -special.ndtri(level / 2) * np.sqrt(variance.min(axis=0))
        most: np.ndarray = -special.stdtrit(freedom.min(axis=0), level / 2) * np.sqrt(variance.max(axis=0))
        if len(self.weights) == 1:
            return most
        found = find_root(
            lambda log_size, which: np.log(self.tail(np.exp(log_size), which) / level),
            (np.log(least), np.log(most)),
            args=(which,),
            tolerances={"xatol": PRECISE},
        )
        sizes: np.ndarray = np.exp(found.x)
        return sizes


def moderated_tests(
    differences: np.ndarray,
    rank: int,
    images: float | None = None,
    level: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> ModeratedTests:
    """Test whether the mean of each row is zero.

    Args:
        differences: Differences of two scores, (differences, replicates), with at least three values per row; NaN if
            missing. Values are rounded to 12 decimals.
        rank: Number of linearly independent rows if none has a gap: one less than the number of cells.
        images: Number m of test images behind each accuracy, which gives a lower limit of the variance; None if unknown
            or for other scores. Two networks whose accuracies on the same m images differ by d disagree on at least m
            abs(d) of them. So the variance of d is at least max(abs(d), 1/m)/m (McNemar 1947, Psychometrika 12:153),
            even if a few replicates happen to agree.
        level: Significance level of each test, in (0, 1). None for the level by Šidák's correction, at which the
            probability of any false positive is 5%. A given level stands for a number of tests by the same correction;
            p-values are corrected for this number.
        bounds: Smallest and largest score, (0, 1) for accuracies; intervals are clipped to the differences that are
            possible between them. None if scores are unbounded.
    """
    rounded = np.round(differences, DECIMALS)
    n = np.isfinite(rounded).sum(axis=1)
    mean = np.asarray(np.round(np.nanmean(rounded, axis=1), DECIMALS))
    least = np.maximum(np.abs(mean), 1 / images) / images if images and images > 0 else np.zeros(len(n))
    seen = np.nanvar(rounded, axis=1, ddof=1)
    own = np.maximum(np.where(seen > 10.0 ** (-2 * DECIMALS), seen, 0.0), least)
    noise = moderate(own, n - 1.0, rank)
    noise = Noise(noise.weights, np.maximum(noise.variance, least), np.minimum(noise.freedom, rank * (n - 1.0)))
    tests = len(n) if level is None else float(np.log(CONFIDENCE) / np.log1p(-level))
    level = float(-np.expm1(np.log(CONFIDENCE) / tests))
    known = (noise.variance > 0).all(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(mean == 0, 1.0, np.where(known, noise.tail(np.abs(mean) * np.sqrt(n)), np.nan))
        corrected = -np.expm1(tests * np.log1p(-p))
    half = np.full(len(n), np.nan)
    half[known] = noise.quantile(level, np.flatnonzero(known)) / np.sqrt(n[known])
    low, high = mean - half, mean + half
    if bounds is not None:
        widest = bounds[1] - bounds[0]
        low, high = np.clip(low, -widest, widest), np.clip(high, -widest, widest)
    variance, freedom = noise.weights @ noise.variance, noise.weights @ noise.freedom
    return ModeratedTests(n, mean, variance, freedom, low, high, p, corrected, level)


def moderate(variance: np.ndarray, freedom: np.ndarray, rank: int) -> Noise:
    """Moderate each variance by all others.

    True variances are modeled as scaled inverse chi-square with D degrees of freedom and scale s. Given D and s, an
    estimate v with d degrees of freedom becomes (D s + d v) / (D + d) with D + d degrees of freedom (Smyth 2004,
    section 3). D and s are integrated over their posterior. Their prior is uniform in log s and in 1/sqrt(D), which is
    proportional to the spread of the logarithms of the variances.

    Args:
        variance: Estimated variances, (differences,), at least 0.
        freedom: Degrees of freedom of each estimate, (differences,).
        rank: See `moderated_tests`.

    Returns:
        One case per pair of D and s whose weight is not negligible. With up to three cells, or without a positive
        variance, there is nothing to borrow: the only case has the estimates themselves.
    """
    weight = min(1.0, EACH * (rank - 2) / len(variance))
    if weight <= 0 or not (variance > 0).any():
        return Noise(np.ones(1), variance[None], freedom[None])
    spreads = (np.arange(SPREADS) + 0.5) / SPREADS * WIDEST
    scales = np.geomspace(variance[variance > 0].min(), variance.max(), SCALES)[:, None]  # (scales, 1)
    log_weights = np.empty((SPREADS, SCALES))
    for row, d0 in enumerate(spreads**-2.0):  # a loop saves memory: there may be a hundred thousand differences
        shape = (d0 + freedom) / 2
        terms = special.gammaln(shape) - special.gammaln(d0 / 2) + d0 / 2 * np.log(d0 * scales)
        log_weights[row] = (terms - shape * np.log(d0 * scales + freedom * variance)).sum(axis=1)
    weights = np.exp(weight * (log_weights - log_weights.max()))
    rows, columns = np.nonzero(weights > NEGLIGIBLE)
    d0, s = (spreads**-2.0)[rows][:, None], scales[columns]
    kept = weights[rows, columns]
    return Noise(kept / kept.sum(), (d0 * s + freedom * variance) / (d0 + freedom), d0 + freedom)
