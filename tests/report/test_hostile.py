"""Reports with hostile text everywhere, which every format shows literally."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from playwright.sync_api import expect

from mnist_mlp.analysis.comparison import Comparison, compare
from mnist_mlp.analysis.load import Results, load
from mnist_mlp.base.record import RUN_FILE
from mnist_mlp.base.sweep_file import ONCE
from mnist_mlp.report import report_on, tables
from mnist_mlp.report.figures.panels import MAX_PANELS
from mnist_mlp.report.figures.plots import MAX_CELLS
from mnist_mlp.report.figures.style import appearance
from mnist_mlp.report.text import escape
from tests.helpers.hostile import HOSTILE, inline, rendered, shown
from tests.helpers.pages import Open
from tests.helpers.runs import run_writer


class Written(NamedTuple):
    """A report, its numbers and its terminal output."""

    directory: Path
    comparison: Comparison
    results: Results
    output: str


def place(run: Path, name: str) -> None:
    """Return a writer that gives each run a unique directory and hash, with any option names."""
    content = json.loads((run / RUN_FILE).read_text()) | {"config_hash": name}
    (run / RUN_FILE).write_text(json.dumps(content))
    run.rename(run.with_name(name))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report on runs in which every text is hostile."""
    top = tmp_path_factory.mktemp("hostile")
    write = run_writer(top)
    for number, text in enumerate(HOSTILE):
        for seed in (0, 1, 2, 3):
            run = write(
                optim=text,
                seed=seed,
                test=[0.1, 0.5 if seed == 3 else 0.9 - number / 1000 + seed / 500 * (number % 3)],
                model={"note": HOSTILE[-number], '=key[/]<i>|"`': int(seed == 3)},  # equal tuning effort
                environment={"device": text},
                status="failed" if (number, seed) == (3, 2) else "completed",
                reason="\n".join(HOSTILE) if (number, seed) == (3, 2) else None,
            )
            place(run, f"{number}-{seed}")
    for number, name in enumerate(("a\n# b", "=c <img src=x>", "`` d ``", "\x1b[31me\r", os.fsdecode(b"f\xff"))):
        good, broken = (write(optim="adam", seed=seed, test=[0.1, 0.9]) for seed in (number, number + 10))
        place(good, name)
        (broken / RUN_FILE).write_text(json.dumps({"status": HOSTILE[number]}))
        broken.rename(broken.with_name(f"{name} "))
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        report_on([top / "sweep"], top / "report", target=0.8, select=ONCE)
    results = load([top / "sweep"])
    return Written(top / "report", compare(results, 0.8, how=ONCE), results, output.getvalue())


