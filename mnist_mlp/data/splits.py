"""Images with their labels, and the splits of a data set: training, validation, test.

Images stay in the format of their files, which all processes map into the same memory. A split is a list of row
indices. A batch is gathered by index and converted to float32. No DataLoader is used: for images this small, its
workers and copies take longer than the training step.
"""

import functools
import hashlib
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mnist_mlp.base.errors import InvalidArgument, InvalidData
from mnist_mlp.data.gather import gather

PART = 1000  # images per pass over a split, since a copy of the whole split may be large


@dataclass(frozen=True)
class Split:
    """Images with their labels. The model gets each pixel as (pixel - mean) / std.

    Attributes:
        images: Stored images, shape (rows, pixels), of any real dtype; MNIST has uint8 in 0..255.
        labels: Class of each stored image, int64 of shape (rows,), each in 0..classes-1.
        mean, std: Scaling of the pixels, in the units of the images; 0 and 255 scale MNIST to [0, 1].
        rows: Indices of the images in the split, int64 of shape (n,); None for all stored images.

    Raises:
        InvalidArgument: A tensor has another shape or dtype.
        InvalidData: Images are complex or have no pixels, mean or std is not finite, or std is 0.
    """

    images: Tensor
    labels: Tensor
    mean: float = 0.0
    std: float = 1.0
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not (isinstance(images, Tensor) and images.ndim == 2 and len(images) > 0):
            raise InvalidArgument("images", _describe(images), "a tensor of shape (n, pixels)")
        if not (isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == images.shape[:1]):
            raise InvalidArgument("labels", _describe(labels), f"an int64 tensor of shape ({len(images)},)")
        if images.is_complex() or images.shape[1] == 0:
            raise InvalidData("images of real numbers, at least one pixel each", f"They are {_describe(images)}.")
        object.__setattr__(self, "images", images.detach())
        for name in ("mean", "std"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if not self.std:
            raise InvalidData("a std other than 0", "Pixels are divided by it.")
        rows = self.rows
        if rows is None:
            return
        if not (isinstance(rows, Tensor) and rows.dtype == torch.int64 and rows.ndim == 1 and len(rows) > 0):
            raise InvalidArgument("rows", _describe(rows), "an int64 tensor of shape (n,)")
        if not (rows.min() >= 0 and rows.max() < len(images)):
            raise InvalidArgument("rows", f"{rows.min()} to {rows.max()}", f"0 to {len(images) - 1}")

    def __len__(self) -> int:
        return len(self.labels) if self.rows is None else len(self.rows)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return a batch: scaled images, float32 of shape (batch, pixels), and labels of shape (batch,).

        Args:
            index: Positions in the split, int64 of shape (batch,) on its device; or a slice of them.
        """
        if self.images.device.type == "cpu" and self.images.dtype == torch.uint8:
            images, labels, rows = self._arrays
            chosen = rows[index.numpy() if isinstance(index, Tensor) else index]
            pixels = torch.empty(len(chosen), images.shape[1])
            gather(pixels.numpy(), images, chosen, self.mean, self.std)
            return pixels, torch.from_numpy(labels[chosen])
        which = index if self.rows is None else self.rows[index]
        return (self.images[which].float() - self.mean) / self.std, self.labels[which]

    @functools.cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(len(self)) if self.rows is None else self.rows.numpy()
        return self.images.numpy(), self.labels.numpy(), rows

    def parts(self) -> Iterator[Tensor]:
        """Return the stored images of the split, in parts of shape (at most `PART`, pixels)."""
        rows = torch.arange(len(self), device=self.images.device) if self.rows is None else self.rows
        return (self.images[part] for part in rows.split(PART))

    def extremes(self) -> tuple[float, float]:
        """Return bounds of the scaled pixels, smallest and largest; NaN if any pixel is NaN."""
        if self.images.dtype == torch.uint8:  # the range of the dtype suffices
            stored = torch.tensor([0, 255])
        else:
            stored = torch.stack([extreme for part in self.parts() for extreme in part.float().aminmax()])
        low, high = ((stored.float() - self.mean) / self.std).aminmax()
        return float(low), float(high)

    def to(self, device: torch.device) -> "Split":
        """Return the split on a device. A copy to another device contains only the images of the split."""
        if self.images.device == device:
            return self
        rows = slice(None) if self.rows is None else self.rows
        return Split(self.images[rows].to(device), self.labels[rows].to(device), self.mean, self.std)


@dataclass(frozen=True)
class Dataset:
    """Complete data set, as returned by the functions named in `conf/data/`.

    Attributes:
        train, test: Published split; `mean` and `std` scale pixels to [0, 1].
        classes: Number of classes.

    Raises:
        InvalidArgument: A label is not in 0..classes-1.
        InvalidData: The number of classes is not an integer, or training and test images differ in size.
    """

    train: Split
    test: Split
    classes: int

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "classes", operator.index(self.classes))  # accepts NumPy and PyTorch integers
        except TypeError as error:
            raise InvalidData("a whole number of classes", f"It is {self.classes!r}.") from error
        sizes = [split.images.shape[1] for split in (self.train, self.test)]
        if len({*sizes}) > 1:
            raise InvalidData("training and test images of one size", f"They have {sizes[0]} and {sizes[1]} pixels.")
        for split in (self.train, self.test):
            if split.labels.min() < 0 or split.labels.max() >= self.classes:
                found = f"{split.labels.min()} to {split.labels.max()}"
                raise InvalidArgument(
                    "labels", found, f"0 to {self.classes - 1}, since there are {self.classes} classes"
                )

    def digest(self) -> str:
        """Return the SHA-256 digest of images, labels and chosen rows, with types and scaling, in hexadecimal."""
        sha = hashlib.sha256()
        for split in (self.train, self.test):
            rows = [] if split.rows is None else [split.rows]
            for tensor in (split.images, split.labels, *rows):
                sha.update(f"{tensor.dtype} {tuple(tensor.shape)} {split.mean} {split.std}".encode())
                sha.update(tensor.contiguous().view(torch.uint8).numpy().data)  # NumPy has no bfloat16
        return sha.hexdigest()


@dataclass(frozen=True)
class Splits:
    """Splits of a run.

    Attributes:
        train: Training split.
        val: Validation split; None without validation images.
        test: Test split.
        classes: Number of classes.
    """

    train: Split
    val: Split | None
    test: Split
    classes: int

    def sizes(self) -> dict[str, int]:
        """Return the number of images in each split, by its name."""
        return {"train": len(self.train), "val": len(self.val) if self.val else 0, "test": len(self.test)}

    def to(self, device: torch.device) -> "Splits":
        """Return the splits on a device."""
        val = self.val and self.val.to(device)
        return replace(self, train=self.train.to(device), val=val, test=self.test.to(device))


def make_splits(dataset: Dataset, train_size: int | None, val_size: int, split_seed: int, normalize: bool) -> Splits:
    """Hold out validation images, then keep `train_size` of the others for training.

    The validation images depend on `val_size` and `split_seed` only. A run with a small `train_size` is thus evaluated
    on the same images as a full run.

    Args:
        dataset: Complete data set.
        train_size: Number of training images, at least 1; None keeps all.
        val_size: Number of validation images, at least 0.
        split_seed: Seed of the split.
        normalize: Standardize all splits by the mean and standard deviation over all pixels of the training split.

    Raises:
        InvalidArgument: A size exceeds the number of available images.
        InvalidData: A scaled pixel is not finite, or the training images to normalize do not vary.
    """
    n = len(dataset.train)
    if not 0 <= val_size < n:
        raise InvalidArgument("val_size", val_size, f"0 to {n - 1}, since there are {n} training images")
    if train_size is not None and not 1 <= train_size <= n - val_size:
        raise InvalidArgument(
            "train_size",
            train_size,
            f"1 to {n - val_size}, since {val_size} of the {n} training images are held out for validation",
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(split_seed))

    def subset(rows: Tensor) -> Split:
        return replace(dataset.train, rows=rows if dataset.train.rows is None else dataset.train.rows[rows])

    train = subset(order[val_size:][:train_size])
    splits = Splits(train, subset(order[:val_size]) if val_size else None, dataset.test, dataset.classes)
    _check_finite(splits)
    if not normalize:
        return splits
    splits = _standardize(splits)
    _check_finite(splits)
    return splits


def _check_finite(splits: Splits) -> None:
    """Check that all scaled pixels are finite. Otherwise, training on them would be recorded as diverged.

    Raises:
        InvalidData: A scaled pixel is infinite or NaN.
    """
    for name, split in (("training", splits.train), ("validation", splits.val), ("test", splits.test)):
        if split and not all(map(math.isfinite, split.extremes())):
            scaling = f"(pixel - {split.mean:g}) / {split.std:g}"
            found = f"Among the {len(split)} {name} images are pixels for which it is infinite or NaN."
            raise InvalidData(f"pixels whose {scaling} is a finite number in float32", found)


def _standardize(splits: Splits) -> Splits:
    train, n = splits.train, len(splits.train) * splits.train.images.shape[1]
    mean = sum(float(_array(part).sum(dtype=np.float64)) for part in train.parts()) / n
    std = math.sqrt(sum(float(np.square(_array(part) - np.float64(mean)).sum()) for part in train.parts()) / n)
    low, high = train.extremes()
    if low == high or std == 0:  # a mean of equal numbers may differ from them by rounding
        found = f"The pixels of the {len(train)} training images are all equal in float32."
        raise InvalidData("training images that vary, or data.normalize=false", found)

    def scaled(split: Split) -> Split:
        return replace(split, mean=mean, std=std)

    return replace(splits, train=scaled(splits.train), val=splits.val and scaled(splits.val), test=scaled(splits.test))


def _array(part: Tensor) -> np.ndarray:
    """Return images as a NumPy array. Sums in NumPy, unlike in PyTorch, do not depend on the number of threads."""
    is_small = part.is_floating_point() and part.element_size() <= 2  # float16, and bfloat16, which NumPy lacks
    return (part.float() if is_small else part).numpy()


def _number(name: str, value: float) -> float:
    """Convert a finite number, also of NumPy or PyTorch, to float."""
    try:
        if math.isfinite(value):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # not a single number
        pass
    raise InvalidData(f"a finite number as {name}", f"It is {_describe(value)}.")


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return str(value) if isinstance(value, float) else type(value).__name__
