"""Training of R runs at once, as one stack."""
