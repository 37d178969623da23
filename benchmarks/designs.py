"""Designs of simulated sweeps: equal cells with noise of every kind, one cell that is better, and tuned cells."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

MEAN, NOISE = 0.97, 0.002  # of an accuracy; its standard deviation is 0.2 points
EFFECT = 3.0  # standard deviations
CELLS, SEEDS = (2, 4, 8, 16, 24), (3, 5, 10)
LOG_NORMAL_STD = float(stats.lognorm(0.5).std())
Make = Callable[[np.random.Generator, int, int], np.ndarray]


@dataclass(frozen=True)
class Design:
    """A kind of sweep.

    Attributes:
        name: for the table.
        make: accuracies, cells x seeds, NaN where missing, from a generator and the numbers of cells and seeds.
        cells: how many.
        seeds: how many.
        images: that an accuracy counts; None where it is not a count.
        better: whether the first cell is the best; else all are equal.
    """

    name: str
    make: Make
    cells: int
    seeds: int
    images: int | None = None
    better: bool = False


def noisy(scales: Callable[[int], Sequence[float]], shape: str = "normal") -> Make:
    """Cells that differ in nothing but, perhaps, the size of their noise, given in a random order."""

    def make(generator: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
        noise = SHAPES[shape](generator, (cells, seeds))
        scale = generator.permutation(np.asarray(scales(cells), dtype=float))[:, None]
        return np.asarray(MEAN + NOISE * (generator.standard_normal(seeds) + scale * noise))

    return make


SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "normal": lambda generator, size: generator.standard_normal(size),
    "log-normal": lambda generator, size: (generator.lognormal(0, 0.5, size) - np.exp(1 / 8)) / LOG_NORMAL_STD,
    "t": lambda generator, size: generator.standard_t(3, size) / np.sqrt(3),
    "outliers": lambda generator, size: (
        generator.standard_normal(size) * np.where(generator.random(size) < 1 / 50, 10, 1)
    ),
}


def share(part: float, scale: float) -> Callable[[int], list[float]]:
    """The scales of cells of which a part is noisier."""
    return lambda cells: [scale if number < max(1, round(part * cells)) else 1.0 for number in range(cells)]


def equal(cells: int) -> list[float]:
    """The scales of cells that are alike."""
    return [1.0] * cells


def counted(images: int) -> Make:
    """Accuracies that are independent counts of images."""
    return lambda generator, cells, seeds: generator.binomial(images, MEAN, (cells, seeds)) / images


def spread(generator: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Every cell has a noise of its own, log-normal among the cells (sigma 0.5)."""
    return noisy(lambda count: np.exp(0.5 * generator.standard_normal(count)).tolist())(generator, cells, seeds)


