"""Levels for looking at growing data again and again, so that all looks together are wrong as seldom as one.

After Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials", Biometrika 70:659: of an error `alpha`,
the looks until a share t of the most data there may be spend `spent(t)`, of O'Brien and Fleming's shape: next to
nothing early, nearly all at the end. How strict each look has to be follows from the distribution of a sum that grows
in independent normal steps, by numerical integration (Armitage, McPherson and Rowe 1969, Journal of the Royal
Statistical Society A 132:235). The levels found for the normal distribution are used for t-tests, which keeps the error
to within what is seen in simulations (Jennison and Turnbull 2000, "Group sequential methods", section 4.4).
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special
from scipy.optimize import brentq

FARTHEST = 12.0  # standard deviations, which a bound never exceeds: 4e-33 is not worth a thought
SPACING = 1.5  # nodes of the integral in a standard deviation of the step ...
ROUNDED = 16  # ... their number is a multiple of this


def spent(share: float, alpha: float) -> float:
    """The error that looks at up to this share, in (0, 1], of the data spend: to either side alpha*_1 of half of it."""
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / np.sqrt(share)))


def levels(shares: Sequence[float], alpha: float, tests: int = 1) -> list[float]:
    """The level of each look, for one of several tests.

    Args:
        shares: of the most data there may be at each look, increasing, in (0, 1].
        alpha: the probability of any error, in any look and any test.
        tests: that share what is spent at each look, by Šidák's correction.

    Returns:
        For each look, the two-sided p-value below which a test is decided there.
    """
    budget = [-np.expm1(np.log1p(-spent(share, alpha)) / tests) for share in shares]
    found: list[float] = []
    before, deviation = 0.0, 0.0  # what is spent, and the share of the data, at the last look
    nodes, density = np.zeros(1), np.ones(1)  # the sum at the last look, where no look has decided yet: start at 0
    for share, total in zip(shares, budget, strict=True):
        step = np.sqrt(share - deviation)

        def left(bound: float, nodes: np.ndarray = nodes, density: np.ndarray = density, step: float = step) -> float:
            """The probability that the sum is first beyond the bound, to either side, at this look."""
            beyond = special.ndtr((nodes - bound) / step) + special.ndtr((-nodes - bound) / step)
            return float(density @ beyond)

        farthest = FARTHEST * np.sqrt(share)
        increment = total - before
        bound = farthest if left(farthest) >= increment else _root(left, increment, farthest)
        found.append(float(2 * special.ndtr(-bound / np.sqrt(share))))
        points, weights = _gauss(ROUNDED * int(np.ceil((SPACING * 2 * bound / step + 16) / ROUNDED)))
        new = points * bound
        passed = np.exp(-0.5 * ((new[:, None] - nodes) / step) ** 2) / (step * np.sqrt(2 * np.pi))
        nodes, density = new, (passed @ density) * weights * bound
        before, deviation = total, share
    return found


@functools.cache
def _gauss(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre, on [-1, 1]."""
    return np.polynomial.legendre.leggauss(count)


def _root(left: Callable[[float], float], increment: float, farthest: float) -> float:
    """Where what is left beyond a bound is the increment; by logarithms, as it spans hundreds of powers of ten."""
    return float(brentq(lambda bound: np.log(left(bound) or 1e-320) - np.log(increment), 0.0, farthest, xtol=1e-12))
