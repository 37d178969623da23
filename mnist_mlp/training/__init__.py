"""What becomes of one run: plain objects in, records out."""

from mnist_mlp.training.loop import train
from mnist_mlp.training.muon import Muon
from mnist_mlp.training.seeds import derive_seeds

__all__ = ["Muon", "derive_seeds", "train"]
