"""Statistics as a standalone package."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mnist_mlp.stats import compare_pairs


def test_stats_import_loads_neither_torch_nor_hydra() -> None:
    program = "import mnist_mlp.stats, sys; print({'torch', 'hydra', 'omegaconf'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize("scale", [0.1, 100.0])
def test_compare_pairs_bounds_limit_intervals_only_where_given(scale: float) -> None:
    table = pd.DataFrame(scale * np.array([[0.9, 0.1, 0.9], [0.1, 0.8, 0.2]]), index=["a", "b"])
    free, _ = compare_pairs(table)
    bounded, _ = compare_pairs(table, bounds=(0.0, scale))
    assert free["ci_high"].item() > scale
    assert (bounded["ci_low"].item(), bounded["ci_high"].item()) == (-scale, scale)
    others = [column for column in free if column not in ("ci_low", "ci_high")]
    pd.testing.assert_frame_equal(free[others], bounded[others])


def test_compare_pairs_scale_changes_no_p_value() -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(4, 5)))
    small, large = (compare_pairs(scale * table)[0] for scale in (1.0, 1000.0))
    np.testing.assert_allclose(small["p"], large["p"], rtol=1e-6)
    np.testing.assert_allclose(1000 * small["ci_low"], large["ci_low"], rtol=1e-6)
