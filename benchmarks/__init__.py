"""The measurements behind every figure of speed in docs/speed.md: `make bench`."""
