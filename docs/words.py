"""Check of the language of code and documentation, which `make check` runs.

Everything that people read has to be in the field's words: no phrase of `PHRASES`, and no docstring that begins with a
relative clause. Exceptions are in `ALLOWED`, each with its reason.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SUFFIXES = {".py", ".md", ".yaml", ".jinja", ".js", ".css", ".toml"}
GENERATED = ("reports/",)
PHRASES = re.compile(
    r"\b(?:(?i:(?:allowed|permitted) (?:is|are)|nobody|somebody|anybody|whoever|whatever|wherever|anew|be had|but for"
    r"|told)"
    r"|(?:is|are) none)\b"
)
BEGINNINGS = re.compile(r"(?:What|Which|Who|Whether|How|Where|Those|As|That)\b")
ALLOWED = {  # (file, phrase): reason
    ("docs/words.py", None): "names the phrases",
}


def problems() -> Iterator[str]:
    """Yield one line for each phrase and each docstring that is not in the field's words."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix not in SUFFIXES or name.startswith(GENERATED) or not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            for phrase in PHRASES.findall(line):
                if not {(name, None), (name, phrase.lower())} & ALLOWED.keys():
                    yield f"{name}:{number}: {phrase!r} is on the list of words to avoid"
        if path.suffix == ".py":
            yield from (f"{name}:{number}: a docstring that begins with {word!r}" for number, word in _clauses(text))


def _clauses(text: str) -> Iterator[tuple[int, str]]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, kinds) and (found := BEGINNINGS.match(ast.get_docstring(node) or "")):
            yield getattr(node, "lineno", 1), found[0]


if __name__ == "__main__":
    lines = list(problems())
    print("\n".join(lines), file=sys.stderr)
    sys.exit(1 if lines else 0)
