"""Moderated variances against SciPy's distributions, and what they become at the extremes."""

import numpy as np
import pytest
from scipy import stats

from mnist_mlp.report.analysis.contrasts import judge, moderate


def test_moderated_variances_are_the_mixture_of_smyths() -> None:
    """By SciPy's F and gamma distributions: variance / s is F(d, D), and 1 / variance then is gamma."""
    variance, freedom, rank = np.array([1.0, 2.5, 0.4, 0.0, 7.0]), np.array([2.0, 3.0, 2.0, 4.0, 2.0]), 3
    spreads = (np.arange(20) + 0.5) / 10
    scales = np.geomspace(0.4, 7.0, 60)
    prior, scale = np.meshgrid(1 / spreads**2, scales, indexing="ij")
    # The density of F at 0 is not finite for d = 2 alone; what does not depend on the prior may be left out.
    log_likelihood = np.zeros_like(prior)
    for v, d in zip(variance, freedom, strict=True):
        x = max(v, 1e-12)
        log_likelihood += stats.f.logpdf(x / scale, d, prior) - np.log(scale)
    weight = np.exp(3 * (rank - 2) / len(variance) * (log_likelihood - log_likelihood.max()))
    weight /= weight.sum()
    moderated, total = moderate(variance, freedom, rank)
    for place, (v, d) in enumerate(zip(variance, freedom, strict=True)):
        posterior = stats.gamma((prior + d) / 2, scale=2 / (prior * scale + d * v))
        mean = (weight * posterior.mean()).sum()
        spread = (weight * (posterior.var() + posterior.mean() ** 2)).sum() - mean**2
        assert moderated[place] == pytest.approx(1 / mean, rel=1e-6)
        assert total[place] == pytest.approx(2 * mean**2 / spread, rel=1e-6)


def test_alike_variances_pool_and_unlike_ones_stand_alone() -> None:
    generator = np.random.default_rng(0)
    alike, freedom = generator.chisquare(4, 300) / 4, np.full(300, 4.0)
    pooled, total = moderate(alike, freedom, rank=100)
    assert np.std(np.log(pooled)) < 0.05 < 0.6 < np.std(np.log(alike))
    assert total.min() > 40
    unlike = alike * np.exp(4 * generator.standard_normal(300))
    alone, total = moderate(unlike, freedom, rank=100)
    assert np.corrcoef(np.log(alone), np.log(unlike))[0, 1] > 0.98
    assert 3.5 < total.min() <= total.max() < 4.5  # each has four of its own


@pytest.mark.parametrize("rank", [1, 2])
def test_few_cells_have_nothing_to_learn_from(rank: int) -> None:
    variance, freedom = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 4.0])
    moderated, total = moderate(variance, freedom, rank)
    assert (moderated.tolist(), total.tolist()) == (variance.tolist(), freedom.tolist())


def test_a_variance_counts_once_at_most() -> None:
    variance, freedom = np.array([1.0, 2.0, 4.0]), np.array([3.0, 3.0, 3.0])
    once = moderate(variance, freedom, rank=3)
    for rank in (4, 50):  # there are not so many
        assert [x.tolist() for x in moderate(variance, freedom, rank)] == [x.tolist() for x in once]


def test_no_noise_anywhere_is_left_alone() -> None:
    variance, freedom = moderate(np.zeros(10), np.full(10, 2.0), rank=4)
    assert (variance.tolist(), freedom.tolist()) == ([0.0] * 10, [2.0] * 10)


def test_freedom_is_at_most_that_of_the_whole_table() -> None:
    noise = np.random.default_rng(1).permuted(np.tile([-1.0, 0.0, 1.0], (15, 1)), axis=1)  # of the same variance
    judged = judge(0.01 * (noise + np.linspace(0, 3, 15)[:, None]), rank=5)
    assert set(judged.freedom) == {5 * 2.0}
    assert judged.level == pytest.approx(1 - 0.95 ** (1 / 15))
    error = np.sqrt(judged.variance / 3)
    assert judged.p.tolist() == pytest.approx((2 * stats.t.sf(abs(judged.mean) / error, judged.freedom)).tolist())
    half = stats.t.isf(judged.level / 2, judged.freedom) * error
    assert (judged.high - judged.mean).tolist() == pytest.approx(half.tolist())
    assert (judged.mean - judged.low).tolist() == pytest.approx(half.tolist())


def test_a_bound_holds_before_and_after_moderation() -> None:
    """Of 100 images a difference of 0.1 has a variance of at least 0.001, and any of at least 0.0001."""
    generator = np.random.default_rng(2)
    differences = generator.standard_normal((10, 5)) / 1e4
    differences[0] += 0.1
    judged = judge(differences, rank=4, images=100)
    assert judged.variance[0] == pytest.approx(0.1 / 100, rel=1e-3)
    assert judged.variance[1:] == pytest.approx(1e-4, rel=0.5)
    assert judged.variance.min() >= 1e-4
