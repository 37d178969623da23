"""Analysis of sweeps: from run directories to tables and statements, as data. Never trains, never changes a run."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_mlp.base.errors import UserError

if TYPE_CHECKING:  # else what takes long to import is left until it is needed
    from mnist_mlp.analysis.comparison import Comparison
    from mnist_mlp.analysis.load import Results


def compared(
    sweeps: Sequence[Path],
    target: float | None = None,
    by: Sequence[str] | None = None,
    about: Collection[Path] = (),
    select: str | None = None,
) -> "tuple[Results, dict[str, Comparison]]":
    """Compare the runs of these sweeps together.

    Args:
        sweeps: Sweep or run directories.
        target: Accuracy in (0, 1] whose time is reported; None for 0.97 on MNIST and none on other data.
        by: Keys to compare; None for those that the sweeps compare (initialization and optimizer unless said).
        about: Run directories whose sections come first, whatever else lies in the sweeps.
        select: How configurations are selected, "each" or "once" (see `mnist_mlp.analysis.selection`); None for what
            is on record. Sweeps that have confirmed their selections keep theirs.

    Returns:
        The runs, and each section's comparison by its title.

    Raises:
        UserError: Nothing to report on, a target out of range, a key that cannot be compared, or a selection that
            cannot be asked for.
    """
    from mnist_mlp.analysis import comparison, load, outcomes, roles, sections

    if target is not None and not (math.isfinite(target) and 0 < target <= 1):
        raise UserError(f"--target {target}: allowed is a fraction greater than 0 and at most 1, such as 0.97")
    for sweep in sweeps:
        if not sweep.is_dir():
            raise UserError(f"{sweep}: there is no such directory")
    results = load.load(sweeps)
    if results.runs.empty:
        listed = "\n".join(f"  {problem.run}: {problem.why}" for problem in results.problems)
        raise UserError(f"no run to report on in {', '.join(map(str, sweeps))}\n{listed}".rstrip())
    on_each = [part for _, part in roles.tested(results.runs).groupby("data")]
    varying = list(dict.fromkeys(key for part in on_each for key in roles.varying_keys(part)))
    keys = roles.compared_keys(varying, by, results.records)
    how = roles.selection_of(results.records, select)
    results.runs[[key for key in keys if key not in results.runs]] = None  # no option that was run has them
    results = roles.once(results, keys)
    on_each = [part for _, part in roles.tested(results.runs).groupby("data")]
    measured = list(dict.fromkeys(key for part in on_each for key in roles.measured_keys(part, keys)))
    parts, own = sections.sections(results, keys), set(map(str, about))
    ordered = sorted(parts.items(), key=lambda section: own.isdisjoint(section[1].runs.index))
    comparisons = {
        name: comparison.compare(
            part,
            outcomes.usual_target(part.runs) if target is None else target,
            keys,
            measured,
            how,
            sections.moving_with_seeds(part, results, measured),
        )
        for name, part in ordered
    }
    told = tuple(dict.fromkeys(key for section in comparisons.values() for key in section.tuned))
    return results, {name: replace(section, told=told) for name, section in comparisons.items()}
