"""The page in a real browser, and as text."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Report, Write
from playwright.sync_api import Browser, Page, sync_playwright

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

    def call(width: int = 1200, scheme: str = "light") -> Page:
        page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()  # type: ignore[arg-type]
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "report" / "index.html").as_uri())
        pages.append(page)
        return page

    yield call
    for page in pages:
        page.context.close()
    assert complaints == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data", "blob"}
    assert len([url for url in requests if url.startswith("file")]) == len(pages)


def sweep(write_run: Write) -> None:
    for optim, worse in (("adam", 0.0), ("sgd", 0.05), (EVIL, 0.1)):
        for lr in (0.1, 0.01):
            for seed in (0, 1, 2):
                test = [0.1, 0.9 - worse - lr + seed / 1000 * (1 + worse)]
                write_run(optim=optim, seed=seed, lr=lr, test=test, model={"note": EVIL if optim == "sgd" else "plain"})


def column(page: Page, table: str, number: int) -> list[str]:
    return page.locator(f"#{table} tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_tables_sort_and_filter(write_run: Write, report: Report, open_page: Open) -> None:
    sweep(write_run)
    report()
    page = open_page()
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == [EVIL, "sgd", "adam"]
    page.get_by_role("button", name="test accuracy (%)").first.click()
    assert column(page, "s0-board", 3) == ["adam", "sgd", EVIL]
    page.get_by_placeholder("such as adam").fill("sgd")
    assert column(page, "s0-board", 3) == ["sgd"]


def test_a_click_hides_a_curve(write_run: Write, report: Report, open_page: Open) -> None:
    sweep(write_run)
    report()
    page = open_page()
    lines = page.locator("#s0-curves .scatterlayer .trace .lines path.js-line:visible")
    before = lines.count()
    page.locator("#s0-curves .legend .traces .legendtoggle").first.click()
    page.wait_for_function("[...document.querySelectorAll('#s0-curves')][0].data.some(t => t.visible === 'legendonly')")
    page.wait_for_timeout(500)
    assert 0 < lines.count() < before
    page.locator("#s0-measure").select_option("loss")
    assert page.evaluate("document.getElementById('s0-curves').layout.yaxis.title.text") == "test loss (nats)"
    assert page.locator("#s0-sensitivity .trace").count() > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_both_schemes(write_run: Write, report: Report, open_page: Open, scheme: str) -> None:
    sweep(write_run)
    report()
    page = open_page(390, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_run_links_to_what_sets_it_apart(write_run: Write, report: Report, open_page: Open) -> None:
    sweep(write_run)
    report()
    page = open_page()
    page.locator("#s0-runs a").last.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    rows = dialog.locator("tbody tr").all_inner_texts()
    assert any(row.startswith("seed\t2") for row in rows)
    assert f"model.note\t{EVIL}\tplain" in rows
    assert "python run.py init=he" in dialog.locator("pre").inner_text()


def test_names_are_text(write_run: Write, report: Report, open_page: Open) -> None:
    sweep(write_run)
    report()
    page = open_page()
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
        "one seed": "no difference can be told from chance",
        "all diverged": "2 diverged, 0 failed",
        "mixed data": "no other cell with a result",
    }
    assert len(answers) == (2 if name == "mixed data" else 1)
    assert all(expected[name] in answer for answer in answers)


def test_everything_in_a_script_is_json(write_run: Write, report: Report, tmp_path: Path) -> None:
    sweep(write_run)
    report()
    page = (tmp_path / "report" / "index.html").read_text()
    parts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, flags=re.DOTALL)
    assert len(parts) == 2
    assert all("<" not in part and json.loads(part) for part in parts)


def test_tables_for_latex_and_figures_for_papers(write_run: Write, report: Report, tmp_path: Path) -> None:
    sweep(write_run)
    report(formats=["pdf"])
    latex = (tmp_path / "report" / "summary.tex").read_text()
    assert r"\textless{}img src=x" in latex
    assert r"$\pm$" in latex
    assert (tmp_path / "report/figures/differences.pdf").read_bytes().startswith(b"%PDF")
