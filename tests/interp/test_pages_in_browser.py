"""What a reader sees and does on an interactive page, in headless Chromium without a network."""

import re

import pytest
import torch

from interp.labels import LEFT_TO_RIGHT_MARK, WORD_JOINER, visible
from interp.pages import (
    Part,
    attention_heads,
    attention_patterns,
    colored_tokens,
    notebook_html,
    page,
    picture,
)
from interp.plots import png_bytes, score_heatmap

pytest_plugins = ("tests.browser",)

HEADS = ["L0H0", "L0H1", "L1H0", "L1H1"]
TOKENS = ["<bos>", "a", "b", "c", "a", "b", "c"]
HOSTILE = [
    "</script>",
    "<script>alert('token')</script>",
    "<bos>",
    "<img src=x onerror=alert('image')>",
    "<!--",
    "-->",
    "]]>",
    "&lt;",
    "&#60;b>",
    '"',
    "'",
    "`",
    "${alert('template')}",
    "\\",
    "\\u003cb>",
    " ",
    "a b",
    "",
    "\n",
    "\t",
    "\x00",
    "\x1b[31m",
    "\u2028",
    "\u2029",
    "\u202eabc",
    "\u200b",
    "\ud800",
    "\udc80",
    "😀",
    "שלום",
    "مرحبا",
    "\u0301",
]


def shifted_patterns(n: int) -> torch.Tensor:
    """Four heads: each looks 0, 1, 2 or 3 positions back with weight 0.9, and spreads the rest."""
    patterns = torch.zeros(4, n, n)
    for back in range(4):
        for dest in range(n):
            patterns[back, dest, : dest + 1] = 0.1 / (dest + 1)
            patterns[back, dest, max(dest - back, 0)] += 0.9
    return patterns


def plain(text: str) -> str:
    return re.sub(f"[{WORD_JOINER}{LEFT_TO_RIGHT_MARK}\xa0]", "", text)


@pytest.fixture
def example(tmp_path, visit):
    patterns = shifted_patterns(len(TOKENS))
    parts = [
        attention_heads(patterns, TOKENS, HEADS, columns=2),
        attention_patterns(patterns, TOKENS, HEADS, columns=2),
        colored_tokens(TOKENS, torch.tensor([0.0, 1.5, -2.25, 0.5, 1.0, -1.0, 0.125])),
    ]
    path = tmp_path / "page.html"
    path.write_text(page("Heads of a handmade model", parts), encoding="utf-8")
    return visit(path, ".colored-tokens")


def tokens_of(seen):
    return seen.page.locator(".AttentionPatterns .tokens button")


def brightness(seen):
    """How bright each token of the pattern plot is, from 0 to 255."""
    styles = tokens_of(seen).evaluate_all("(tokens) => tokens.map((token) => token.style.backgroundColor)")
    return [sum(map(int, re.findall(r"\d+", style)[:3])) / 3 for style in styles]


def test_every_plot_is_drawn_without_a_console_message_or_a_request(example):
    colors = example.colors_per_canvas()
    assert len(colors) == 2 * (len(HEADS) + 1)
    assert min(colors) > 2
    assert example.page.locator(".colored-tokens > span").count() == len(TOKENS)
    example.assert_clean()


def test_webgl_is_never_opened(example):
    assert example.page.evaluate("_tfengine.backendName") == "cpu"


def test_thumbnails_stand_in_as_many_columns_as_asked(example):
    boxes = [example.page.locator(".AttentionHeads h4").nth(i).bounding_box() for i in range(4)]
    assert boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"] == boxes[3]["y"]
    assert boxes[0]["x"] == boxes[2]["x"] < boxes[1]["x"] == boxes[3]["x"]


def test_hovering_a_thumbnail_shows_that_head_large(example):
    large = example.page.locator(".AttentionHeads canvas").last
    before = large.evaluate("(canvas) => canvas.toDataURL()")
    assert example.page.locator(".AttentionHeads h3").last.inner_text() == "L0H0 Zoomed"
    example.page.locator(".AttentionHeads h4").nth(2).hover()
    example.page.wait_for_function("document.querySelector('.AttentionHeads h2').textContent === 'L1H0'")
    example.page.wait_for_function(
        "(before) => document.querySelectorAll('.AttentionHeads canvas')[4].toDataURL() !== before", arg=before
    )
    assert large.bounding_box()["width"] > 500
    example.assert_clean()


def test_the_large_pattern_keeps_its_size_when_the_window_changes_its_own(example):
    large = example.page.locator(".AttentionHeads canvas").last
    widths = []
    for width, height in [(1200, 900), (600, 900), (1200, 2500)]:
        example.page.set_viewport_size({"width": width, "height": height})
        example.page.locator(".AttentionHeads h4").nth(1).hover()
        example.page.wait_for_timeout(300)
        widths.append(large.bounding_box()["width"])
    assert widths[0] == widths[2] > 800
    assert 450 < widths[1] < 600
    example.assert_clean()


def test_hovering_an_entry_gives_its_tokens_and_its_weight(example):
    example.page.locator(".AttentionHeads h4").nth(1).click()
    box = example.page.locator(".AttentionHeads canvas").last.bounding_box()
    example.page.evaluate("globalThis.drawn.length = 0")
    for step in range(12):
        share = 0.2 + 0.7 * step / 11
        example.page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        example.page.wait_for_timeout(40)
    drawn = example.drawn_text()
    tips = {tuple(drawn[i : i + 4]) for i, text in enumerate(drawn) if re.fullmatch(r"\(\d, \d\)", text)}
    pattern = shifted_patterns(len(TOKENS))[1]
    expected = {
        (
            f"({dest}, {src})",
            f"Src: {TOKENS[src]}",
            f"Dest: {TOKENS[dest]} ",
            f"Val: {round(float(pattern[dest, src]), 4)}",
        )
        for dest in range(len(TOKENS))
        for src in range(dest + 1)
    }
    assert len(tips) >= 3
    assert tips <= expected
    example.assert_clean()


