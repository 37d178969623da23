"""Tests of `mnist_mlp.network`."""
