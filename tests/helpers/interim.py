"""Interim analyses: tables of scores, and their records."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mnist_mlp.base.interim import InterimRecord

LEVEL = 0.01
NOISE = (0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.08, -0.08)  # of eight seeds


def scores(**cells: Sequence[float]) -> pd.DataFrame:
    """Return accuracies from points above 90%; a cell with fewer seeds has the first ones."""
    longest = max(map(len, cells.values()))
    rows = {cell: [*(0.9 + value / 100 for value in of), *[np.nan] * (longest - len(of))] for cell, of in cells.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def look(seeds: int, level: float = LEVEL, cells: Sequence[str] = ("a", "b")) -> InterimRecord:
    return InterimRecord(list(range(seeds)), level, cells, "", {})
