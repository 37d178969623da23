"""Measurements of speed and simulations of error rates: every figure that the documentation quotes."""
