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
    """Page of that report, shared by all tests that leave it unchanged, because opening it is slow."""
    with opening(browser) as call:
        yield call(tuned)


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_page_tables_sort_and_filter(page: Page) -> None:
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == [EVIL, "sgd", "adam"]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_placeholder("such as adam").fill("sgd")
    assert column(page, "s0-board", 3) == ["sgd"]
    page.get_by_placeholder("such as adam").fill("")
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]


def test_page_table_sorts_intervals_by_both_ends(page: Page) -> None:
    page.evaluate(
        """texts => document.querySelectorAll("#s0-pairs tbody td:nth-child(5)").forEach((cell, i) => {
            cell.textContent = texts[i];
        })""",
        ["[-0.10, +0.20]", "[+0.10, +0.40]", "[-0.50, +0.10]"],
    )
    head = page.locator("#s0-pairs").get_by_role("button", name="95% interval")
    head.click()
    assert column(page, "s0-pairs", 5) == ["[-0.50, +0.10]", "[-0.10, +0.20]", "[+0.10, +0.40]"]
    head.click()
    assert column(page, "s0-pairs", 5) == ["[+0.10, +0.40]", "[-0.10, +0.20]", "[-0.50, +0.10]"]
    lists = "['[64, 8]', '[]', '[64]', '[128]', '[64, 32]'].sort((a, b) => byNumbers(numbers(a), numbers(b)))"
    assert page.evaluate(lists) == ["[]", "[64]", "[128]", "[64, 8]", "[64, 32]"]
    cells = ["he / h=[8]", "he / h=[64]", "he / h=[8, 8]", "he / h=[8, 8, 8]", "he / size=8", "he / size=16", "le / 2"]
    assert page.evaluate("(cells) => cells.reverse().sort(byParts)", cells[:4]) == cells[:4]
    assert page.evaluate("(cells) => cells.reverse().sort(byParts)", cells[4:]) == cells[4:]


def test_page_names_runs_without_curve(write_run: Write, report: Report, tmp_path: Path) -> None:
    write_run()
    write_run(seed=1, test=[0.1], epochs=2, status="diverged", reason="nan")
    report()
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Curves of diverged runs are not drawn (1 of 2 runs)." in page


def points(page: Page, figure: str) -> dict[str, list[str]]:
    """Return the tooltips of each cell's points in the visible view of a figure."""
    found: dict[str, list[str]] = {}
    for cell, _, series in json.loads(
        page.locator(f"#{figure} svg[role=img]:visible").get_attribute("data-series") or ""
    ):
        found.setdefault(cell, []).extend(words for _, _, words in series)
    return found


def values_at(page: Page, figure: str, cell: str, number: int) -> list[str]:
    """Return the tooltip with the pointer on a point of a cell, line by line."""
    drawing = page.locator(f"#{figure} svg[role=img]:visible")
    drawing.scroll_into_view_if_needed()
    x, y = drawing.evaluate(
        """(svg, [cell, number]) => {
            const [x, y] = JSON.parse(svg.dataset.series).find(([name]) => name === cell)[2].at(number);
            const place = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [place.x, place.y];
        }""",
        [cell, number],
    )
    page.mouse.move(x, y)
    return page.locator("#values").inner_text().splitlines()


def test_pointer_near_point_shows_cell_mean_and_interval(page: Page) -> None:
    assert values_at(page, "learning_curves", "he / adam", -1) == ["he / adam", "epoch 1: 10.9% [10.7, 11.1]"]
    assert page.locator("#learning_curves .ring").count() == 1
    assert values_at(page, "sensitivity", f"he / {EVIL}", 0) == [
        f"he / {EVIL}",
        "learning rate 0.01: 28.8% [28.6, 29]",
    ]
    assert values_at(page, "differences", "he / adam", 0) == ["he / adam", "best cell"]
    assert values_at(page, "seeds", "he / sgd", 0) == ["he / sgd", "84.00%, mean 84.11%"]
    page.mouse.move(0, 0)
    expect(page.locator("#values")).to_be_hidden()
    assert page.locator(".ring").count() == 0


def parts(page: Page, figure: str, group: str) -> tuple[int, int]:
    """Return the number of elements of a group in a figure and the number of visible ones."""
    found = page.locator(f"#{figure} .view:visible .{group}")
    shown = found.evaluate_all("parts => parts.filter((part) => getComputedStyle(part).display !== 'none').length")
    return found.count(), shown


