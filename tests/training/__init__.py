"""Tests of `mnist_mlp.training`."""
