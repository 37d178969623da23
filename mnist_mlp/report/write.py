"""Writer of a report directory: tables, figures, `index.html` and `report.md`."""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from mnist_mlp.analysis.comparison import Comparison
from mnist_mlp.analysis.load import ENVIRONMENT, Problem
from mnist_mlp.analysis.notes import shorten_all
from mnist_mlp.analysis.roles import with_noun
from mnist_mlp.analysis.values import as_text, sort_key
from mnist_mlp.base.configuration import key_of
from mnist_mlp.base.reading import Unreadable
from mnist_mlp.base.record import write_atomically
from mnist_mlp.base.schema import EXPERIMENT
from mnist_mlp.base.sweep_file import SWEEP_FILE, read_sweep
from mnist_mlp.report import tables
from mnist_mlp.report.figures.draw import draw
from mnist_mlp.report.figures.style import MARKERS
from mnist_mlp.report.figures.svg import themed
from mnist_mlp.report.page.differences import differences
from mnist_mlp.report.text import escape, noise, table_notes
from mnist_mlp.report.text.answer import answer
from mnist_mlp.report.text.headline import headline
from mnist_mlp.report.text.method import method
from mnist_mlp.report.text.training import origin, sentence, trained
from mnist_mlp.report.text.units import Unit

DRAWN_FILE = ".drawn.json"  # lists the figures in its folder
LONGEST_FACT = 60  # characters of one fact about provenance
TEMPLATES = Path(__file__).parent / "page"
FORMATS = ("png", "svg", "pdf", "eps")


def write_report(
    directory: Path,
    comparisons: Mapping[str, Comparison],
    problems: Sequence[Problem],
    sources: Sequence[Path],
    command: str,
    formats: Sequence[str] = (),
    width: str | None = None,
) -> None:
    """Write all files of a report, replacing those of an earlier report.

    Args:
        directory: Report directory, created if it does not exist.
        comparisons: Comparisons by the title of their section.
        problems: Runs that were left out.
        sources: Sweep directories that the report names.
        command: Command line that reproduces this report.
        formats: Formats of the figures in addition to PNG and SVG.
        width: Width of the figures' files (see `draw`).
    """
    (directory / "figures").mkdir(parents=True, exist_ok=True)
    _remove_figures(directory / "figures")
    write_tables(directory, comparisons)
    slugs = escape.slugs(list(comparisons))
    sections = []
    for number, (data, comparison) in enumerate(comparisons.items()):
        suffix = f"_{slugs[number]}" if len(comparisons) > 1 else ""
        drawings = draw(directory / "figures", comparison, suffix, formats, width)
        sections.append({"id": f"s{number}", "data": data, "drawings": drawings, **_section(comparison)})
    names = [drawing.name for section in sections for drawing in section["drawings"]]
    write_atomically(directory / "figures" / DRAWN_FILE, json.dumps(names) + "\n")
    runs = pd.concat(comparison.runs for comparison in comparisons.values())
    commands = [given for sweep in sources if (given := sweep_commands(sweep))]
    content = {
        "sections": sections,
        "markers": MARKERS,
        "problems": problems,
        "sources": sources,
        "origin": origin(runs[~runs.index.duplicated()]),
        "made_by": [given[-1] for given in commands],
        "commands": [*chain.from_iterable(commands), command],
    }
    write_atomically(directory / "index.html", _rendered("index.html", escape.html, content))
    write_atomically(directory / "report.md", _rendered("report.md", escape.markdown, content))


def _section(comparison: Comparison) -> dict[str, Any]:
    """Return the template variables of one comparison."""
    return {
        "comparison": comparison,
        "headline": headline(comparison),
        "answer": answer(comparison),
        "method": method(comparison),
        "trained": sentence(trained(comparison)),
        "searched": sentence(trained(comparison, search=True)),
        "leaderboard": tables.leaderboard(comparison),
        "letters_note": table_notes.letters(comparison),
        "pairs": tables.pairs(comparison),
        "effects": tables.effects(comparison),
        "effects_note": table_notes.effects(comparison),
        "effect_differences": tables.effect_differences(comparison),
        "effect_means": tables.effect_means(comparison),
        "noise": noise.table(comparison.variance_components, Unit(comparison.metric)),
        "runs": tables.runs(comparison),
        "differences": differences(comparison),
        "provenance": provenance_of(comparison.runs),
    }


