"""The page in a real browser, and as text."""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from conftest import Report, Write, run_writer
from playwright.sync_api import Browser, Page, sync_playwright
from test_escape import HOSTILE, inline, rendered, shown

from mnist_mlp.report import report_on
from mnist_mlp.report.analysis.stats import Comparison, compare
from mnist_mlp.report.load import Results, load
from mnist_mlp.report.render import escape, tables
from mnist_mlp.report.render.charts import MOST_PANELS
from mnist_mlp.report.render.looks import OPTIMIZERS
from mnist_mlp.run.record import RUN_FILE

EVIL = "<img src=x onerror=alert(1)>"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; `.ci/run` installs it where it is missing."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the report; at the end, nothing was complained of, asked for over the network or put in a dialog."""
    complaints: list[str] = []
    requests: list[str] = []
    pages = []

    def call(width: int = 1200, scheme: str = "light", directory: Path = tmp_path / "report") -> Page:
        page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()  # type: ignore[arg-type]
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((directory / "index.html").as_uri())
        pages.append(page)
        return page

    yield call
    for page in pages:
        page.context.close()
    assert complaints == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}
    assert len([url for url in requests if url.startswith("file")]) == len(pages)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three optimizers at two learning rates, with a name that is HTML."""
    top = tmp_path_factory.mktemp("tuned")
    write_run = run_writer(top)
    for optim, worse in (("adam", 0.0), ("sgd", 0.05), (EVIL, 0.1)):
        for lr in (0.1, 0.01):
            for seed in (0, 1, 2):
                test = [0.1, 0.9 - worse - lr + seed / 1000 * (1 + worse)]
                write_run(optim=optim, seed=seed, lr=lr, test=test, model={"note": EVIL if optim == "sgd" else "plain"})
    return report_on([top / "sweep"], top / "report", formats=["pdf"]).directory


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_tables_sort_and_filter(tuned: Path, open_page: Open) -> None:
    page = open_page(directory=tuned)
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == [EVIL, "sgd", "adam"]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_placeholder("such as adam").fill("sgd")
    assert column(page, "s0-board", 3) == ["sgd"]


def test_a_click_hides_a_curve(tuned: Path, open_page: Open) -> None:
    page = open_page(directory=tuned)
    lines = page.locator("#s0-curves .scatterlayer .trace .lines path.js-line:visible")
    before = lines.count()
    page.locator("#s0-curves .legend .traces .legendtoggle").first.click()
    page.wait_for_function("[...document.querySelectorAll('#s0-curves')][0].data.some(t => t.visible === 'legendonly')")
    page.wait_for_timeout(500)
    assert 0 < lines.count() < before
    page.locator("#s0-measure").select_option("loss")
    assert page.evaluate("document.getElementById('s0-curves').layout.yaxis.title.text") == "test loss (nats)"
    assert page.locator("#s0-sensitivity .trace").count() > 0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on all initialisations and optimizers at two learning rates."""
    top = tmp_path_factory.mktemp("many")
    write_run = run_writer(top)
    for i, init in enumerate(("default", "he", "lecun")):
        for o, optim in enumerate(OPTIMIZERS):
            for lr in (0.1, 0.01):
                for seed in (0, 1, 2):
                    test = [0.1, 0.9 + o / 100 + i / 1000 - lr / 100 + seed * (1 + (o + i) % 3) / 5000]
                    write_run(init, optim, seed, test=test, lr=lr)
    return report_on([top / "sweep"], top / "report").directory


AXES = "Object.entries(document.getElementById('{}').layout).filter(([key]) => key.startsWith('{}'))"


def test_a_panel_for_each_optimizer(many: Path, open_page: Open) -> None:
    page = open_page(directory=many)
    for chart in ("s0-curves", "s0-sensitivity"):
        titles = page.locator(f"#{chart} .annotation-text").all_text_contents()
        assert titles == list(reversed(OPTIMIZERS))  # the best first
        assert page.locator(f"#{chart} .legendtext").all_text_contents() == ["default", "he", "lecun"]
        axes = dict(page.evaluate(AXES.format(chart, "yaxis")))
        assert len(axes) == 8
        assert {axis["type"] for axis in axes.values()} == {"log"}
        assert len({tuple(axis["range"]) for axis in axes.values()}) == 1
        assert page.locator(f"#{chart} .subplot").count() == 8
    drawn = page.evaluate("document.getElementById('s0-curves').data")
    assert axes["yaxis"]["title"]["text"] == "validation error (%)"
    (first,) = (t for t in drawn if "markers" in t["mode"] and t["xaxis"] == "x" and t["name"] == "lecun")
    assert first["y"] == pytest.approx([90, 100 * (1 - 0.9719 - 0.0002)])
    others = [t for t in drawn if t["mode"] == "lines" and t.get("hoverinfo") == "skip" and "fill" not in t]
    grey = [t for t in others if t["line"]["width"] == 1]
    assert len(grey) == 8 * 3
    assert all(t["x"].count(None) == 7 for t in grey)  # a panel's other cells with this initialisation
    assert len({t["line"]["color"] for t in grey}) == 1


