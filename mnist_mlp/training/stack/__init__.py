"""Training of R runs at once."""