def _rendered(name: str, finalize: Callable[[Any], Any], content: Mapping[str, Any]) -> str:
    """Render a template; `finalize` escapes every text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,  # text that `finalize` has escaped is not escaped again
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"json": _json, "code": escape.code, "fenced": escape.fenced}
    environment.filters |= {"with_noun": with_noun, "themed": themed}
    return environment.get_template(f"{name}.jinja").render(
        content,
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
        style=Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
    )


def _remove_figures(folder: Path) -> None:
    """Remove the figures that the previous report listed; other files belong to the user."""
    with suppress(OSError, ValueError, TypeError):  # no previous report, or a damaged list
        for name in json.loads((folder / DRAWN_FILE).read_text(encoding="utf-8")):
            for suffix in FORMATS if re.fullmatch(r"[\w-]+", name) else ():
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)


def write_tables(directory: Path, comparisons: Mapping[str, Comparison]) -> None:
    """Write `summary.csv`, `runs.csv`, `pairs.csv` and `summary.tex`, and `budget.csv` if there are tuning curves.

    The tables of several sections are concatenated. Their first column, `data`, is then the title of the section.
    """
    for name, table in tables.CSV.items():
        parts = {data: table(comparison) for data, comparison in comparisons.items()}
        if name == "budget" and not (parts := {data: part for data, part in parts.items() if len(part)}):
            _remove_budget(directory / "budget.csv")
            continue
        if len(comparisons) > 1:
            parts = {data: pd.concat({data: part}, names=["data"]).reset_index("data") for data, part in parts.items()}
        joined = pd.concat(parts.values())
        keys = {"data"}.union(*(chain(c.by, c.tuned, c.varying) for c in comparisons.values()))
        joined = joined[
            sorted(joined.columns, key=lambda column: column not in keys)
        ]  # keys of any section before results
        write_atomically(directory / f"{name}.csv", escape.csv(joined.reset_index() if name == "runs" else joined))
    labels = dict(zip(comparisons, escape.slugs(list(comparisons)), strict=True))
    latex = [tables.latex(comparison, data, labels[data]) for data, comparison in comparisons.items()]
    write_atomically(directory / "summary.tex", "\n".join(latex))


def _remove_budget(path: Path) -> None:
    """Remove the tuning curves of an earlier report. A file with other content belongs to the user, and stays."""
    try:
        with path.open(encoding="utf-8") as file:
            is_own = ",k," in (header := file.readline()) and ",test_expected," in header
    except (OSError, UnicodeDecodeError):
        return
    if is_own:
        path.unlink()


def sweep_commands(sweep: Path) -> list[str]:
    """Return the command lines of a sweep, oldest first; without a `sweep.json`, the one in Hydra's `multirun.yaml`."""
    with suppress(Unreadable):
        return [given.command for given in read_sweep(sweep / SWEEP_FILE).commands]
    try:
        overrides = yaml.safe_load((sweep / "multirun.yaml").read_text(encoding="utf-8"))["hydra"]["overrides"]
        hydra = [word for word in overrides["hydra"] if key_of(word) != "hydra.mode"]
        is_study = EXPERIMENT in map(key_of, overrides["task"])  # a study is a sweep without -m
        flags = [] if is_study else ["-m"]
        return [shlex.join(["python", "run.py", *flags, *overrides["task"], *hydra])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        return []


def provenance_of(runs: pd.DataFrame) -> dict[str, str]:
    """Return the provenance of the runs: code, libraries and machines."""
    columns = [column for column in runs.columns if column.startswith(ENVIRONMENT)]
    values = {c: sorted({as_text(v) for v in runs[c].dropna()}, key=sort_key) for c in columns}
    values = {c: shorten_all(of, LONGEST_FACT, tail=0) for c, of in values.items()}
    return {column.removeprefix(ENVIRONMENT): ", ".join(v) for column, v in values.items() if v}


def _json(content: Any) -> Markup:
    """Return JSON that is safe inside a script element, with any text."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
