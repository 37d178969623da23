"""Pages of the documentation, their code blocks, and the commands in them."""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from tests.helpers.commands import IN_PROCESS, NO_REPORT
from tests.helpers.paths import ROOT

PATHS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}
OWN_PARTS = "docs/extending.md"  # its commands need the files that it shows
WITHOUT_PARTS = [page for page in PAGES if page != OWN_PARTS]
QUICK = ["epochs=1", "data.train_size=100", "data.val_size=100"]
DIGITS = ["data=digits"]  # 299 test images instead of 10,000, for sweeps; single runs and stacks use MNIST


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> Iterator[list[str]]:
    """Yield the commands of each block, without comments."""
    for block in blocks(page, "sh"):
        yield [line for text in block.splitlines() if (line := text.partition("#")[0].strip())]


def runs(pages: Iterable[str] = WITHOUT_PARTS) -> dict[str, list[str]]:
    """Return each run command once, with the other commands of its block: runs of the same report, and reports."""
    found: dict[str, list[str]] = {}
    for lines in (lines for page in pages for lines in commands(page)):
        ran: list[str] = []
        for line in lines:
            if line.startswith("python run.py"):
                ran.append(line)
                found.setdefault(line, [])
            elif line.startswith("python report.py"):
                named = [run for run in ran if f" {run.partition('hydra.sweep.dir=')[2]}" in line and "dir=" in run]
                *others, last = named or ran[-1:]
                for run in others:
                    del found[run]
                found[last] += [*others, line]
    return found


def quickly(line: str, others: Sequence[str]) -> list[str]:
    """Return the arguments of a run command, reduced to seconds; `others` follow it."""
    _, script, *arguments = shlex.split(line)
    quick = [*QUICK, *([NO_REPORT] if others else [])]  # the following commands report on it
    if not any(a.startswith("hydra/launcher=") for a in arguments):
        quick.append(IN_PROCESS)
        if {"-m", "experiment=smoke"} & {*arguments} and not any(a.startswith("data=") for a in arguments):
            quick += DIGITS
    return [script, *arguments, *quick]
