"""Tests of the documentation and the benchmarks."""