def test_legend_click_hides_its_lines_and_their_values(page: Page) -> None:
    name = page.locator("#learning_curves").get_by_label("sgd", exact=True)
    group = name.get_attribute("name") or ""
    count, shown = parts(page, "learning_curves", group)
    assert count == shown == 2  # the line and its band
    name.click()
    assert parts(page, "learning_curves", group) == (2, 0)
    assert values_at(page, "learning_curves", "he / sgd", -1)[:1] != ["he / sgd"]
    page.mouse.move(0, 0)
    name.press("Space")  # the checkbox has the focus
    assert parts(page, "learning_curves", group) == (2, 2)


@pytest.mark.parametrize("how", ["pointer", "keyboard"])
def test_legend_entry_under_pointer_or_focus_highlights_its_lines(page: Page, how: str) -> None:
    legend = page.locator("#differences").get_by_role("group")
    opacities = """() => Object.fromEntries(["label1", "label2", "label3"].map(
        (name) => [name, getComputedStyle(document.querySelector(`#differences svg .${name}`)).opacity]))"""
    assert set(page.evaluate(opacities).values()) == {"1"}
    if how == "pointer":
        legend.get_by_text("adam").hover()
    else:
        legend.get_by_role("checkbox").first.focus()
        page.keyboard.press("Tab")
    lit = legend.get_by_label("adam").get_attribute("name")
    assert page.evaluate(opacities) == {name: "1" if name == lit else "0.15" for name in ("label1", "label2", "label3")}
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")


def test_view_choice_shows_split_and_measure(page: Page) -> None:
    shown = page.locator("#learning_curves svg[role=img]:visible")
    views = page.locator("#learning_curves").get_by_role("radio")
    assert views.count() == 6
    for name in ("training loss", "validation error", "test error"):
        page.get_by_role("radio", name=name).click()
        expect(shown).to_have_count(1)
        assert (shown.get_attribute("aria-label") or "") == f"{name.capitalize()} against the epoch for 3 cells."
        unit = "nats" if "loss" in name else "%"
        assert f"{name.capitalize()} ({unit})" in shown.locator("text").all_text_contents()
        assert points(page, "learning_curves")["he / adam"][1].count("%") == ("error" in name)
    assert points(page, "learning_curves")["he / adam"] == ["epoch 0: 90%", "epoch 1: 10.9% [10.7, 11.1]"]


