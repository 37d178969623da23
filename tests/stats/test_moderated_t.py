"""Moderated variances against SciPy's distributions, and in limiting cases."""

import numpy as np
import pytest
from scipy import stats

from mnist_mlp.stats.moderated_t import moderate, moderated_tests


def test_moderate_equals_smyth_mixture_of_scipy_distributions() -> None:
    """Expected values by SciPy's F and gamma distributions: variance / s is F(d, D), and 1 / variance is gamma."""
    variance, freedom, rank = np.array([1.0, 2.5, 0.4, 0.0, 7.0]), np.array([2.0, 3.0, 2.0, 4.0, 2.0]), 3
    spreads = (np.arange(20) + 0.5) / 10
    scales = np.geomspace(0.4, 7.0, 60)
    prior, scale = np.meshgrid(1 / spreads**2, scales, indexing="ij")
    # The density of F at 0 is finite for d = 2 only; factors that do not depend on the prior cancel.
    log_likelihood = np.zeros_like(prior)
    for v, d in zip(variance, freedom, strict=True):
        x = max(v, 1e-12)
        log_likelihood += stats.f.logpdf(x / scale, d, prior) - np.log(scale)
    weight = np.exp(3 * (rank - 2) / len(variance) * (log_likelihood - log_likelihood.max()))
    weight /= weight.sum()
    noise = moderate(variance, freedom, rank)
    assert noise.weights.sum() == pytest.approx(1)
    for place, (v, d) in enumerate(zip(variance, freedom, strict=True)):
        for size in (0.5, 3.0, 20.0):
            error = np.sqrt((prior * scale + d * v) / (prior + d))
            expected = (weight * 2 * stats.t.sf(size / error, prior + d)).sum()
            assert noise.tail(np.array(size), [place]) == pytest.approx(expected, rel=1e-4)
    for level in (0.05, 1e-5):
        sizes = noise.quantile(level, np.arange(5))
        assert noise.tail(sizes) == pytest.approx(np.full(5, level), rel=1e-6)


def averages(variance: np.ndarray, freedom: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    noise = moderate(variance, freedom, rank)
    return noise.weights @ noise.variance, noise.weights @ noise.freedom


def test_moderate_with_outliers_keeps_other_intervals_narrow() -> None:
    """Ten pairs of five cells with three seeds: one cell has a large variance, one pair a small one by chance."""
    pairs = np.array([1.2e-5, 1.4e-4, 2e-4, 1e-4, 1.5e-4, 2e-4, 4e-3, 4.2e-3, 3.9e-3, 4.1e-3])
    freedom = np.full(10, 2.0)
    level = 1 - 0.95**0.1
    sizes = moderate(pairs, freedom, rank=4).quantile(level, np.arange(10))
    alone = stats.t.isf(level / 2, 2) * np.sqrt(pairs)
    assert (sizes[1:6] < alone[1:6]).all()
    assert sizes[0] < 3 * alone[0]


def test_moderate_pools_similar_variances_only() -> None:
    generator = np.random.default_rng(0)
    alike, freedom = generator.chisquare(4, 300) / 4, np.full(300, 4.0)
    pooled, total = averages(alike, freedom, rank=100)
    assert np.std(np.log(pooled)) < 0.05 < 0.6 < np.std(np.log(alike))
    assert total.min() > 40
    unlike = alike * np.exp(4 * generator.standard_normal(300))
    alone, total = averages(unlike, freedom, rank=100)
    assert np.corrcoef(np.log(alone), np.log(unlike))[0, 1] > 0.98
    assert 3.5 < total.min() <= total.max() < 4.5  # four degrees of freedom each


@pytest.mark.parametrize("rank", [1, 2])
def test_moderate_rank_of_at_most_two_changes_nothing(rank: int) -> None:
    variance, freedom = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 4.0])
    moderated, total = averages(variance, freedom, rank)
    assert (moderated.tolist(), total.tolist()) == (variance.tolist(), freedom.tolist())


def test_moderate_rank_beyond_number_of_variances_is_cut() -> None:
    variance, freedom = np.array([1.0, 2.0, 4.0]), np.array([3.0, 3.0, 3.0])
    once = moderate(variance, freedom, rank=3)
    for rank in (4, 50):  # more than there are variances
        assert [x.tolist() for x in moderate(variance, freedom, rank)] == [x.tolist() for x in once]


def test_moderate_zero_variances_changes_nothing() -> None:
    variance, freedom = averages(np.zeros(10), np.full(10, 2.0), rank=4)
    assert (variance.tolist(), freedom.tolist()) == ([0.0] * 10, [2.0] * 10)


def test_judge_freedom_is_at_most_that_of_the_whole_table() -> None:
    noise = np.random.default_rng(1).permuted(np.tile([-1.0, 0.0, 1.0], (15, 1)), axis=1)  # with equal variances
    differences = 0.01 * (noise + np.linspace(0, 3, 15)[:, None])
    own = differences.var(axis=1, ddof=1)
    assert averages(own, np.full(15, 2.0), rank=5)[1].max() > 5 * 2.0
    tests = moderated_tests(differences, rank=5)
    assert tests.freedom.max() <= 5 * 2.0
    assert tests.level == pytest.approx(1 - 0.95 ** (1 / 15))
    assert ((tests.low > 0) == (tests.p_corrected < 0.05)).all()
    assert 0 < (tests.low > 0).sum() < 15
    assert (tests.high - tests.mean).tolist() == pytest.approx((tests.mean - tests.low).tolist())


def test_judge_image_bound_holds_after_moderation() -> None:
    """With 100 images, a difference of 0.1 has a variance of at least 0.001, and any other of at least 0.0001."""
    generator = np.random.default_rng(2)
    differences = generator.standard_normal((10, 5)) / 1e4
    differences[0] += 0.1
    tests = moderated_tests(differences, rank=4, images=100)
    assert tests.variance[0] == pytest.approx(0.1 / 100, rel=1e-3)
    assert tests.variance[1:] == pytest.approx(1e-4, rel=0.5)
    assert tests.variance.min() >= 1e-4
