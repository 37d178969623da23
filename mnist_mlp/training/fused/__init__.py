"""A training step in single passes over memory, on the CPU."""
