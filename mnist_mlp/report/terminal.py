"""The report in the terminal: leaderboard, notes, failures, and where the rest is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_mlp.report.load import Problem
from mnist_mlp.report.page import leaderboard
from mnist_mlp.report.stats import Comparison

PLAIN_WIDTH = 160  # columns where the output is no terminal
SHOWN_PROBLEMS = 20


def show(
    comparisons: Mapping[str, Comparison], failures: Mapping[str, str], problems: Sequence[Problem], directory: Path
) -> None:
    """Print the report's essence to standard output.

    Args:
        comparisons: data set to its tables.
        failures: directory of each failed run to its reason.
        problems: what was left out.
        directory: where the report is.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    for data, comparison in comparisons.items():
        board = leaderboard(comparison)
        table = Table(*board.columns, title=data, title_justify="left")
        for row in board.itertuples(index=False):
            table.add_row(*(Text(str(value)) for value in row))
        console.print(table)
        for note in comparison.notes:
            console.print(Text(f"note: {note}"), soft_wrap=True)
    for run, reason in failures.items():
        console.print(Text(f"failed: {run}: {reason} (traceback in its run.log)"), soft_wrap=True)
    for problem in problems[:SHOWN_PROBLEMS]:
        console.print(Text(f"left out: {problem.run}: {problem.why}"), soft_wrap=True)
    if len(problems) > SHOWN_PROBLEMS:
        console.print(f"left out: {len(problems) - SHOWN_PROBLEMS} more, listed in the report")
    console.print(Text(f"report: {directory / 'index.html'}"), soft_wrap=True)
