"""The report as a reader meets it: headless Chromium without a network, and tokens that mean harm."""

import re

import pytest

from interp.labels import LEFT_TO_RIGHT_MARK, WORD_JOINER, visible
from tests.report_pages import make_report, save_handmade

pytest_plugins = ("tests.browser", "tests.reports")

HOSTILE = (
    "<bos>",
    "</script>",
    "<script>alert('token')</script>",
    "<img src=x onerror=alert('image')>",
    "<!--",
    "-->",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "&lt;",
    '"',
    "' onclick='alert(1)",
    "`${alert('template')}`",
    "\\u003cb>",
    " ",
    "\n",
    "\x00",
    "\x1b[31m",
    "\u2028",
    "\u202eabc",
    "\u200b",
    "\ud800",
    "😀",
    "שלום",
    "مرحبا",
    "\u0301",
    "$x^2_{",
)


def plain(text):
    return re.sub(f"[{WORD_JOINER}{LEFT_TO_RIGHT_MARK}\xa0]", "", text)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The report of an induction model whose tokens, and folder, are out to break the page."""
    folder = tmp_path_factory.mktemp("hostile") / "<img src=y onerror=alert('path')>{{ 7 * 7 }}"
    made = make_report(save_handmade(folder, "induction_k", HOSTILE, d_vocab=len(HOSTILE)))
    path = folder / "report.html"
    path.write_text(made.html, encoding="utf-8")
    return made, path


@pytest.fixture
def open_report(hostile, visit):
    made, path = hostile
    return made, visit(path, ".AttentionHeads canvas")


def test_everything_is_drawn_without_a_console_message_a_request_or_a_dialog(open_report):
    made, seen = open_report
    seen.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    widths = seen.page.locator("img").evaluate_all("(images) => images.map((image) => image.naturalWidth)")
    assert len(widths) == len(made.pictures)
    assert min(widths) > 200
    colors = seen.colors_per_canvas()
    assert len(colors) == 2 * (2 + 1)
    assert min(colors) > 1  # a head that looks at one place only has two
    seen.assert_clean()


def test_hostile_tokens_are_shown_as_text_everywhere(open_report):
    made, seen = open_report
    labels = made.json["page"]["patterns"]["labels"]
    assert len(set(labels) & set(HOSTILE)) > 8
    expected = [visible(label, 24) for label in labels]
    assert [plain(t) for t in seen.page.locator("#patterns p .token").all_text_contents()] == expected
    buttons = seen.page.locator(".AttentionPatterns .tokens button").all_text_contents()
    assert [plain(text) for text in buttons] == expected
    axis = {plain(text) for text in seen.drawn_text()}
    assert axis >= {f"{token} ({index})" for index, token in enumerate(expected)}
    entries = made.json["page"]["circuits"]["top_entries"]["L1H0"]
    cell = seen.page.locator("#circuits td:has(.token)").last
    shown = [plain(text) for text in cell.locator(".token").all_text_contents()]
    assert shown == [visible(HOSTILE[e[side]], 24) for e in entries for side in ("row", "column")]
    assert "{{ 7 * 7 }}" in seen.page.locator("h1").inner_text()
    assert seen.page.locator("img:not([src^='data:image/png;base64,'])").count() == 0
    assert seen.page.locator("script:not([type])").count() == 2
    seen.assert_clean()


def test_hovering_a_head_shows_it_large_and_hovering_a_token_shows_where_it_looks(open_report):
    made, seen = open_report
    large = seen.page.locator(".AttentionHeads canvas").last
    before = large.evaluate("(canvas) => canvas.toDataURL()")
    seen.page.locator(".AttentionHeads h4").nth(1).hover()
    seen.page.wait_for_function("document.querySelector('.AttentionHeads h2').textContent === 'L1H0'")
    seen.page.wait_for_function(
        "(before) => [...document.querySelectorAll('.AttentionHeads canvas')].at(-1).toDataURL() !== before", arg=before
    )
    labels = made.json["page"]["patterns"]["labels"]
    half = (len(labels) - 1) // 2
    tokens = seen.page.locator(".AttentionPatterns .tokens button")
    seen.page.locator(".AttentionPatterns figure").nth(1).click()
    tokens.nth(len(labels) - 2).hover()
    seen.page.wait_for_function(
        "(index) => document.querySelectorAll('.AttentionPatterns .tokens button')[index].style.boxShadow !== ''",
        arg=len(labels) - 2,
    )
    styles = tokens.evaluate_all("(tokens) => tokens.map((token) => token.style.backgroundColor)")
    shades = [sum(map(int, re.findall(r"\d+", style)[:3])) for style in styles]
    assert shades.index(min(shades)) == len(labels) - 2 - half + 1
    seen.assert_clean()


def test_a_row_of_the_verdict_table_opens_to_its_measurements(open_report):
    made, seen = open_report
    inside = seen.page.locator("#L1H0 .detail")
    assert not inside.is_visible()
    seen.page.locator("#L1H0 > summary").click()
    assert inside.is_visible()
    rule = made.report["L1H0"].claims[0].evidence[0].measurements[0].rule
    assert rule in inside.inner_text()
    assert seen.page.locator("#L1H0 .badge").first.get_attribute("title").startswith("all three kinds of evidence")
    seen.assert_clean()


@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_sticks_out_of_the_window_and_the_columns_stand_below_each_other(open_report, width):
    _, seen = open_report
    seen.page.set_viewport_size({"width": width, "height": 900})
    seen.page.wait_for_timeout(200)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    columns = seen.page.locator(".row > summary .evidence:nth-child(3)").evaluate_all(
        "(cells) => cells.map((cell) => cell.getBoundingClientRect().left)"
    )
    assert len(set(columns)) == 1
    assert seen.page.locator(".heading").is_visible() == (width > 820)
    if width > 820:
        heading = seen.page.locator(".heading span").nth(2).bounding_box()
        assert heading["x"] == pytest.approx(columns[0], abs=1)
