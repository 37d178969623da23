"""Tests of `mnist_mlp.app`."""
