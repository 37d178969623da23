"""What becomes of one run: plain objects in, records out."""

from mnist_mlp.training.loop import train
from mnist_mlp.training.seeds import derive_seeds

__all__ = ["derive_seeds", "train"]
