"""Tests of many differences at once: paired t-tests whose variances borrow from one another.

Replicates, such as seeds, are blocks. A difference is taken within each, so what all cells of a replicate share
cancels, and its noise is the variance of its own differences, whatever the noise of other cells. Of few replicates that
variance is uncertain, and a t-test with n - 1 degrees of freedom finds next to nothing among many cells. So each is
moderated by all others (Smyth 2004, "Linear models and empirical Bayes methods", Statistical Applications in
Genetics and Molecular Biology 3:3): where they are alike it is pulled towards their centre and gains degrees of
freedom, where they differ it stands nearly alone. How much alike they are is not plugged in, as Smyth has it:
p-values are averaged over what the data leave open, which keeps false verdicts rare with few cells. With up to three
cells there is nothing to learn from, and these are plain paired t-tests. Šidák's correction makes p-values and
intervals hold for all differences together.

One procedure judges every design, and no test of the data picks it. `benchmarks/verdicts.py` measures how often it is
wrong.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import special
from scipy.optimize.elementwise import find_root

CONFIDENCE = 0.95
FEWEST = 3  # replicates; of two, the noise of a difference is hardly known
DECIMALS = 12  # of a difference of accuracies: the rest is rounding, not noise
SPREADS = 20  # grid points of the prior's spread ...
WIDEST = 2.0  # ... up to this one, at which the bulk of the variances spans five orders of magnitude
SCALES = 60  # grid points of the prior's scale
# Differences that share cells are not independent: `rank` of them are, beyond two that the prior's two parameters take.
# Each counts as this many variances: the most at which false verdicts stayed below 5.5 % in all simulated designs.
EACH = 3.0
NEGLIGIBLE = 1e-6  # weight of a case beside that of the likeliest
PRECISE = 1e-9  # relative error of an interval's width


class Judged(NamedTuple):
    """Result of `judge`, one test per difference: arrays of shape (differences,), in the unit of the scores.

    Attributes:
        n: Number of replicates.
        mean: Mean over replicates.
        variance: Moderated variance of a single replicate's difference, averaged over the cases of `Noise`.
        freedom: Degrees of freedom of the variance, averaged likewise.
        low: Low end of the simultaneous 95% interval; NaN if no noise was seen and none can be inferred.
        high: High end of that interval.
        p: Two-sided p-value of this difference alone, in [0, 1]; NaN if a difference has no noise, and 1 if it is 0.
        p_corrected: p-value corrected for all differences, in [0, 1]; below 0.05 if p is below the level.
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
    """Posterior of the noise of each difference, as cases with weights.

    Attributes:
        weights: Weights of the cases, (cases,); their sum is 1.
        variance: Variance of a single replicate's difference in each case, (cases, differences).
        freedom: Degrees of freedom of the variance, (cases, differences).
    """

    weights: np.ndarray
    variance: np.ndarray
    freedom: np.ndarray

    def tail(self, size: np.ndarray, which: Any = slice(None)) -> np.ndarray:
        """Return the probability that the noise of a single replicate's difference exceeds `size`, to either side."""
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


def judge(
    differences: np.ndarray,
    rank: int,
    images: float | None = None,
    level: float | None = None,
    bounds: tuple[float, float] | None = None,
) -> Judged:
    """Test that the mean of each row is zero.

    Args:
        differences: Differences of two scores, (differences, replicates), each of at least three replicates; NaN if
            missing. They are rounded to 12 decimals, below which there is rounding rather than noise.
        rank: Number of rows that are linearly independent if all are complete: one less than the number of cells.
        images: Number of test images of an accuracy; None for other scores, or if unknown. Two accuracies of the same
            m images that differ by d differ on at least m |d| of them, so the variance of d is at least
            max(|d|, 1/m)/m (that of McNemar 1947, Psychometrika 12:153), however much alike a few replicates may be.
        level: Level of each test, greater than 0; by default that of Šidák's correction, with which one in twenty
            families has any false one. Corrected p-values are those of as many tests as would have this level.
        bounds: Least and largest score, (0, 1) for accuracies: intervals end where differences do. None for scores
            without bounds.
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
    return Judged(n, mean, variance, freedom, low, high, p, corrected, level)


def moderate(variance: np.ndarray, freedom: np.ndarray, rank: int) -> Noise:
    """Moderate variances by one another, as far as the data leave open how much alike they are.

    True variances are taken as scaled inverse chi-square with D degrees of freedom and scale s. Given these, a variance
    v with d degrees of freedom becomes (D s + d v) / (D + d) with D + d of them (Smyth 2004, section 3). D and s have a
    posterior: the prior is uniform in log s and in 1/sqrt(D), which is, but for a factor, the spread of the logarithms
    of the variances.

    Args:
        variance: Estimates, (differences,), at least 0.
        freedom: Degrees of freedom of each.
        rank: See `judge`.

    Returns:
        One case for each D and s with a weight that is not negligible; the given estimates as the only case if there
        is nothing to learn from: up to three cells, or no positive variance.
    """
    weight = min(1.0, EACH * (rank - 2) / len(variance))
    if weight <= 0 or not (variance > 0).any():
        return Noise(np.ones(1), variance[None], freedom[None])
    spreads = (np.arange(SPREADS) + 0.5) / SPREADS * WIDEST
    scales = np.geomspace(variance[variance > 0].min(), variance.max(), SCALES)[:, None]  # (scales, 1)
    log_weights = np.empty((SPREADS, SCALES))
    for row, d0 in enumerate(spreads**-2.0):  # in turn, as there may be a hundred thousand differences
        shape = (d0 + freedom) / 2
        terms = special.gammaln(shape) - special.gammaln(d0 / 2) + d0 / 2 * np.log(d0 * scales)
        log_weights[row] = (terms - shape * np.log(d0 * scales + freedom * variance)).sum(axis=1)
    weights = np.exp(weight * (log_weights - log_weights.max()))
    rows, columns = np.nonzero(weights > NEGLIGIBLE)
    d0, s = (spreads**-2.0)[rows][:, None], scales[columns]
    kept = weights[rows, columns]
    return Noise(kept / kept.sum(), (d0 * s + freedom * variance) / (d0 + freedom), d0 + freedom)
