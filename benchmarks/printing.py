"""Output of the benchmarks: progress to standard error, tables in Markdown to standard output."""

import datetime
import sys

import pandas as pd


def say(text: str) -> None:
    """Show progress on standard error."""
    print(f"{datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def show(title: str, frame: pd.DataFrame, digits: int = 2) -> None:
    """Print a table as Markdown."""
    print(f"\n{title}:\n\n|  | {' | '.join(frame.columns)} |\n|---|{'---|' * len(frame.columns)}")
    for name, row in frame.iterrows():
        print(f"| {name} | {' | '.join(f'{value:.{digits}f}' for value in row)} |")
    print(flush=True)
