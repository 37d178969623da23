"""Statistics of a table of scores, cells x replicates: tests and intervals that hold for all comparisons together.

A cell is one of the things compared, such as an initialization with an optimizer. A replicate is a repetition that all
cells share, such as a seed. A missing score is NaN. Intervals are clipped only if the caller passes bounds of the
scores, such as (0, 1) for accuracies. The modules depend on NumPy, SciPy and pandas only.

- `moderated_t`: paired t-tests of many differences at once, whose variances borrow strength from one another.
- `pairs`: comparison of all pairs of cells, with verdicts.
- `verdicts`: verdicts, and reasons why a pair is not tested.
- `effects`: main effects and interaction of two keys; the cells are the combinations of their values.
- `groups`: groups of cells by significant differences, and a compact letter display.
- `means`: means over replicates, with Student's intervals.
- `sequential`: interim analyses while replicates are added, with the error rate of a single test.
- `variance_components`: how much of the variance between replicates comes from each source of randomness.
- `tuning_curves`: expected score of the best of k candidates, for each k.
"""

from mnist_mlp.stats.effects import UntestableEffects, factorial_effects
from mnist_mlp.stats.groups import compact_letters, ordered_groups
from mnist_mlp.stats.means import mean_intervals
from mnist_mlp.stats.moderated_t import moderate, moderated_tests
from mnist_mlp.stats.pairs import compare_pairs
from mnist_mlp.stats.sequential import InterimAnalysis, interim_analysis, interim_levels, interim_schedule
from mnist_mlp.stats.tuning_curves import Lead, best_of, expected_best, leads
from mnist_mlp.stats.variance_components import (
    VarianceComponents,
    crossed_components,
    estimate_components,
    single_component,
)
from mnist_mlp.stats.verdicts import Reason, Verdict

__all__ = [
    "InterimAnalysis",
    "Lead",
    "Reason",
    "UntestableEffects",
    "VarianceComponents",
    "Verdict",
    "best_of",
    "compact_letters",
    "compare_pairs",
    "crossed_components",
    "estimate_components",
    "expected_best",
    "factorial_effects",
    "interim_analysis",
    "interim_levels",
    "interim_schedule",
    "leads",
    "mean_intervals",
    "moderate",
    "moderated_tests",
    "ordered_groups",
    "single_component",
]
