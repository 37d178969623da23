"""The network: its layers, how their weights begin, and what is dropped."""

from mnist_mlp.network.init import initialise, lsuv_, truncated_normal_, variance_scaling_
from mnist_mlp.network.mlp import MLP

__all__ = ["MLP", "initialise", "lsuv_", "truncated_normal_", "variance_scaling_"]