def test_page_without_javascript_shows_figures_and_default_view(tuned: Path, browser: Browser) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((tuned / "index.html").as_uri())
    assert page.locator("svg[role=img]:visible").count() == page.locator("figure").count() == 6
    assert page.locator("#learning_curves svg[role=img]:visible").get_attribute("aria-label") == (
        "Test error against the epoch for 3 cells."
    )
    page.get_by_role("radio", name="training loss").click()
    expect(page.locator("#learning_curves .view:visible .label1")).to_have_count(2)
    page.context.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on all initializations and optimizers at two learning rates."""
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
    """Page of that report, shared by all tests that leave it unchanged."""
    with opening(browser) as call:
        yield call(many)


def test_page_learning_curves_have_a_panel_per_optimizer(wide: Page) -> None:
    for figure in ("learning_curves", "sensitivity"):
        drawing = wide.locator(f"#{figure} svg[role=img]:visible")
        texts = drawing.locator("text").all_text_contents()
        assert [text for text in texts if text in OPTIMIZERS] == list(OPTIMIZERS)
        labels = wide.locator(f"#{figure} label:has([type=checkbox])").all_inner_texts()
        signs = ["●", "■", "▲"] if figure == "sensitivity" else [""] * 3
        assert [text.split() for text in labels] == [
            *([*sign, name] for sign, name in zip(signs, ("default", "he", "lecun"), strict=True)),
            ["best", "cell"],
        ]
        assert len(points(wide, figure)) == 24
    assert points(wide, "learning_curves")["lecun / radam"][1] == "epoch 1: 2.79% [2.74, 2.84]"
    assert parts(wide, "learning_curves", "label1") == (2 * 8, 2 * 8)  # a line and a band in each panel
    assert parts(wide, "learning_curves", "label0") == (7, 7)  # the best cell, in all other panels


def test_page_learning_curves_begin_at_epoch_1(
    write_run: Write, report: Report, open_page: Open, tmp_path: Path
) -> None:
    for seed in range(3):
        write_run(seed=seed, test=[0.1, 0.8, 0.9 + seed / 100], epochs=2)
    report()
    curve = points(open_page(tmp_path / "report"), "learning_curves")["he / adam"]
    assert [value.partition(":")[0] for value in curve] == ["epoch 1", "epoch 2"]


def test_page_tuning_curves_show_expected_errors(
    write_run: Write, report: Report, open_page: Open, tmp_path: Path
) -> None:
    for optim, best in (("adam", 0.9), ("sgd", 0.8)):
        for lr, accuracy in ((0.001, best), (0.01, best - 0.2), (0.1, best - 0.4)):
            write_run(optim=optim, lr=lr, test=[0.1, accuracy])
    report()
    page = open_page(tmp_path / "report")
    shown = {cell: [words.split(" [")[0] for words in of] for cell, of in points(page, "budget").items()}
    assert shown == {
        f"he / {optim}": [f"configurations tried {k}: {error}%" for k, error in enumerate(errors, start=1)]
        for optim, errors in (("adam", ("30", "16.7", "10")), ("sgd", ("40", "26.7", "20")))
    }
    assert page.locator("#budget").count() == 1


def test_legend_click_hides_lines_in_all_panels_and_views(wide: Page) -> None:
    figure = wide.locator("#learning_curves")
    figure.get_by_label("default").click()
    assert parts(wide, "learning_curves", "label1") == (2 * 8, 0)
    assert parts(wide, "learning_curves", "label2") == (2 * 8, 2 * 8)
    figure.get_by_role("radio", name="test loss").click()
    assert parts(wide, "learning_curves", "label1") == (2 * 8, 0)  # unchanged
    assert parts(wide, "sensitivity", "label1")[1] > 0  # each figure has its own legend
    figure.get_by_role("radio", name="test error").click()
    figure.get_by_label("default").click()
    assert parts(wide, "learning_curves", "label1") == (2 * 8, 2 * 8)


def test_page_with_wide_tables_fits_or_hints_at_scrolling(wide: Page) -> None:
    wide.locator("details.runs summary").click()
    boxes = wide.locator(".scroll:visible")
    assert boxes.count() == 4 + wide.locator("figure").count()
    assert all(boxes.evaluate_all("all => all.map(e => e.scrollWidth <= e.clientWidth)"))
    assert boxes.evaluate_all("all => all.every(e => e.tabIndex === 0 && e.getAttribute('aria-label'))")
    assert wide.locator(".hint:visible").count() == 0
    wide.set_viewport_size({"width": 390, "height": 900})
    wide.wait_for_function(f"document.querySelectorAll('.hint:not([hidden])').length === {boxes.count()}")
    wide.wait_for_function("document.documentElement.scrollWidth <= 390")
    wide.set_viewport_size({"width": 1200, "height": 900})
    wide.locator("details.runs summary").click()


def test_page_shows_differences_below_the_answer(many: Path, wide: Page) -> None:
    assert wide.locator(".answer + figure.differences svg[role=img]").count() == 1
    assert wide.locator(".differences").count() == 1
    text = (many / "report.md").read_text()
    places = [text.index(part) for part in ("scored highest", "differences.png", "| rank |", "learning_curves.png")]
    assert places == sorted(places)


def test_page_fits_a_phone_in_both_schemes(tuned: Path, open_page: Open) -> None:
    page = open_page(tuned, 390, "dark")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (color == "rgb(255, 255, 255)") == (scheme == "light")
        sizes = page.locator("svg[role=img]:visible text").evaluate_all(
            """all => all.map((text) =>
                parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a)"""
        )
        assert min(sizes) > 9  # pixels


def test_page_figures_follow_the_scheme_with_legible_heatmap(many: Path, open_page: Open) -> None:
    page = open_page(many)
    looks = """() => Object.fromEntries(Object.entries({
        back: "#learning_curves path", text: "#learning_curves text",
        line: "#learning_curves .label2 path[style*=stroke-dash]",
        first: ".fixed text", last: ".fixed:last-of-type text"}).map(([name, of]) => {
        const style = getComputedStyle(document.querySelector(of));
        return [name, name === "line" ? style.stroke : style.fill];
    }))"""
    light = page.evaluate(looks)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(looks)
    assert (light["back"], dark["back"]) == ("rgb(255, 255, 255)", "rgb(22, 24, 28)")
    assert (light["text"], dark["text"]) == ("rgb(28, 28, 28)", "rgb(232, 232, 232)")
    assert light["line"] == "rgb(238, 102, 119)"
    assert dark["line"] != light["line"]
    assert (light["first"], light["last"]) == (dark["first"], dark["last"]) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")


def test_page_run_link_opens_its_differences(page: Page) -> None:
    page.locator("#s0-runs a").last.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    rows = dialog.locator("tbody tr").all_inner_texts()
    assert any(row.rstrip() == "seed\t2" for row in rows)  # no seed is the commonest
    assert f"model.note\t{EVIL}\tplain" in rows
    assert "python run.py init=he" in dialog.locator("pre").inner_text()
    page.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")


def test_page_run_opened_while_another_closes_is_shown(page: Page) -> None:
    links = page.locator("#s0-runs a")
    dialog = page.get_by_role("dialog")
    links.first.click()
    dialog.wait_for()
    other = page.locator("#s0-runs tbody tr").nth(1).get_attribute("data-run")
    page.evaluate("document.getElementById('run').close(); document.querySelectorAll('#s0-runs a')[1].click()")
    expect(dialog.locator("h2")).to_have_text(other or "")
    page.get_by_role("button", name="Close").click()
    page.wait_for_function("location.hash === ''")


def test_page_back_button_closes_a_run(page: Page) -> None:
    page.locator("#s0-runs a").first.click()
    page.get_by_role("dialog").wait_for()
    page.go_back()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_page_dialog_shows_names_as_text(page: Page) -> None:
    assert page.locator("img").count() == 0
    assert EVIL in page.locator("#learning_curves [role=group]").nth(1).inner_text()
    assert f"he / {EVIL}" in page.locator("#seeds text").all_text_contents()
    assert EVIL in page.locator("#s0-board").inner_text()
    assert page.locator("svg:not([aria-hidden]):not([role=img][aria-label])").count() == 0
    assert page.locator("figure:not(:has(figcaption))").count() == 0


ODD: dict[str, list[dict[str, object]]] = {
    "one run": [{}],
    "one seed": [{}, {"optim": "sgd"}],
    "all diverged": [{"test": [0.1], "status": "diverged", "reason": "nan", "seed": seed} for seed in (0, 1)],
    "mixed data": [{"data": "mnist"}, {"data": "digits", "digest": "e" * 64}],
}


@pytest.mark.parametrize("name", ODD)
def test_page_of_unusual_sweeps_is_complete(
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
    ids = page.locator("[id]").evaluate_all("all => all.map((element) => element.id)")
    assert len(ids) == len({*ids})
    used = page.locator("svg [clip-path], svg use").evaluate_all(
        "all => all.map((e) => (e.getAttribute('clip-path') || e.getAttribute('xlink:href')).match(/#([^)]+)/)[1])"
    )
    assert {*used} <= {*ids}
    assert page.locator("figure").count() == (
        0 if name == "all diverged" else page.locator("svg[role=img]:visible").count()
    )


def test_page_scripts_contain_valid_json(tuned: Path) -> None:
    page = (tuned / "index.html").read_text()
    parts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert len(parts) == 1
    assert all("<" not in part and json.loads(part) for part in parts)


def test_report_with_formats_has_latex_table_and_figures(tuned: Path) -> None:
    latex = (tuned / "summary.tex").read_text()
    assert r"\textless{}img src=x" in latex
    assert re.search(r"& \d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\] &", latex)
    assert r"init & optim & optim.lr & test accuracy (\%) & vs. best & letters & n & diverged \\" in latex
    assert (tuned / "figures/differences.pdf").read_bytes().startswith(b"%PDF")


PAPER = r"""\documentclass[a4paper]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
\begin{document}
\input{report/summary.tex}
\end{document}
"""


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdfLaTeX")
def test_latex_table_fits_an_article(write_run: Write, summarize: Report, tmp_path: Path) -> None:
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
