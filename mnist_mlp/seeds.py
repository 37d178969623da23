"""The random streams of a run, all derived from its one seed."""

from typing import NamedTuple

import numpy as np


class Seeds(NamedTuple):
    """One seed for each source of randomness, so that changing one part of a run leaves the others alone."""

    weights: int
    batches: int
    dropout: int


def derive_seeds(seed: int) -> Seeds:
    """Three unrelated 32-bit seeds from one.

    `numpy.random.SeedSequence` mixes the bits, so that neighbouring seeds give unrelated streams. 32 bits, because
    PyTorch's Mersenne Twister on the CPU uses no more of a seed.

    Args:
        seed: any whole number, at least 0.
    """
    return Seeds(*(int(word) for word in np.random.SeedSequence(seed).generate_state(3, np.uint32)))