def test_hovering_a_token_darkens_the_tokens_it_looks_at(example):
    example.page.locator(".AttentionPatterns figure").nth(3).click()  # the head that looks three back
    tokens_of(example).nth(5).hover()
    example.page.wait_for_function(
        "document.querySelectorAll('.AttentionPatterns .tokens button')[5].style.boxShadow !== ''"
    )
    shades = brightness(example)
    assert shades.index(min(shades)) == 5 - 3
    example.assert_clean()


def test_hovering_a_coloured_token_gives_its_value(example):
    example.page.locator(".colored-tokens > span").nth(2).hover()
    tip = example.page.locator(".colored-tokens > div")
    tip.wait_for()
    assert tip.inner_text().split() == ["b", "-2.25"]
    red, green, blue = example.page.evaluate(
        "document.querySelectorAll('.colored-tokens > span > span')[2].style.backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (red, green, blue) == (0xB2, 0x18, 0x2B)
    example.assert_clean()


def test_hostile_tokens_are_shown_as_text_and_never_run(tmp_path, visit):
    patterns = shifted_patterns(len(HOSTILE))
    parts = [
        attention_heads(patterns, HOSTILE, ["<b>L0H0", "</script>", "'", "\\"], caption="</figcaption><b>"),
        attention_patterns(patterns, HOSTILE, ["<b>L0H0", "</script>", "'", "\\"]),
        colored_tokens(HOSTILE, torch.linspace(-1, 1, len(HOSTILE))),
    ]
    path = tmp_path / "hostile.html"
    path.write_text(page("</title><script>alert('title')</script>", parts), encoding="utf-8")
    seen = visit(path, ".colored-tokens")

    expected = [visible(token, 24) for token in HOSTILE]
    assert [plain(text) for text in tokens_of(seen).all_text_contents()] == expected
    spans = seen.page.locator(".colored-tokens > span > span").all_text_contents()
    assert [plain(text) for text in spans] == expected
    axis = {plain(text) for text in seen.drawn_text()}
    assert axis >= {f"{token} ({index})" for index, token in enumerate(expected)}
    assert [plain(name) for name in seen.page.locator(".AttentionHeads h4").all_text_contents()][:2] == [
        "<b>L0H0",
        "</script>",
    ]
    assert seen.page.locator("h1").inner_text() == "</title><script>alert('title')</script>"
    assert seen.page.locator("main b, figure b, figure img, iframe").count() == 0
    for index in range(len(HOSTILE)):
        seen.page.locator(".colored-tokens > span").nth(index).hover()
        seen.page.locator(".colored-tokens > div strong").wait_for()
        text = seen.page.locator(".colored-tokens > div strong").text_content()
        assert plain(text).rstrip("\n") == expected[index]
    seen.assert_clean()


def test_the_security_policy_stops_a_script_that_a_part_lets_through(tmp_path, visit):
    bad = Part("<p id=bad>bad</p><script>alert(1)</script><img src=x onerror='alert(2)'><img src='http://192.0.2.1/x'>")
    path = tmp_path / "bad.html"
    path.write_text(page("bad", [bad, colored_tokens(["a"], torch.ones(1))]), encoding="utf-8")
    seen = visit(path, ".colored-tokens")
    assert seen.page.locator("#bad").count() == 1
    assert seen.dialogs == []
    assert len(seen.requests) == 2
    assert seen.refused == seen.requests  # the browser reports them, but never sent them


def test_a_notebook_cell_draws_itself_and_takes_the_height_it_needs(tmp_path, visit):
    output = notebook_html(attention_heads(shifted_patterns(len(TOKENS)), TOKENS, HEADS))
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{output}{output}</body>", encoding="utf-8")
    seen = visit(path, "iframe")
    for index in range(2):
        frame = seen.page.frame_locator("iframe").nth(index)
        frame.locator("canvas").nth(len(HEADS)).wait_for()
        bottom = frame.locator("canvas").nth(len(HEADS)).bounding_box()
        around = seen.page.locator("iframe").nth(index).bounding_box()
        assert around["y"] + 800 < bottom["y"] + bottom["height"] <= around["y"] + around["height"]
    seen.assert_clean()


def test_a_static_figure_in_a_page_is_shown(tmp_path, visit):
    png = png_bytes(score_heatmap(torch.rand(2, 4), title="scores", label="score"))
    path = tmp_path / "picture.html"
    path.write_text(page("picture", [picture(png, "scores of all heads")]), encoding="utf-8")
    seen = visit(path, "img")
    assert seen.page.locator("img").evaluate("(image) => image.naturalWidth") > 300
    assert seen.page.get_by_alt_text("scores of all heads").count() == 1
    assert seen.page.locator("script").count() == 0
    seen.assert_clean()


def test_a_missing_browser_skips_the_tests_and_fails_them_where_it_is_required(monkeypatch):
    from tests.browser import missing

    monkeypatch.delenv("INTERP_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="there is no browser"):
        missing("there is no browser")
    monkeypatch.setenv("INTERP_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="INTERP_REQUIRE_BROWSER=1, but there is no browser"):
        missing("there is no browser")
