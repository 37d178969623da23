"""Copy of a batch out of a data set in a single pass."""

# ruff: noqa: D417 - arguments that are alike share a line

from typing import Any

from mnist_mlp.base.numba_jit import jit

Array = Any  # np.ndarray for callers; Numba compiles the function for each dtype


@jit
def gather(out: Array, images: Array, rows: Array, mean: float, std: float) -> None:
    """Write `(images[rows] - mean) / std` into `out`.

    Args:
        out: Batch, shape (batch, pixels); pixels are scaled in its dtype.
        images: Stored images, shape (n, pixels), of any real dtype.
        rows: Image indices, shape (batch,), each in 0..n-1.
        mean, std: Scaling, in the units of the images.
    """
    kind = out.dtype.type
    mean, std = kind(mean), kind(std)
    for b in range(len(rows)):
        row, image = out[b], images[rows[b]]
        for i in range(len(row)):
            row[i] = (kind(image[i]) - mean) / std
