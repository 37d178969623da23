"""Microseconds of each matrix product of a step, by MKL and by oneDNN, between which `network.matmul` chooses."""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import pandas as pd
import torch

from benchmarks.contenders import BATCH, SIZES

REPEATS, CALLS = 9, 200


def compare() -> pd.DataFrame:
    """One row for each product of a training step that is not tiny, and one for an evaluation's."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = {}
    for fan_in, fan_out in list(pairwise(SIZES))[:-1]:
        weight, x, gradient = torch.randn(fan_out, fan_in), torch.rand(fan_in, BATCH), torch.randn(fan_out, BATCH)
        rows[f"{fan_out}x{fan_in}, forward"] = _both(weight, x.t())
        rows[f"{fan_out}x{fan_in}, gradient by the weight"] = _both(gradient, x)
        rows[f"{fan_out}x{fan_in}, gradient by the input"] = _both(gradient.t(), weight.t())
        rows[f"{fan_out}x{fan_in}, evaluation of 1,000 images"] = _both(torch.rand(1000, fan_in), weight)
    torch.set_num_threads(threads)
    frame = pd.DataFrame(rows, index=["MKL", "oneDNN"]).T
    frame["oneDNN / MKL"] = frame["oneDNN"] / frame["MKL"]
    return frame


def _both(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Medians of both, taking turns, of a @ b.T."""
    onednn = torch.ops.mkldnn._linear_pointwise.default
    ways: list[Callable[[], object]] = [lambda: torch.mm(a, b.t()), lambda: onednn(a, b, None, "none", [], "")]
    taken: list[list[float]] = [[], []]
    for _ in range(REPEATS):
        for way, seconds in zip(ways, taken, strict=True):
            started = time.perf_counter()
            for _ in range(CALLS):
                way()
            seconds.append((time.perf_counter() - started) / CALLS * 1e6)
    mkl, other = map(statistics.median, taken)
    return mkl, other