def test_a_name_hides_its_lines_in_all_panels(many: Path, open_page: Open) -> None:
    page = open_page(directory=many)
    page.locator("#s0-curves .legend .legendtoggle").first.click()
    page.wait_for_function("document.getElementById('s0-curves').data.some(t => t.visible === 'legendonly')")
    hidden = "document.getElementById('s0-curves').data.filter(t => t.visible === 'legendonly').map(t => t.name)"
    names = page.evaluate(hidden)
    assert set(names) == {"default"}
    page.locator("#s0-measure").select_option("loss")
    assert page.evaluate(hidden) == names  # still


def test_wide_tables_fit_or_say_that_they_go_on(many: Path, open_page: Open) -> None:
    page = open_page(1200, directory=many)
    page.locator("details summary").click()
    assert page.locator(".scroll").count() == 4
    assert page.locator(".scroll").evaluate_all("all => all.map(e => e.scrollWidth <= e.clientWidth)") == [True] * 4
    assert page.locator(".hint:visible").count() == 0
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_function("document.querySelectorAll('.hint:not([hidden])').length === 4")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.wait_for_function("document.getElementById('s0-curves').layout.grid.columns === 2")


def test_the_forest_stands_below_the_answer(many: Path, open_page: Open) -> None:
    page = open_page(directory=many)
    assert page.locator(".answer + figure img.differences").count() == 1
    assert page.locator("img.differences").count() == 1
    text = (many / "report.md").read_text()
    places = [text.index(part) for part in ("scored highest", "differences.png", "| rank |", "learning_curves.png")]
    assert places == sorted(places)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_both_schemes(tuned: Path, open_page: Open, scheme: str) -> None:
    page = open_page(390, scheme, tuned)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_run_links_to_what_sets_it_apart(tuned: Path, open_page: Open) -> None:
    page = open_page(directory=tuned)
    page.locator("#s0-runs a").last.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    rows = dialog.locator("tbody tr").all_inner_texts()
    assert any(row.startswith("seed\t2") for row in rows)
    assert f"model.note\t{EVIL}\tplain" in rows
    assert "python run.py init=he" in dialog.locator("pre").inner_text()


def test_names_are_text(tuned: Path, open_page: Open) -> None:
    page = open_page(directory=tuned)
    assert page.locator("img[src='x']").count() == 0
    assert EVIL in page.locator("#s0-curves .legend").text_content()  # type: ignore[operator]
    assert EVIL in page.locator("#s0-board").inner_text()
    assert page.locator("img:not([alt])").count() == 0


