"""Seeds of the random streams of a run, derived from one seed or from a separate seed per stream."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch


class Seeds(NamedTuple):
    """Seeds of the random streams of a run. A change that affects one stream does not affect the others.

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

    `numpy.random.SeedSequence` mixes the bits, so that adjacent seeds give independent streams. The derived seeds have
    32 bits, since PyTorch's Mersenne Twister on the CPU ignores all others.

    Args:
        seed: Whole number, at least 0.
        **own: Separate seeds of streams, by the names of `Seeds`: `weights=3` gives the weights of seed 3.
    """
    derived = Seeds(*_words(seed, len(Seeds._fields)))
    return derived._replace(**{name: getattr(derive_seeds(other), name) for name, other in own.items()})


def seed_default_generators(*seeds: int) -> None:
    """Seed the default generators of PyTorch, NumPy and Python.

    Each generator gets a seed of its own, derived from all given seeds. (With the same seed, NumPy and PyTorch would
    draw the same bits.) Generators that use one of the given seeds directly are independent of these, too.

    Args:
        *seeds: Seeds, each at least 0.
    """
    of_torch, of_numpy, of_python = _words(seeds, 3)
    torch.manual_seed(of_torch)
    np.random.seed(of_numpy)
    random.seed(of_python)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the default generators of PyTorch, NumPy and Python afterwards."""
    python, numpy_ = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_)


def default_state(*seeds: int) -> torch.Tensor:
    """Return the state of PyTorch's default generator after `seed_default_generators`."""
    return torch.Generator().manual_seed(_words(seeds, 3)[0]).get_state()


def _words(entropy: int | tuple[int, ...], count: int) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(entropy).generate_state(count, np.uint32)]
