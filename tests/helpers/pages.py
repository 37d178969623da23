"""Report pages in a browser."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported lazily otherwise: the process that distributes the tests needs no such module
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def opening(browser: "Browser") -> Iterator[Open]:
    """Yield a function that opens reports; assert no console messages, errors, dialogs or network requests."""
    complaints: list[str] = []
    requests: list[str] = []
    pages = []

    def call(directory: Path, width: int = 1200, scheme: str = "light") -> "Page":
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
