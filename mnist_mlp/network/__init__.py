"""Multi-layer perceptron, weight initializers, dropout and matrix multiplication."""

from mnist_mlp.network.init import initialize, lsuv_, truncated_normal_, variance_scaling_
from mnist_mlp.network.mlp import MLP

__all__ = ["MLP", "initialize", "lsuv_", "truncated_normal_", "variance_scaling_"]
