"""Error rates and power of verdicts on tuned cells: simulated sweeps, selected and judged by the report's functions.

`TUNED_DESIGNS` in `benchmarks/designs.py` says what is simulated. Each sweep selects learning rates with `select=each`
and with `select=once`, without and with confirmation, by the report's own functions. If the cells are equal, any
"better" or "worse" is false; with `each`, at most 6% of the sweeps plus two standard errors may have one. If one cell
is better by 0.3 points, the share of its differences that are found is the power. Some designs are then repeated with
run directories, which the report reads.

    python -m benchmarks.tuning [--sweeps 400] [--directories 60] [--designs WORDS] [--cells NUMBER]
"""

import argparse
import math

import pandas as pd
from joblib import Parallel, delayed

from benchmarks.designs import DIRECTORY_DESIGNS, TUNED_DESIGNS, TunedDesign
from benchmarks.printing import say
from benchmarks.tuned_cells import column, judge
from benchmarks.tuned_directories import judge_directory
from mnist_mlp.base.sweep_file import EACH, ONCE

MOST = 0.06  # share of sweeps with a false verdict
BATCH = 20  # sweeps in one table
RATES = [
    column(what, how, confirmed) for confirmed in (False, True) for what in ("false", "power") for how in (EACH, ONCE)
]


def bar(sweeps: int) -> float:
    """Return the largest share of sweeps with a false verdict that is taken as chance, two standard errors above."""
    return MOST + 2 * math.sqrt(MOST * (1 - MOST) / sweeps)


def measure(design: TunedDesign, sweeps: int, workers: Parallel) -> pd.Series:
    """Return the means of what `judge` returns."""
    batches = [range(first, min(first + BATCH, sweeps)) for first in range(0, sweeps, BATCH)]
    parts = workers(delayed(judge)(design, batch) for batch in batches)
    return pd.DataFrame([row for part in parts for row in part]).mean()


def main() -> None:
    """Print the tables, and whether all bars hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sweeps", type=int, default=400, help="simulated sweeps of each design [%(default)s]")
    parser.add_argument("--directories", type=int, default=60, help="of each design with run directories [%(default)s]")
    parser.add_argument("--designs", default="", help="only those whose name contains this [all]")
    parser.add_argument("--cells", type=int, help="only those with this number of cells [all]")
    arguments = parser.parse_args()
    failed, rows, reasons = [], [], {}
    with Parallel(n_jobs=-1) as workers:
        for design in TUNED_DESIGNS:
            if arguments.designs not in design.name or arguments.cells not in (None, design.cells):
                continue
            found = measure(design, arguments.sweeps, workers)
            limit = bar(arguments.sweeps)
            about = [design.name, str(design.cells), str(design.seeds), "none" if design.unequal else f"{limit:.1%}"]
            rows.append([*about, *(f"{found[name]:.1%}" for name in RATES)])
            say(" | ".join(rows[-1]))
            if design.unequal:
                reasons[design.name] = design.unequal
            elif max(found[column("false", EACH, confirmed)] for confirmed in (False, True)) > limit:
                failed.append(f"{design.name} ({design.cells} cells, n = {design.seeds})")
        print_table(["design", "cells", "n", "bar", *RATES], rows)
        for name, reason in reasons.items():
            print(f"No bar for {name}: {reason}.")
        rows = []
        for design, confirmed in DIRECTORY_DESIGNS if arguments.directories else ():
            if arguments.designs not in design.name or arguments.cells not in (None, design.cells):
                continue
            false = workers(
                delayed(judge_directory)(design, confirmed, number) for number in range(arguments.directories)
            )
            share, limit = sum(false) / len(false), bar(arguments.directories)
            kind = "confirmed" if confirmed else "search"
            rows.append([design.name, str(design.cells), str(design.seeds), kind, f"{limit:.1%}", f"{share:.1%}"])
            say(" | ".join(rows[-1]))
            if share > limit:
                failed.append(f"{design.name} in run directories")
        print_table(["design in run directories", "cells", "n", "runs", "bar", "false each"], rows)
    print(f"Above their bar: {'; '.join(failed)}." if failed else "All bars hold.")


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table as Markdown, unless it is empty."""
    if not rows:
        return
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


if __name__ == "__main__":
    main()
