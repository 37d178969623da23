"""Tests of `mnist_mlp.sweeps`."""
