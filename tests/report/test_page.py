"""The page in a real browser, and as text."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mnist_mlp.report import report_on
from mnist_mlp.report.figures.style import OPTIMIZERS
from tests.helpers.pages import Open, opening
from tests.helpers.runs import Report, Write, run_writer

EVIL = "<img src=x onerror=alert(1)>"


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


@pytest.fixture(scope="module")
def page(tuned: Path, browser: Browser) -> Iterator[Page]:
    """That report, for all tests that leave it as they found it: to open it takes longer than most of them."""
    with opening(browser) as call:
        yield call(tuned)


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_tables_sort_and_filter(page: Page) -> None:
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == [EVIL, "sgd", "adam"]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_placeholder("such as adam").fill("sgd")
    assert column(page, "s0-board", 3) == ["sgd"]
    page.get_by_placeholder("such as adam").fill("")
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]


def test_intervals_sort_by_both_ends(page: Page) -> None:
    page.evaluate(
        """texts => document.querySelectorAll("#s0-pairs tbody td:nth-child(5)").forEach((cell, i) => {
            cell.textContent = texts[i];
        })""",
        ["[-0.10, +0.20]", "[+0.10, +0.40]", "[-0.50, +0.10]"],
    )
    head = page.locator("#s0-pairs").get_by_role("button", name="95 % interval")
    head.click()
    assert column(page, "s0-pairs", 5) == ["[-0.50, +0.10]", "[-0.10, +0.20]", "[+0.10, +0.40]"]
    head.click()
    assert column(page, "s0-pairs", 5) == ["[+0.10, +0.40]", "[-0.10, +0.20]", "[-0.50, +0.10]"]
    lists = "['[64, 8]', '[]', '[64]', '[128]', '[64, 32]'].sort((a, b) => byNumbers(numbers(a), numbers(b)))"
    assert page.evaluate(lists) == ["[]", "[64]", "[128]", "[64, 8]", "[64, 32]"]
    cells = ["he / h=[8]", "he / h=[64]", "he / h=[8, 8]", "he / h=[8, 8, 8]", "he / size=8", "he / size=16", "le / 2"]
    assert page.evaluate("(cells) => cells.reverse().sort(byParts)", cells[:4]) == cells[:4]
    assert page.evaluate("(cells) => cells.reverse().sort(byParts)", cells[4:]) == cells[4:]


def test_page_shortens_titles_only_as_long_as_they_differ(page: Page) -> None:
    titles = [f"{'x' * 40}{middle}{'x' * 40}" for middle in "ab"] + ["short"]
    first, second, third = page.evaluate("(titles) => shortened(titles, 20)", titles)
    assert (first != second, third) == (True, "short")
    assert max(len(first), len(second)) < 80
    assert page.evaluate("(titles) => shortened(titles, 20)", titles[1:])[0] == f"{'x' * 13}…{'x' * 6}"


def test_the_page_says_which_runs_have_no_curve(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run()
    write_run(seed=1, test=[0.1], epochs=2, status="diverged", reason="nan")
    report()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Curves of diverged runs are not drawn (1 of 2 runs)." in page


def test_a_click_hides_a_curve(page: Page) -> None:
    lines = page.locator("#s0-curves .scatterlayer .trace .lines path.js-line:visible")
    before = lines.count()
    page.locator("#s0-curves .legend .traces .legendtoggle").first.click()
    page.wait_for_function("[...document.querySelectorAll('#s0-curves')][0].data.some(t => t.visible === 'legendonly')")
    expect(lines).not_to_have_count(before)
    assert 0 < lines.count() < before
    measure = page.locator("#s0-measure")
    first = measure.input_value()
    measure.select_option("loss")
    assert page.evaluate("document.getElementById('s0-curves').layout.yaxis.title.text") == "test loss (nats)"
    assert page.locator("#s0-sensitivity .trace").count() > 0
    measure.select_option(first)
    page.locator("#s0-curves .legend .traces .legendtoggle").first.click()
    page.wait_for_function("document.getElementById('s0-curves').data.every(t => t.visible !== 'legendonly')")


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


@pytest.fixture(scope="module")
def wide(many: Path, browser: Browser) -> Iterator[Page]:
    """That report, for all tests that leave it as they found it."""
    with opening(browser) as call:
        yield call(many)


AXES = "Object.entries(document.getElementById('{}').layout).filter(([key]) => key.startsWith('{}'))"


def test_a_panel_for_each_optimizer(wide: Page) -> None:
    for chart in ("s0-curves", "s0-sensitivity"):
        titles = wide.locator(f"#{chart} .annotation-text").all_text_contents()
        assert titles == list(reversed(OPTIMIZERS))  # the best first
        assert wide.locator(f"#{chart} .legendtext").all_text_contents() == ["default", "he", "lecun"]
        axes = dict(wide.evaluate(AXES.format(chart, "yaxis")))
        assert len(axes) == 8
        assert {axis["type"] for axis in axes.values()} == {"log"}
        assert len({tuple(axis["range"]) for axis in axes.values()}) == 1
        assert wide.locator(f"#{chart} .subplot").count() == 8
    drawn = wide.evaluate("document.getElementById('s0-curves').data")
    assert axes["yaxis"]["title"]["text"] == "validation error (%)"
    (first,) = (t for t in drawn if "markers" in t["mode"] and t["xaxis"] == "x" and t["name"] == "lecun")
    assert first["y"] == pytest.approx([90, 100 * (1 - 0.9719 - 0.0002)])
    others = [t for t in drawn if t["mode"] == "lines" and t.get("hoverinfo") == "skip" and "fill" not in t]
    grey = [t for t in others if t["line"]["width"] == 1]
    assert len(grey) == 8 * 3
    assert all(t["x"].count(None) == 7 for t in grey)  # a panel's other cells with this initialisation
    assert len({t["line"]["color"] for t in grey}) == 1


def test_budget_curves_are_a_chart(write_run: Write, report: Report, open_page: Open, tmp_path: Path) -> None:
    for optim, best in (("adam", 0.9), ("sgd", 0.8)):
        for lr, accuracy in ((0.001, best), (0.01, best - 0.2), (0.1, best - 0.4)):
            write_run(optim=optim, lr=lr, test=[0.1, accuracy])
    report()
    page = open_page(tmp_path / "report")
    drawn = page.evaluate("document.getElementById('s0-budget').data")
    lines = {t["name"]: (t["x"], t["y"]) for t in drawn if "markers" in t["mode"]}
    assert lines["adam"] == ([1, 2, 3], pytest.approx([30, 50 / 3, 10], rel=1e-3))
    assert lines["sgd"] == ([1, 2, 3], pytest.approx([40, 80 / 3, 20], rel=1e-3))
    assert page.locator("img.budget").count() == 0  # the figure would be the same again


def test_a_name_hides_its_lines_in_all_panels(wide: Page) -> None:
    wide.locator("#s0-curves .legend .legendtoggle").first.click()
    wide.wait_for_function("document.getElementById('s0-curves').data.some(t => t.visible === 'legendonly')")
    hidden = "document.getElementById('s0-curves').data.filter(t => t.visible === 'legendonly').map(t => t.name)"
    names = wide.evaluate(hidden)
    assert set(names) == {"default"}
    measure = wide.locator("#s0-measure")
    first = measure.input_value()
    measure.select_option("loss")
    assert wide.evaluate(hidden) == names  # still
    measure.select_option(first)
    wide.locator("#s0-curves .legend .legendtoggle").first.click()
    wide.wait_for_function("document.getElementById('s0-curves').data.every(t => t.visible !== 'legendonly')")


def test_wide_tables_fit_or_say_that_they_go_on(wide: Page) -> None:
    wide.locator("details summary").click()
    assert wide.locator(".scroll").count() == 4
    assert wide.locator(".scroll").evaluate_all("all => all.map(e => e.scrollWidth <= e.clientWidth)") == [True] * 4
    assert wide.locator(".hint:visible").count() == 0
    wide.set_viewport_size({"width": 390, "height": 900})
    wide.wait_for_function("document.querySelectorAll('.hint:not([hidden])').length === 4")
    wide.wait_for_function("document.documentElement.scrollWidth <= 390")
    wide.wait_for_function("document.getElementById('s0-curves').layout.grid.columns === 2")
    wide.set_viewport_size({"width": 1200, "height": 900})
    wide.wait_for_function("document.getElementById('s0-curves').layout.grid.columns > 2")
    wide.locator("details summary").click()


def test_the_forest_stands_below_the_answer(many: Path, wide: Page) -> None:
    assert wide.locator(".answer + figure img.differences").count() == 1
    assert wide.locator("img.differences").count() == 1
    text = (many / "report.md").read_text()
    places = [text.index(part) for part in ("scored highest", "differences.png", "| rank |", "learning_curves.png")]
    assert places == sorted(places)


def test_it_fits_a_phone_and_both_schemes(tuned: Path, open_page: Open) -> None:
    page = open_page(tuned, 390, "dark")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_run_links_to_what_sets_it_apart(page: Page) -> None:
    page.locator("#s0-runs a").last.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    rows = dialog.locator("tbody tr").all_inner_texts()
    assert any(row.rstrip() == "seed\t2" for row in rows)  # of seeds none is the commonest
    assert f"model.note\t{EVIL}\tplain" in rows
    assert "python run.py init=he" in dialog.locator("pre").inner_text()
    page.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def test_another_run_asked_for_as_one_closes_is_shown(page: Page) -> None:
    links = page.locator("#s0-runs a")
    dialog = page.get_by_role("dialog")
    links.first.click()
    dialog.wait_for()
    other = page.locator("#s0-runs tbody tr").nth(1).get_attribute("data-run")
    page.evaluate("document.getElementById('run').close(); document.querySelectorAll('#s0-runs a')[1].click()")
    expect(dialog.locator("h2")).to_have_text(other or "")
    page.get_by_role("button", name="Close").click()
    page.wait_for_function("location.hash === ''")


def test_back_closes_a_run(page: Page) -> None:
    page.locator("#s0-runs a").first.click()
    page.get_by_role("dialog").wait_for()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_names_are_text(page: Page) -> None:
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
def test_odd_sweeps_make_a_useful_page(
    write_run: Write, report: Report, open_page: Open, tmp_path: Path, name: str
) -> None:
    for run in ODD[name]:
        write_run(**run)
    report()
    page = open_page(tmp_path / "report")
    answers = page.locator(".answer").all_inner_texts()
    expected = {
        "one run": "There is no other cell to compare it with",
        "one seed": "no difference was tested",
        "all diverged": "No run was completed: 2 diverged and count as 0",
        "mixed data": "There is no other cell to compare it with",
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
    assert r"init & optim & optim.lr & test accuracy (\%) & vs. best & n & diverged \\" in latex
    assert (tuned / "figures/differences.pdf").read_bytes().startswith(b"%PDF")


PAPER = r"""\documentclass[a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\begin{document}
\input{report/summary.tex}
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdfLaTeX")
def test_the_latex_table_fits_an_article(write_run: Write, summarize: Report, tmp_path: Path) -> None:
    for number in range(80):
        name = "a_long_name_of_an_optimizer_" * (number == 0) + str(number)
        for lr in (0.1, 0.01):
            write_run(optim=name, lr=lr, test=[0.1, 0.9 - number / 1000], model={"hidden": [512, 256], "dropout": lr})
    summarize()
    (tmp_path / "paper.tex").write_text(PAPER)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert not re.search("Overfull|Float too large", done.stdout), done.stdout
    assert "The 40 best of 80." in (tmp_path / "report/summary.tex").read_text()
