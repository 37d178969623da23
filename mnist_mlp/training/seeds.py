"""Random streams of a run, derived from its seed or from separate seeds."""

import random
from typing import NamedTuple

import numpy as np
import torch


class Seeds(NamedTuple):
    """Seeds of the sources of randomness. As they are separate, changing one part of a run does not affect the others.

    Attributes:
        weights: Seed of the weights and biases of linear and convolutional layers (see
            `mnist_mlp.network.init.initialize`).
        batches: Seed of the batch order.
        dropout: Seed of the dropout masks.
        modules: Seed of all other random numbers that modules draw, at their creation and during training.
    """

    weights: int
    batches: int
    dropout: int
    modules: int


def derive_seeds(seed: int, **own: int) -> Seeds:
    """Derive four independent 32-bit seeds from one.

    `numpy.random.SeedSequence` mixes the bits, so that adjacent seeds give independent streams. PyTorch's Mersenne
    Twister on the CPU uses only 32 bits of a seed.

    Args:
        seed: Whole number, at least 0.
        **own: Separate seeds of streams, by the names of `Seeds`: `weights=3` gives the weights of seed 3.
    """
    derived = Seeds(*_words(seed, len(Seeds._fields)))
    return derived._replace(**{name: getattr(derive_seeds(other), name) for name, other in own.items()})


def seed_default_generators(*seeds: int) -> None:
    """Seed the default generators of PyTorch, NumPy and Python.

    Each gets a seed derived from all given ones, so that its stream is independent of the others and of generators with
    one of the given seeds. With one seed for both, NumPy and PyTorch would draw the same bits.

    Args:
        *seeds: Seeds, each at least 0.
    """
    of_torch, of_numpy, of_python = _words(seeds, 3)
    torch.manual_seed(of_torch)
    np.random.seed(of_numpy)
    random.seed(of_python)


def default_state(*seeds: int) -> torch.Tensor:
    """Return the state of PyTorch's default generator after `seed_default_generators`."""
    return torch.Generator().manual_seed(_words(seeds, 3)[0]).get_state()


def _words(entropy: int | tuple[int, ...], count: int) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(entropy).generate_state(count, np.uint32)]
