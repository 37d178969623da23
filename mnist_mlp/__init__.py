"""Sweeps over weight initialization and optimizer on small image classifiers."""

__version__ = "0.5.0"
