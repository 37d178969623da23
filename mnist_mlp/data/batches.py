"""Order of the images in an epoch, and its division into batches."""

import torch
from torch import Tensor


def batch_sizes(n: int, batch_size: int) -> list[int]:
    """How many images each batch of an epoch has; all are of one size but for the last.

    The last batch takes what is left. Were that a single image, it joins the batch before it (which is then larger by
    one), since BatchNorm has no variance of one sample; every image is seen all the same.

    Args:
        n: number of images.
        batch_size: images a batch, at least 1.
    """
    whole, left = divmod(n, batch_size)
    if left == 1 and whole > 0:
        return [batch_size] * (whole - 1) + [batch_size + 1]
    return [batch_size] * whole + [left] * (left > 0)


def order(n: int, generator: torch.Generator) -> Tensor:
    """The random order of the images in an epoch: int64 of shape (n,); the source is a CPU generator."""
    return torch.randperm(n, generator=generator)


def batches(n: int, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """One epoch of batches: every index in 0..n-1 once, in random order.

    Args:
        n: number of images.
        batch_size: images a batch, at least 1 (see `batch_sizes`).
        generator: source of the order; a CPU generator.

    Returns:
        The batches, each the indices of its images: int64 of shape (batch,).
    """
    return list(order(n, generator).split(batch_sizes(n, batch_size)))
