"""Tests of `mnist_mlp.stats`."""
