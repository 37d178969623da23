"""Order of the images in an epoch, and its division into batches."""

import torch
from torch import Tensor


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """Return the number of images of each batch of an epoch.

    All batches have `batch_size` images, except that the last one has the remainder. A remainder of one image is merged
    into the previous batch: BatchNorm needs at least two samples.

    Args:
        n: Number of images.
        batch_size: Images per batch, at least 1.
    """
    whole, left = divmod(n, batch_size)
    if left == 1 and whole > 0:
        return [batch_size] * (whole - 1) + [batch_size + 1]
    return [batch_size] * whole + [left] * (left > 0)


def order(n: int, generator: torch.Generator) -> Tensor:
    """Return a random order of the images in an epoch, int64 of shape (n,), drawn from a CPU generator."""
    return torch.randperm(n, generator=generator)


def batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Return the batches of one epoch, with every index in 0..n-1 once, in random order.

    Args:
        n: Number of images.
        batch_size: Images per batch, at least 1 (see `batch_sizes`).
        generator: CPU generator that draws the order.

    Returns:
        Image indices of each batch, int64 of shape (batch,).
    """
    return list(order(n, generator).split(batch_sizes(n, batch_size)))
