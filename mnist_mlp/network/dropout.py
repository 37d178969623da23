"""Sampler of dropout masks, from one stream of random bits per run. Fused kernels and stacks use the same masks."""

from typing import NamedTuple

import numpy as np


class MaskSampler(NamedTuple):
    """Mask sampler of one dropout layer, which turns raw random bits into a keep mask.

    Each unit gets an unsigned random integer: of 8 bits if p is a multiple of 1/256 (such as 0.5), else of 16 bits. A
    unit is kept if its integer is at least the threshold. The drop probability is therefore p, rounded by at most
    2**-17. Kept units are divided by the keep probability after rounding (Srivastava et al. 2014, section 10).

    Attributes:
        kind: NumPy type of the random integers.
        threshold: Smallest random integer for which a unit is kept.
        scale: Factor of a kept unit.
    """

    kind: type[np.uint8] | type[np.uint16]
    threshold: int
    scale: float

    def words(self, units: int) -> int:
        """Return how many 64-bit words of the stream a mask for this many units takes."""
        return -(-units * np.iinfo(self.kind).bits // 64)


def mask_sampler(p: float) -> MaskSampler:
    """Return the mask sampler of a layer that drops units with probability p, 0 <= p < 1 - 2**-16."""
    kind = np.uint8 if float(256 * p).is_integer() else np.uint16
    values = int(np.iinfo(kind).max) + 1
    threshold = round(p * values)
    return MaskSampler(kind, threshold, values / (values - threshold))


def rng_stream(seed: int) -> np.random.SFC64:
    """Return the stream of random bits of a run.

    At each step, masks are drawn layer by layer, from input to output.

    Args:
        seed: Seed in 0..2**32-1.
    """
    return np.random.SFC64(seed)
