"""Simulated sweeps, cells x seeds: equal cells with noise of every kind, and one cell that is better."""

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


def tuned(generator: np.random.Generator, cells: int, seeds: int, settings: int = 10) -> np.ndarray:
    """Each cell shows the test accuracy of that of ten equal settings whose mean validation accuracy is highest."""
    run = generator.standard_normal((cells, settings, seeds))
    val, test = (np.sqrt(0.5) * (run + generator.standard_normal(run.shape)) for _ in range(2))
    best = val.mean(axis=2).argmax(axis=1)
    return np.asarray(MEAN + NOISE * (generator.standard_normal(seeds) + test[np.arange(cells), best]))


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
        "tuned over ten settings each": (tuned, None),
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