def test_csv_of_hostile_names_is_data(hostile: Written) -> None:
    frames = {
        "summary": tables.summary_csv(hostile.comparison),
        "runs": tables.runs_csv(hostile.comparison).reset_index(),
        "pairs": tables.pairs_csv(hostile.comparison),
    }
    for name, frame in frames.items():
        with (hostile.directory / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == list(frame.columns)
        assert len(rows) == len(frame)
        for row, values in zip(rows, frame.itertuples(index=False, name=None), strict=True):
            for cell, value in zip(row, values, strict=True):
                if isinstance(value, str):
                    assert cell in (escape.visible(value), "'" + escape.visible(value))
                    assert not cell.startswith(tuple("=+-@\t\r\n"))
                elif pd.isna(value):
                    assert cell == ""
                else:
                    assert str(value) == cell or type(value)(cell) == value


def test_markdown_of_hostile_names_is_text(hostile: Written) -> None:
    source = (hostile.directory / "report.md").read_text(encoding="utf-8")
    tokens = rendered(source)
    texts = [inline(token) for token in tokens if token.type == "inline"]
    board = tables.leaderboard(hostile.comparison)
    cells = iter(
        token for token, before in zip(tokens[1:], tokens, strict=False) if before.type in ("th_open", "td_open")
    )
    for expected in (*board.columns, *board.to_numpy().ravel()):
        assert inline(next(cells)) == shown(expected)
    assert not list(cells)
    pictures = [child for token in tokens for child in token.children or [] if child.type == "image"]
    names = {f"figures/{path.name}" for path in (hostile.directory / "figures").glob("*.png")}
    assert {picture.attrs["src"] for picture in pictures} == names
    assert len(pictures) == len(names)
    for run, why, _ in hostile.results.problems:
        assert shown(f"{escape.line(run)}: {escape.line(why)}") in texts
    headings = [inline(t) for before, t in itertools.pairwise(tokens) if before.type == "heading_open"]
    assert headings == ["init × optim", "mnist", "Effects of the compared keys", "Method", "To reproduce", "Left out"]
    assert len([token for token in tokens if token.type == "fence"]) == 1


def test_report_with_names_like_figures_keeps_files_of_the_user(tmp_path: Path) -> None:
    write = run_writer(tmp_path)
    run = write(optim="x](figures/mine.png)")
    content = json.loads((run / RUN_FILE).read_text())
    (run / RUN_FILE).write_text(json.dumps(content | {"overrides": ["a=\n![x](figures/mine.png)\n"]}))
    hydra = {"hydra": {"overrides": {"task": ["a=\n![x](figures/mine.png)\n"], "hydra": []}}}
    (tmp_path / "sweep/multirun.yaml").write_text(json.dumps(hydra))
    figures = report_on([tmp_path / "sweep"], tmp_path / "report", formats=["pdf"]).directory / "figures"
    (figures / "mine.png").write_text("a user's own")
    report_on([tmp_path / "sweep"], tmp_path / "report")
    assert (figures / "mine.png").exists()
    assert not list(figures.glob("*.pdf"))  # figures of the last report are removed


def test_latex_of_hostile_names_keeps_its_rows(hostile: Written) -> None:
    comparison = compare(hostile.results, 0.97, ["optim"])  # its names come first in a row
    source = tables.latex(comparison, "[d]\n*", "d", most=len(comparison.summary))
    rows = source.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert len(rows) == len(comparison.summary)
    columns = len(["optim", *comparison.tuned, "test accuracy (%)", "vs. best", "n", "diverged"])
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == columns - 1
        assert not row.lstrip().startswith(("[", "*"))
    assert "on {[}d] *:" in source


def test_figures_and_terminal_show_hostile_names_as_text(hostile: Written) -> None:
    figures = list((hostile.directory / "figures").glob("*.svg"))
    assert len(figures) >= 5
    for path in figures:
        ET.parse(path)  # raises on characters that XML forbids
    cells = {shown(text) for path in figures for text in ET.parse(path).getroot().itertext()}
    assert {shown(escape.figure(cell)).replace("\\$", "$") for cell in hostile.comparison.summary["cell"][:1]} <= cells
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", hostile.output)
    assert "[bold]u[/bold] [/v]" in hostile.output
    for run, why, _ in hostile.results.problems:
        assert f"left out: {escape.line(run)}: {escape.line(why)}\n" in hostile.output


def test_page_shows_hostile_names_as_text(hostile: Written, open_page: Open) -> None:
    page = open_page(hostile.directory)
    board = tables.leaderboard(hostile.comparison)
    cells = page.locator("#s0-board td").evaluate_all("cells => cells.map(cell => cell.textContent)")
    assert cells == [escape.visible(text) for text in board.to_numpy().ravel()]
    summary = hostile.comparison.summary
    look = appearance(summary, hostile.comparison.by)
    panels = list(look.panels(set(summary.loc[summary["n"] > 0, "cell"]), MAX_PANELS))
    texts = page.locator("#learning_curves .view:visible text:not(.key text)").all_text_contents()
    titles = [text for text in texts if not re.fullmatch(r"Epoch|Test error \(%\)|[0-9.]+", text)]
    for title, name in zip(titles, panels, strict=True):
        begin, _, end = title.partition("…")  # long titles are shortened in the middle
        whole = shown(escape.line(name))
        assert shown(title) == whole or (whole.startswith(shown(begin)) and whole.endswith(shown(end)) and end)
    values = page.locator("#seeds svg[role=img]").evaluate(
        "svg => JSON.parse(svg.dataset.series).map(([name]) => name)"
    )
    assert {*values} == {escape.visible(cell) for cell in summary.loc[summary["score"].notna(), "cell"][:MAX_CELLS]}
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.evaluate("[...document.querySelectorAll('a')].map(a => a.protocol)").count("file:") == len(
        page.locator("a").all()
    )
    page.locator("details.runs summary").click()
    dialog = page.get_by_role("dialog")  # shown only after the click has returned
    runs = page.locator("#s0-runs tbody tr")
    names = runs.evaluate_all("rows => rows.map(row => row.dataset.run)")
    for run in ("a\n# b", "\x1b[31me\r", os.fsdecode(b"f\xff")):
        name = escape.visible(hostile.directory.parent / "sweep" / run)
        runs.nth(names.index(name)).get_by_role("link").click()
        expect(dialog.locator("h2")).to_have_text(name)
        expect(dialog.locator("tbody tr")).not_to_have_count(0)
        page.get_by_role("button", name="Close").click()
        expect(dialog).to_be_hidden()
