"""The measurements behind every figure of speed that the README quotes: `make bench`."""
