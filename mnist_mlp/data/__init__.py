"""Data sets, their splits and batches, and their downloads."""

from mnist_mlp.data.batches import batches
from mnist_mlp.data.datasets import digits, fashion_mnist, mnist
from mnist_mlp.data.splits import Dataset, Split, Splits, make_splits

__all__ = ["Dataset", "Split", "Splits", "batches", "digits", "fashion_mnist", "make_splits", "mnist"]