def best_first(generator: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """The first cell is better by three standard deviations."""
    y = noisy(equal)(generator, cells, seeds)
    y[0] += EFFECT * NOISE
    return y


def with_gaps(scales: Sequence[float], present: Sequence[Sequence[int]]) -> Make:
    """Equal cells of these noises that were run with these seeds."""

    def make(generator: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
        y = MEAN + NOISE * (
            generator.standard_normal(seeds) + np.array(scales)[:, None] * generator.standard_normal((cells, seeds))
        )
        for row, kept in zip(y, present, strict=True):
            row[[seed for seed in range(seeds) if seed not in kept]] = np.nan
        return np.asarray(y)

    return make


def losing(kept: int) -> Make:
    """A third of the cells is four times as noisy and has so many of its seeds left."""

    def make(generator: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
        third = cells // 3
        present = [generator.permutation(seeds)[:kept].tolist()] * third + [list(range(seeds))] * (cells - third)
        return with_gaps([4.0] * third + [1.0] * (cells - third), present)(generator, cells, seeds)

    return make


def designs() -> Iterator[Design]:
    """Everything that is simulated."""
    kinds: dict[str, tuple[Make, int | None]] = {
        "equal noise": (noisy(equal), None),
        "a third twice as noisy": (noisy(share(1 / 3, 2)), None),
        "half twice as noisy": (noisy(share(1 / 2, 2)), None),
        "a third three times": (noisy(share(1 / 3, 3)), None),
        "a third four times": (noisy(share(1 / 3, 4)), None),
        "one cell ten times": (noisy(lambda cells: [10.0] + [1.0] * (cells - 1)), None),
        "noise of log-normal size": (spread, None),
        "log-normal noise": (noisy(equal, "log-normal"), None),
        "t noise, 3 degrees of freedom": (noisy(equal, "t"), None),
        "one outlier in fifty": (noisy(equal, "outliers"), None),
        **{f"binomial, {images:,} images": (counted(images), images) for images in (100, 1000, 10_000)},
    }
    for name, (make, images) in kinds.items():
        yield from (Design(name, make, cells, seeds, images) for cells in CELLS for seeds in SEEDS)
    ten, two = list(range(10)), [0, 1]
    yield Design("two of n = 2, four times", with_gaps([1, 1, 4, 4], [ten, ten, two, two]), 4, 10)
    apart = [0, 1, *range(10, 18)]
    yield Design("one with seeds of its own, three times", with_gaps([1, 1, 1, 3], [ten] * 3 + [apart]), 4, 18)
    yield Design("one of n = 2, four times", with_gaps([1, 1, 1, 4], [list(range(5))] * 3 + [two]), 4, 5)
    for kept in (2, 3):
        for seeds in (5, 10):
            yield Design(f"a third four times, {kept} seeds left", losing(kept), 24, seeds)
    yield from (Design("one better", best_first, cells, seeds, better=True) for cells in CELLS for seeds in SEEDS)


@dataclass(frozen=True, kw_only=True)
class TunedDesign:
    """Design of a sweep whose cells select one of several learning rates; percentage points unless said.

    Learning rates are half a decade apart. In all cells, the expected accuracy falls by `curve` times the squared
    distance in steps from an optimum that lies anywhere between two and five steps above the lowest rate.

    Attributes:
        name: Name in the table.
        cells: Number of cells.
        seeds: Number of seeds of the search, and of confirming runs.
        curve: Loss of accuracy one step from the optimum.
        collapse: Further loss from two steps above the optimum on.
        diverging: Probability that a run from two steps above the optimum on diverges.
        noise_val: Standard deviation of a run's validation accuracy.
        noise_test: Standard deviation of a run's test accuracy.
        common: Correlation of these two residuals of a run.
        noisy: Noise of a third of the cells (one of two), as a multiple.
        split_error: Standard deviation of the validation split's error about a candidate, the same for all seeds.
        candidates: Number of candidates of the first and the second half of the cells: 8, 4 or 1.
        unequal: Reason why the cells truly differ, so that significant pairs are no errors; empty if they do not.
    """

    name: str
    cells: int
    seeds: int
    curve: float = 0.15
    collapse: float = 0.0
    diverging: float = 0.0
    noise_val: float = 0.15
    noise_test: float = 0.1
    common: float = 0.5
    noisy: float = 1.0
    split_error: float = 0.0
    candidates: tuple[int, int] = (8, 8)
    unequal: str = ""


RATES = 8
OPTIMUM = (2.0, 5.0)  # range of the optimum, in steps above the lowest learning rate
EDGE = 2.0  # steps above the optimum from which accuracy collapses, or runs diverge
CANDIDATES = {8: tuple(range(RATES)), 4: tuple(range(1, RATES, 2)), 1: (3,)}  # number of candidates to their rates
BETTER = 0.3  # points by which the better cell exceeds the others, to measure power

NOISE_MISLEADS = "the noisier cells select worse, so they are worse"
FEWER_RATES = "the cells of fewer candidates miss the optimum by more, so they are worse"
SPLIT_MISLEADS = "one validation split misleads all seeds of a cell alike, so with this split the cells differ"

TUNED_DESIGNS = (
    TunedDesign(name="flat", cells=2, seeds=5, curve=0),
    TunedDesign(name="flat", cells=24, seeds=5, curve=0),
    TunedDesign(name="curve .05", cells=2, seeds=10, curve=0.05),
    TunedDesign(name="curve .05", cells=24, seeds=5, curve=0.05),
    TunedDesign(name="curve .15", cells=2, seeds=3),
    TunedDesign(name="curve .15", cells=2, seeds=10),
    TunedDesign(name="curve .15", cells=24, seeds=3),
    TunedDesign(name="curve .15", cells=24, seeds=5),
    TunedDesign(name="curve .15", cells=24, seeds=10),
    TunedDesign(name="curve .15, noise .3", cells=2, seeds=5, noise_val=0.3),
    TunedDesign(name="curve .15, noise .3", cells=24, seeds=5, noise_val=0.3),
    TunedDesign(name="curve .15, common 0", cells=2, seeds=10, common=0),
    TunedDesign(name="curve .15, common .9", cells=2, seeds=10, common=0.9),
    TunedDesign(name="curve .05, cliff of 5 points", cells=2, seeds=5, curve=0.05, collapse=5),
    TunedDesign(name="curve .05, cliff of divergence", cells=24, seeds=5, curve=0.05, diverging=1),
    TunedDesign(name="curve .05, noise .3, half diverge", cells=2, seeds=10, curve=0.05, noise_val=0.3, diverging=0.5),
    TunedDesign(name="flat, common .9, a third twice as noisy", cells=2, seeds=10, curve=0, common=0.9, noisy=2),
    TunedDesign(name="flat, a third twice as noisy", cells=24, seeds=10, curve=0, noisy=2),
    TunedDesign(name="curve .15, a third twice as noisy", cells=24, seeds=10, noisy=2, unequal=NOISE_MISLEADS),
    TunedDesign(name="flat, 8 candidates against 4", cells=24, seeds=5, curve=0, candidates=(8, 4)),
    TunedDesign(name="flat, 8 candidates against 1", cells=2, seeds=10, curve=0, candidates=(8, 1)),
    TunedDesign(name="curve .15, 8 candidates against 4", cells=2, seeds=10, candidates=(8, 4), unequal=FEWER_RATES),
    TunedDesign(name="curve .15, split error .06", cells=2, seeds=10, split_error=0.06, unequal=SPLIT_MISLEADS),
    TunedDesign(name="curve .15, split error .06", cells=24, seeds=5, split_error=0.06, unequal=SPLIT_MISLEADS),
)

# Sweeps that are written as run directories, and whether their selections are confirmed.
DIRECTORY_DESIGNS = (
    (TunedDesign(name="flat, 8 candidates against 4", cells=2, seeds=5, curve=0, candidates=(8, 4)), False),
    (TunedDesign(name="curve .15", cells=2, seeds=5), False),
    (
        TunedDesign(
            name="curve .05, noise .3, half diverge", cells=2, seeds=5, curve=0.05, noise_val=0.3, diverging=0.5
        ),
        True,
    ),
)
