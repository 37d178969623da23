"""Pages of the documentation, and their code blocks."""

import re

from tests.helpers.paths import ROOT

PATHS = (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in PATHS}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.DOTALL | re.MULTILINE)
