"""Tests of `mnist_mlp.base`."""
