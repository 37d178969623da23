"""Training of one run, or of a stack of runs: plain objects in, records out."""

from mnist_mlp.training.loop import train
from mnist_mlp.training.seeds import derive_seeds
from mnist_mlp.training.updates.muon import Muon

__all__ = ["Muon", "derive_seeds", "train"]
