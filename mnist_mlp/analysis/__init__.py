"""Analysis of sweeps: from run directories to tables and notes, as data. Nothing here trains or changes a run."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp.base.errors import UserError
from mnist_mlp.base.metrics import ACCURACY
from mnist_mlp.base.schema import LAST

if TYPE_CHECKING:  # at run time, slow imports are deferred until they are needed
    from mnist_mlp.analysis.comparison import Comparison
    from mnist_mlp.analysis.load import Results


def compare_sweeps(
    sweeps: Sequence[Path],
    target: float | None = None,
    by: Sequence[str] | None = None,
    about: Collection[Path] = (),
    select: str | None = None,
    where: Sequence[str] = (),
    margin: float | None = None,
    at: str = LAST,
    metric: str = ACCURACY.name,
) -> "tuple[Results, dict[str, Comparison]]":
    """Compare the runs of several sweeps.

    Args:
        sweeps: Sweep or run directories.
        target: Accuracy in (0, 1] to report the time to; None for 0.97 on MNIST and no target on other data.
        by: Keys to compare. None for the keys that the sweeps recorded, or initialization and optimizer without a
            record.
        about: Run directories whose sections come first.
        select: How configurations are selected, "each" or "once" (see `mnist_mlp.analysis.selection`). None for the way
            that the sweeps recorded; it must be None if a sweep has confirmed its selections.
        where: Conditions on the runs to compare, such as `optim=adam,sgd` (see `mnist_mlp.analysis.where`).
        margin: Equivalence margin, a fraction in (0, 1). None for the margin that the sweeps recorded, if any.
        at: Epoch whose test accuracy and loss are scored: "last"; or "best", the epoch of each run with the highest
            validation accuracy, which a sweep with interim analyses does not allow.
        metric: Metric of the test images that is scored: the accuracy, or an additional metric of the runs, which a
            sweep with interim analyses does not allow.

    Returns:
        The runs, and the title of each section to its comparison.

    Raises:
        UserError: There is no run, `target` is out of range, a key cannot be compared, or `select`, `where`,
            `margin`, `at` or `metric` is invalid.
    """
    from mnist_mlp.analysis import comparison, derived, load, outcomes, roles, sections
    from mnist_mlp.analysis.where import keep, parse

    if target is not None and not (math.isfinite(target) and 0 < target <= 1):
        raise UserError(f"--target {target}: expected a fraction in (0, 1], such as 0.97")
    for sweep in sweeps:
        if not sweep.is_dir():
            raise UserError(f"{sweep}: there is no such directory")
    results = load.load(sweeps)
    if results.runs.empty:
        listed = "\n".join(f"  {problem.run}: {problem.why}" for problem in results.problems)
        raise UserError(f"no run to report on in {', '.join(map(str, sweeps))}\n{listed}".rstrip())
    on_each = [part for _, part in roles.evaluation_runs(results.runs).groupby("data")]
    several = (key for part in on_each for key in [*roles.varying_keys(part), *derived.varying_derived(part)])
    varying = list(dict.fromkeys(several))
    keys = roles.compared_keys(varying, by, results.records)
    how = roles.selection_of(results.records, select)
    margin = roles.margin_of(results.records, margin)
    results.runs[[key for key in keys if key not in results.runs]] = None  # keys that no option of these runs has
    results = roles.drop_repetitions(results, keys)
    if where:
        results = keep(results, parse(where), keys)
    on_each = [part for _, part in roles.evaluation_runs(results.runs).groupby("data")]
    measured = list(dict.fromkeys(key for part in on_each for key in roles.measured_keys(part, keys)))
    parts, own = sections.sections(results, keys), set(map(str, about))
    ordered = sorted(parts.items(), key=lambda section: own.isdisjoint(section[1].runs.index))
    comparisons = {
        name: comparison.compare(
            part,
            outcomes.default_target(part.runs) if target is None else target,
            keys,
            measured,
            how,
            sections.moving_with_seeds(part, results, measured),
            margin,
            at,
            metric,
        )
        for name, part in ordered
    }
    tuned_anywhere = tuple(dict.fromkeys(key for section in comparisons.values() for key in section.tuned))
    return results, {name: replace(section, tuned_anywhere=tuned_anywhere) for name, section in comparisons.items()}
