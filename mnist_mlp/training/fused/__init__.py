"""Fused kernels: hand-written forward and backward passes of one run on the CPU."""
