"""Directories of the project and of its data."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]

DATA = Path(os.environ.get("MNIST_MLP_DATA", ROOT / "data"))
