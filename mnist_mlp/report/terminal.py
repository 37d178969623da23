"""Terminal output of a report: leaderboard, answer, notes, failures and the path of the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import Problem, ProblemKind
from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.report import tables
from mnist_mlp.report.text import escape
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.headline import headline

PLAIN_WIDTH = 200  # columns, if the output is not a terminal
SHOWN_PROBLEMS = 20
SHOWN_CELLS = 50
# Kinds of problems of which only the first is shown: they lose no result and may be many.
MANY = {
    ProblemKind.REPEATED: ("duplicate", "duplicates"),
    ProblemKind.SUPERSEDED: ("that confirms an earlier selection", "that confirm earlier selections"),
}


def show(
    comparisons: Mapping[str, Comparison], failures: Mapping[str, str], problems: Sequence[Problem], directory: Path
) -> None:
    """Print the summary of a report to standard output.

    Args:
        comparisons: Comparisons by the title of their section.
        failures: Reason of each failed run, by its directory.
        problems: Runs that were left out.
        directory: Report directory.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH

    def cell(value: object) -> Text:  # a plain string would be parsed as markup by rich
        return Text(escape.line(value))

    def say(text: str) -> None:
        console.print(cell(text), soft_wrap=True)

    for data, comparison in comparisons.items():
        board = tables.leaderboard(comparison)
        table = Table(title=cell(data), title_justify="left")
        for column in board.columns:
            table.add_column(cell(column), overflow="fold")  # otherwise long values are truncated
        for row in board.head(SHOWN_CELLS).itertuples(index=False):
            table.add_row(*map(cell, row))
        console.print(table)
        if len(board) > SHOWN_CELLS:
            more = len(board) - SHOWN_CELLS
            say(f"{with_noun(more, 'more cell')} {'is' if more == 1 else 'are'} in the report")
        if words := headline(comparison):
            say(words)
        for fact in answer(comparison):
            say(f"- {fact}")
        for note in comparison.notes:
            say(f"note: {note}")
    for run, reason in list(failures.items())[:SHOWN_PROBLEMS]:
        say(f"failed: {run}: {reason} (traceback in its run.json)")
    if len(failures) > SHOWN_PROBLEMS:
        say(f"failed: {len(failures) - SHOWN_PROBLEMS} more, listed in runs.csv")
    of_kind = {kind: [problem for problem in problems if problem.kind is kind] for kind in MANY}
    others = [problem for problem in problems if problem.kind not in MANY]
    named = [*(problem for of in of_kind.values() for problem in of[:1]), *others]
    for problem in named[:SHOWN_PROBLEMS]:
        say(f"left out: {problem.run}: {problem.why}")
    for kind, (one, several) in MANY.items():
        if (more := len(of_kind[kind]) - 1) > 0:
            say(f"left out: {more} more {one if more == 1 else several}, listed in the report")
    if len(named) > SHOWN_PROBLEMS:
        say(f"left out: {len(named) - SHOWN_PROBLEMS} more, listed in the report")
    say(f"report: {directory / 'index.html'}")
