"""Sweeps over weight initialisation and optimizer on small image classifiers."""
