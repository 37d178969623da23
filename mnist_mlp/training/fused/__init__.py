"""Fused kernels: hand-written forward and backward passes on the CPU."""
