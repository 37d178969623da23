"""Copy of a batch out of a data set in a single pass."""

# ruff: noqa: D417 - arguments that are alike share a line

from typing import Any

from mnist_mlp.base.numba_jit import compiled

Array = Any  # np.ndarray to the caller; Numba compiles the function for each type that it meets


@compiled
def gather(out: Array, images: Array, rows: Array, mean: float, std: float) -> None:
    """Take a batch: `(images[rows] - mean) / std`.

    Args:
        out: (batch, pixels).
        images: (n, pixels), of any real type.
        rows: (batch,), each in 0..n-1.
        mean, std: in the images' units.
    """
    kind = out.dtype.type
    mean, std = kind(mean), kind(std)
    for b in range(len(rows)):
        row, image = out[b], images[rows[b]]
        for i in range(len(row)):
            row[i] = (kind(image[i]) - mean) / std
