"""Map of the package for docs/design.md, from the first lines of its docstrings.

`python docs/module_map.py` checks that the page is up to date, and exits with 1 if not; `--write` writes the map.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/design.md"
BEGIN, END = "<!-- module map, by docs/module_map.py -->\n", "<!-- end of the module map -->\n"
PACKAGES = ("base", "data", "network", "training", "build", "stats", "analysis", "report", "sweeps", "app")


def module_map() -> str:
    """Return the map in Markdown: one table per package, in the order in which they import each other."""
    folders = [folder for name in PACKAGES for folder in _packages(ROOT / "mnist_mlp" / name)]
    unknown = {path.name for path in (ROOT / "mnist_mlp").iterdir() if (path / "__init__.py").exists()} - {*PACKAGES}
    if unknown:
        raise SystemExit(f"docs/module_map.py: PACKAGES lacks {', '.join(sorted(unknown))}")
    return "\n".join(map(_table, folders))


def _packages(folder: Path) -> Iterator[Path]:
    yield folder
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            yield from _packages(inner)


def _table(folder: Path) -> str:
    modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    rows = [f"| `{path.name}` | {_first_line(path)} |" for path in modules]
    name = folder.relative_to(ROOT / "mnist_mlp").as_posix()
    return "\n".join(
        [f"**`{name}/`** {_first_line(folder / '__init__.py')}\n", "| module | content |", "|---|---|", *rows, ""]
    )


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise SystemExit(f"{path.relative_to(ROOT)}: expected a docstring")
    return docstring.splitlines()[0]


def main(arguments: list[str]) -> int:
    """Check or write the map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the map into docs/design.md")
    given = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    expected = f"{before}{BEGIN}\n{module_map()}\n{END}{after}"
    if given.write:
        PAGE.write_text(expected, encoding="utf-8")
    elif expected != text:
        print("docs/design.md: its module map is out of date. Run: python docs/module_map.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
