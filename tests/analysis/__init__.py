"""Tests of `mnist_mlp.analysis`."""