ODD: dict[str, list[dict[str, object]]] = {
    "one run": [{}],
    "one seed": [{}, {"optim": "sgd"}],
    "all diverged": [{"test": [0.1], "status": "diverged", "reason": "nan", "seed": seed} for seed in (0, 1)],
    "mixed data": [{"data": "mnist"}, {"data": "digits", "digest": "e" * 64}],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_sweeps_make_a_useful_page(write_run: Write, report: Report, open_page: Open, name: str) -> None:
    for run in ODD[name]:
        write_run(**run)
    report()
    page = open_page()
    answers = page.locator(".answer").all_inner_texts()
    expected = {
        "one run": "no other cell with a result",
        "one seed": "no difference can be judged",
        "all diverged": "2 diverged, 0 failed",
        "mixed data": "no other cell with a result",
    }
    assert len(answers) == (2 if name == "mixed data" else 1)
    assert all(expected[name] in answer for answer in answers)


def test_everything_in_a_script_is_json(tuned: Path) -> None:
    page = (tuned / "index.html").read_text()
    parts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert len(parts) == 2
    assert all("<" not in part and json.loads(part) for part in parts)


def test_tables_for_latex_and_figures_for_papers(tuned: Path) -> None:
    latex = (tuned / "summary.tex").read_text()
    assert r"\textless{}img src=x" in latex
    assert re.search(r"& \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] &", latex)
    assert (tuned / "figures/differences.pdf").read_bytes().startswith(b"%PDF")


class Written(NamedTuple):
    """A report, its numbers, and what the terminal was told."""

    directory: Path
    comparison: Comparison
    results: Results
    output: str


def place(run: Path, name: str) -> None:
    """Give a run a directory and a hash of its own, whatever its options are called."""
    content = json.loads((run / RUN_FILE).read_text()) | {"config_hash": name}
    (run / RUN_FILE).write_text(json.dumps(content))
    run.rename(run.with_name(name))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A report on runs in which every text there is, is hostile."""
    top = tmp_path_factory.mktemp("hostile")
    write = run_writer(top)
    for number, text in enumerate(HOSTILE):
        for seed in (0, 1, 2, 3):
            run = write(
                optim=text,
                seed=seed,
                test=[0.1, 0.5 if seed == 3 else 0.9 - number / 1000 + seed / 500 * (number % 3)],
                model={"note": HOSTILE[-number], '=key[/]<i>|"`': int(seed == 3)},  # all cells are tuned alike
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
        report_on([top / "sweep"], top / "report", target=0.8)
    results = load([top / "sweep"])
    return Written(top / "report", compare(results, 0.8), results, output.getvalue())


def test_hostile_csv_is_data(hostile: Written) -> None:
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


def test_hostile_markdown_is_text(hostile: Written) -> None:
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
    for run, why in hostile.results.problems:
        assert shown(f"{escape.line(run)}: {escape.line(why)}") in texts
    headings = [inline(t) for before, t in itertools.pairwise(tokens) if before.type == "heading_open"]
    assert headings == ["init × optim", "mnist", "Method", "To reproduce", "Left out"]
    assert len([token for token in tokens if token.type == "fence"]) == 1


def test_hostile_latex_keeps_its_rows(hostile: Written) -> None:
    comparison = compare(hostile.results, 0.97, ["optim"])  # whose names come first in a row
    source = tables.latex(comparison, "[d]\n*", "d")
    rows = source.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert len(rows) == len(comparison.summary)
    columns = len(tables.leaderboard(comparison).columns) - 3
    for row in rows:
        assert row.endswith(r" \\")
        assert len(re.findall(r"(?<!\\)&", row)) == columns - 1
        assert not row.lstrip().startswith(("[", "*"))
    assert "on {[}d] *:" in source


def test_hostile_names_in_figures_and_the_terminal(hostile: Written) -> None:
    figures = list((hostile.directory / "figures").glob("*.svg"))
    assert len(figures) >= 5
    for path in figures:
        ET.parse(path)  # what XML does not allow ends here
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", hostile.output)
    assert "[bold]u[/bold] [/v]" in hostile.output
    for run, why in hostile.results.problems:
        assert f"left out: {escape.line(run)}: {escape.line(why)}\n" in hostile.output


# Every cell's name in the legend, and as its title, as where one key alone is compared.
ALL_IN_THE_LEGEND = """() => {
    const element = document.getElementById("s0-data"), data = JSON.parse(element.textContent);
    const curves = data.curves.map((cell) => ({ ...cell, label: cell.name, panel: "" }));
    const names = curves.map((cell) => cell.name);
    element.textContent = JSON.stringify({ ...data, curves, panels: [""], legend: names, title: names.join(" ") });
    drawCurves("s0");
}"""


def test_hostile_names_on_the_page(hostile: Written, open_page: Open) -> None:
    page = open_page(directory=hostile.directory)
    board = tables.leaderboard(hostile.comparison)
    cells = page.locator("#s0-board td").evaluate_all("cells => cells.map(cell => cell.textContent)")
    assert cells == [escape.visible(text) for text in board.to_numpy().ravel()]
    panels = list(dict.fromkeys(hostile.comparison.summary.loc[lambda table: table["n"] > 0, "optim"]))[:MOST_PANELS]
    for title, name in zip(page.locator("#s0-curves .annotation-text").all_text_contents(), panels, strict=True):
        begin, _, end = title.partition("…")  # a long one is without its middle
        whole = shown(escape.visible(name))
        assert shown(title) == whole or (whole.startswith(shown(begin)) and whole.endswith(shown(end)) and end)
    page.evaluate(ALL_IN_THE_LEGEND)
    legend = page.locator("#s0-curves .legendtext").all_text_contents()
    assert {shown(text) for text in legend} == {
        shown(escape.visible(cell)) for cell in hostile.comparison.summary["cell"]
    }
    assert page.locator("img").count() == page.locator("figure img").count()
    assert page.locator("script").count() == 4
    assert page.evaluate("[...document.querySelectorAll('a')].map(a => a.protocol)").count("file:") == len(
        page.locator("a").all()
    )
    page.locator("details summary").click()
    page.locator("#s0-runs tr[data-run*='# b'] a").click()
    assert page.get_by_role("dialog").locator("h2").text_content() == escape.visible(
        hostile.directory.parent / "sweep/a\n# b"
    )
    page.get_by_role("button", name="Close").click()
    for run in ("31me", "udcff"):
        page.locator(f"#s0-runs tr[data-run*='{run}'] a").first.click()
        assert page.get_by_role("dialog").locator("tbody tr").count() > 0
        page.get_by_role("button", name="Close").click()
