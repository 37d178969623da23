"""Random streams of a run, derived from its seed or from seeds of their own."""

import random
from typing import NamedTuple

import numpy as np
import torch


class Seeds(NamedTuple):
    """One seed for each source of randomness, so that changing one part of a run leaves the others alone.

    Attributes:
        weights: of the weights and biases of linear and convolutional layers (`mnist_mlp.network.init.initialize`).
        batches: of the order of the images.
        dropout: of the units that dropout zeroes.
        modules: of whatever else a network's modules draw, when they are made and while they are trained.
    """

    weights: int
    batches: int
    dropout: int
    modules: int


def derive_seeds(seed: int, **own: int) -> Seeds:
    """Four unrelated 32-bit seeds from one.

    `numpy.random.SeedSequence` mixes the bits, so that neighbouring seeds give unrelated streams. 32 bits, because
    PyTorch's Mersenne Twister on the CPU uses no more of a seed.

    Args:
        seed: any whole number, at least 0.
        own: the seeds of single streams, by the names of `Seeds`: `weights=3` gives the weights of seed 3.
    """
    derived = Seeds(*_words(seed, len(Seeds._fields)))
    return derived._replace(**{name: getattr(derive_seeds(other), name) for name, other in own.items()})


def seed_default_generators(*seeds: int) -> None:
    """Seed the generators that code draws from which is given none: PyTorch's, NumPy's and Python's.

    Each gets a stream of its own, unrelated to that of any generator which is given one of these seeds as it is: NumPy
    and PyTorch would draw the same bits from the same number.

    Args:
        seeds: all of them count; each at least 0.
    """
    of_torch, of_numpy, of_python = _words(seeds, 3)
    torch.manual_seed(of_torch)
    np.random.seed(of_numpy)
    random.seed(of_python)


def default_state(*seeds: int) -> torch.Tensor:
    """The state in which `seed_default_generators` leaves PyTorch's."""
    return torch.Generator().manual_seed(_words(seeds, 3)[0]).get_state()


def _words(entropy: int | tuple[int, ...], count: int) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(entropy).generate_state(count, np.uint32)]
