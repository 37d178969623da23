"""Tests of `mnist_mlp.report`."""
