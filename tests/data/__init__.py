"""Tests of `mnist_mlp.data`."""
