"""Images with their labels, and the splits of a data set: training, validation, test.

A data set stays whole, as the integers it is stored in, in files that all processes map into the same memory. A split
is a choice of its rows; a batch is gathered by index and turned into floats. There is no DataLoader: for images this
small its workers and copies cost more than the training step.
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

PART = 1000  # images that are looked at together, since a copy of all of them may be large


@dataclass(frozen=True)
class Split:
    """Images with their labels; pixels enter the network as (pixel - mean) / std.

    Attributes:
        images: shape (rows, pixels), of any real dtype; MNIST's are uint8 in 0..255.
        labels: shape (rows,), int64 in 0..classes-1.
        mean, std: of the pixels, in the images' own units; 0 and 255 give MNIST in [0, 1].
        rows: shape (n,), int64: those that belong to the split, in its order; all, where it is not given.

    Raises:
        InvalidArgument: tensors of other shapes or types than these.
        InvalidData: Complex images, images without pixels, or a mean or std that scales nothing.
    """

    images: Tensor
    labels: Tensor
    mean: float = 0.0
    std: float = 1.0
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if not (isinstance(images, Tensor) and images.ndim == 2 and len(images) > 0):
            raise InvalidArgument("images", _described(images), "a tensor of shape (n, pixels)")
        if not (isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == images.shape[:1]):
            raise InvalidArgument("labels", _described(labels), f"an int64 tensor of shape ({len(images)},)")
        if images.is_complex() or images.shape[1] == 0:
            raise InvalidData("images of real numbers, at least one pixel each", f"They are {_described(images)}.")
        object.__setattr__(self, "images", images.detach())
        for name in ("mean", "std"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if not self.std:
            raise InvalidData("a std other than 0", "Pixels are divided by it.")
        rows = self.rows
        if rows is None:
            return
        if not (isinstance(rows, Tensor) and rows.dtype == torch.int64 and rows.ndim == 1 and len(rows) > 0):
            raise InvalidArgument("rows", _described(rows), "an int64 tensor of shape (n,)")
        if not (rows.min() >= 0 and rows.max() < len(images)):
            raise InvalidArgument("rows", f"{rows.min()} to {rows.max()}", f"0 to {len(images) - 1}")

    def __len__(self) -> int:
        return len(self.labels) if self.rows is None else len(self.rows)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The chosen images as float32 (batch, pixels) ready for the network, and their labels (batch,)."""
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
        """The images as they are stored, in parts."""
        rows = torch.arange(len(self), device=self.images.device) if self.rows is None else self.rows
        return (self.images[part] for part in rows.split(PART))

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest number that may enter the network, NaN if one of the pixels is."""
        if self.images.dtype == torch.uint8:  # whose pixels need no look
            stored = torch.tensor([0, 255])
        else:
            stored = torch.stack([extreme for part in self.parts() for extreme in part.float().aminmax()])
        low, high = ((stored.float() - self.mean) / self.std).aminmax()
        return float(low), float(high)

    def to(self, device: torch.device) -> "Split":
        """The same split on a device; on another one than now, without the rows that do not belong to it."""
        if self.images.device == device:
            return self
        rows = slice(None) if self.rows is None else self.rows
        return Split(self.images[rows].to(device), self.labels[rows].to(device), self.mean, self.std)


@dataclass(frozen=True)
class Dataset:
    """A whole data set: what a function named in `conf/data/` returns.

    Attributes:
        train, test: the published split; their `mean` and `std` scale pixels to [0, 1].
        classes: number of classes.

    Raises:
        InvalidArgument: Labels outside the classes.
        InvalidData: A number of classes that is not a whole number, or images of two sizes.
    """

    train: Split
    test: Split
    classes: int

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "classes", operator.index(self.classes))  # of a NumPy or PyTorch integer, too
        except TypeError as error:
            raise InvalidData("a whole number of classes", f"It is {self.classes!r}.") from error
        sizes = [split.images.shape[1] for split in (self.train, self.test)]
        if len({*sizes}) > 1:
            raise InvalidData("training and test images of one size", f"They have {sizes[0]} and {sizes[1]} pixels.")
        for split in (self.train, self.test):
            if split.labels.min() < 0 or split.labels.max() >= self.classes:
                found = f"{split.labels.min()} to {split.labels.max()}"
                raise InvalidArgument("labels", found, f"0 to {self.classes - 1}, as there are {self.classes} classes")

    def digest(self) -> str:
        """SHA-256 over all images and labels with their shapes and scaling, hexadecimal."""
        sha = hashlib.sha256()
        for split in (self.train, self.test):
            rows = [] if split.rows is None else [split.rows]
            for tensor in (split.images, split.labels, *rows):
                sha.update(f"{tensor.dtype} {tuple(tensor.shape)} {split.mean} {split.std}".encode())
                sha.update(tensor.contiguous().view(torch.uint8).numpy().data)  # NumPy has no bfloat16
        return sha.hexdigest()


@dataclass(frozen=True)
class Splits:
    """What a run sees: training, validation (None where `val_size` is 0) and test images."""

    train: Split
    val: Split | None
    test: Split
    classes: int

    def sizes(self) -> dict[str, int]:
        """Number of images in each split."""
        return {"train": len(self.train), "val": len(self.val) if self.val else 0, "test": len(self.test)}

    def to(self, device: torch.device) -> "Splits":
        """The same splits on a device."""
        val = self.val and self.val.to(device)
        return replace(self, train=self.train.to(device), val=val, test=self.test.to(device))


def make_splits(dataset: Dataset, train_size: int | None, val_size: int, split_seed: int, normalize: bool) -> Splits:
    """Hold out validation images, then keep `train_size` of the others for training.

    The validation images depend on `val_size` and `split_seed` alone, so that a subset for a quick look is judged on
    the same images as a full run.

    Args:
        dataset: the whole.
        train_size: at least 1; None keeps all.
        val_size: at least 0.
        split_seed: seed of the split.
        normalize: standardise by mean and standard deviation over all pixels of the training images kept.

    Raises:
        InvalidArgument: more images asked for than there are.
        InvalidData: A pixel that is not finite; or training images that are to be normalized, and do not vary.
    """
    n = len(dataset.train)
    if not 0 <= val_size < n:
        raise InvalidArgument("val_size", val_size, f"0 to {n - 1}, as there are {n} training images")
    if train_size is not None and not 1 <= train_size <= n - val_size:
        raise InvalidArgument(
            "train_size",
            train_size,
            f"1 to {n - val_size}, as {val_size} of the {n} training images are held out for validation",
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(split_seed))

    def subset(rows: Tensor) -> Split:
        return replace(dataset.train, rows=rows if dataset.train.rows is None else dataset.train.rows[rows])

    train = subset(order[val_size:][:train_size])
    splits = Splits(train, subset(order[:val_size]) if val_size else None, dataset.test, dataset.classes)
    _check_finite(splits)
    if not normalize:
        return splits
    splits = _standardised(splits)
    _check_finite(splits)
    return splits


def _check_finite(splits: Splits) -> None:
    """Refuse images from which a network computes no finite loss, which would be recorded as diverged runs."""
    for name, split in (("training", splits.train), ("validation", splits.val), ("test", splits.test)):
        if split and not all(map(math.isfinite, split.extremes())):
            scaling = f"(pixel - {split.mean:g}) / {split.std:g}"
            found = f"Among the {len(split)} {name} images are pixels for which it is infinite or NaN."
            raise InvalidData(f"pixels whose {scaling} is a finite number in float32", found)


def _standardised(splits: Splits) -> Splits:
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
    """Return images for NumPy, whose sums, unlike PyTorch's, do not depend on the number of threads."""
    is_small = part.is_floating_point() and part.element_size() <= 2  # such as bfloat16, which NumPy does not have
    return (part.float() if is_small else part).numpy()


def _number(name: str, value: float) -> float:
    """Return a finite number as float, which one of NumPy or PyTorch may not be."""
    try:
        if math.isfinite(value):
            return float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # not one number
        pass
    raise InvalidData(f"a finite number as {name}", f"It is {_described(value)}.")


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return str(value) if isinstance(value, float) else type(value).__name__
