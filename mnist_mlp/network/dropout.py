"""Mask sampler of dropout: one stream of random bits per run, whatever computes the run."""

from typing import NamedTuple

import numpy as np


class Drawing(NamedTuple):
    """How raw random bits become the decisions of one dropout layer.

    A unit is dropped where its number, of 8 random bits if p is a multiple of 1/256, as 0.5 is, else of 16, is below
    the threshold. So p is met to 2**-17, and what is divided by is exactly the share that is kept (Srivastava et al.
    2014, section 10).

    Attributes:
        kind: NumPy's type of the numbers.
        threshold: what a kept unit's number is at least.
        scale: what a kept unit is multiplied by.
    """

    kind: type[np.uint8] | type[np.uint16]
    threshold: int
    scale: float

    def words(self, units: int) -> int:
        """How many 64-bit words of the stream the decisions about so many units take."""
        return -(-units * np.iinfo(self.kind).bits // 64)


def drawing(p: float) -> Drawing:
    """How a layer that drops with probability p, 0 <= p < 1 - 2**-16, draws."""
    kind = np.uint8 if float(256 * p).is_integer() else np.uint16
    values = int(np.iinfo(kind).max) + 1
    threshold = round(p * values)
    return Drawing(kind, threshold, values / (values - threshold))


def stream(seed: int) -> np.random.SFC64:
    """The random bits of a run, by the layers in their order and then by the steps; seed in 0..2**32-1."""
    return np.random.SFC64(seed)
