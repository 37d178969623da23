"""Statistics of tables, cells x replicates: paired tests that share their variances, pairs, verdicts, interim levels.

They need NumPy, SciPy and pandas only, and no other part of this package.
"""

from mnist_mlp.stats.means import mean_intervals
from mnist_mlp.stats.moderated_t import judge, moderate
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.verdicts import Reason, Verdict

__all__ = ["Reason", "Verdict", "compare_pairs", "judge", "mean_intervals", "moderate"]
