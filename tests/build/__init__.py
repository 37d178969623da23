"""Tests of `mnist_mlp.build`."""
