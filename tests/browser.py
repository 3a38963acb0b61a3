"""Pages opened in headless Chromium without a network. In a test module: `pytest_plugins = ("tests.browser",)`."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RECORD_DRAWN_TEXT = """
globalThis.drawn = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...where) {
  globalThis.drawn.push(String(text));
  return fillText.call(this, text, ...where);
};
"""
CANVASES = """() => [...document.querySelectorAll("canvas")].map((canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
})"""


@dataclass
class Visit:
    """One open page and what went wrong on it.

    Attributes:
        page: Playwright's page.
        problems: console errors and warnings, and uncaught exceptions.
        requests: the address of everything that was asked for, but for the page itself and `data:`.
        refused: those of them that the page's own security policy stopped before they were sent.
        dialogs: messages of `alert` and its like.
    """

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def colors_per_canvas(self) -> list[int]:
        """How many different colours each canvas of the page shows; 1 is an empty one."""
        return self.page.evaluate(CANVASES)

    def drawn_text(self) -> list[str]:
        """Every text that was written on a canvas since the page was opened."""
        return self.page.evaluate("globalThis.drawn")

    def assert_clean(self) -> None:
        """No console error or warning, no uncaught exception, no request, no dialog."""
        assert self.problems == []
        assert self.requests == []
        assert self.dialogs == []


def missing(reason: str) -> NoReturn:
    """Skip for this reason, or fail where the environment says that there must be a browser."""
    if os.environ.get("INTERP_REQUIRE_BROWSER") == "1":
        pytest.fail(f"INTERP_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, one for all tests of a module."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        missing(f"there is no browser on the path (looked for {', '.join(NAMES)})")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[Path], Visit]]:
    """A function that opens a file by `file://`, offline, and returns when all is loaded and drawn."""
    contexts = []

    def open_page(path: Path, wait_for: str = "body") -> Visit:
        context = browser.new_context(offline=True, viewport={"width": 1200, "height": 900})
        context.set_default_timeout(60_000)
        contexts.append(context)
        context.add_init_script(RECORD_DRAWN_TEXT)
        seen = Visit(context.new_page())
        address = path.resolve().as_uri()

        def on_request(request: Any) -> None:
            if request.url != address and not request.url.startswith(("data:", "about:")):
                seen.requests.append(request.url)

        def on_failure(request: Any) -> None:
            if request.failure == "csp":
                seen.refused.append(request.url)

        def on_dialog(dialog: Any) -> None:
            seen.dialogs.append(dialog.message)
            dialog.dismiss()

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                seen.problems.append(message.text)

        seen.page.on("request", on_request)
        seen.page.on("requestfailed", on_failure)
        seen.page.on("dialog", on_dialog)
        seen.page.on("console", on_console)
        seen.page.on("pageerror", lambda error: seen.problems.append(str(error)))
        seen.page.goto(address)
        seen.page.wait_for_selector(wait_for)
        seen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return seen

    yield open_page
    for context in contexts:
        context.close()
