"""What stands in the HTML; what a browser makes of it is in test_pages_in_browser.py."""

import base64
import gzip
import hashlib
import html
import json
import re
import sys

import pytest
import torch

from interp.documents import STYLE
from interp.errors import InputError
from interp.pages import (
    Part,
    attention_heads,
    attention_patterns,
    colored_tokens,
    notebook_html,
    page,
    picture,
)

TOKENS = ["<bos>", "a", "b"]
PATTERN = torch.tensor([[[1, 0, 0], [0.5, 0.5, 0], [0.12346, 0.2, 0.67654]]])


def found(pattern, text):
    (match,) = re.findall(pattern, text, re.S)
    return match


def properties(part):
    return json.loads(found(r'<script type="application/json">(.*?)</script>', part.html))


def scripts(document):
    return re.findall(r"<script>(.*?)</script>", document, re.S)


def test_attention_is_written_with_four_decimals_and_whole_numbers_without():
    text = attention_heads(PATTERN, TOKENS, ["L0H0"]).html
    assert '"attention":[[[1,0,0],[0.5,0.5,0],[0.1235,0.2,0.6765]]]' in text


def test_a_negative_number_that_rounds_to_zero_is_written_as_zero():
    part = colored_tokens(["a", "b"], torch.tensor([-1e-9, -0.25]))
    assert '"values":[0,-0.25]' in part.html


def test_half_precision_is_written_like_any_other():
    assert properties(colored_tokens(["a"], torch.tensor([0.5], dtype=torch.bfloat16)))["values"] == [0.5]


def test_grey_above_the_diagonal_means_causal():
    assert properties(attention_heads(PATTERN, TOKENS, ["L0H0"]))["maskUpperTri"] is True
    assert properties(attention_heads(PATTERN.mT, TOKENS, ["L0H0"]))["maskUpperTri"] is False


def test_attention_is_coloured_up_to_one_and_other_values_up_to_their_largest():
    assert properties(attention_heads(PATTERN / 2, TOKENS, ["L0H0"]))["maxValue"] == 1
    signed = properties(attention_heads(PATTERN - 3, TOKENS, ["L0H0"]))
    assert (signed["minValue"], signed["maxValue"]) == (-3, 3)
    assert properties(attention_heads(PATTERN, TOKENS, ["L0H0"], maximum=0.25))["maxValue"] == 0.25


def test_tokens_that_are_all_zero_are_white_and_not_an_error():
    assert properties(colored_tokens(["a"], torch.zeros(1)))["maxValue"] == 1


def test_a_line_ends_after_a_newline():
    assert properties(colored_tokens(["a\n", "b"], torch.ones(2)))["tokens"] == ["a↵\n", "b"]


def test_no_part_holds_a_character_that_html_could_take_for_its_own():
    tokens = ["</script><script>", "<!--", "&lt;"]
    for part in (
        attention_heads(PATTERN, tokens, ["</script>"]),
        attention_patterns(PATTERN, tokens, ["</script>"]),
        colored_tokens(tokens, torch.ones(3)),
    ):
        inside = part.html.split('<script type="application/json">')[1].split("</script>")[0]
        assert not set(inside) & set("<>&\u2028\u2029")
        assert inside.isascii()
        assert len(re.findall("<script", part.html)) == 1


def test_captions_titles_and_descriptions_are_escaped():
    part = colored_tokens(["a"], torch.ones(1), caption="<b>&")
    assert "<figcaption>&lt;b&gt;&amp;</figcaption>" in part.html
    assert 'alt="&quot;&lt;"' in picture(b"png", '"<').html
    document = page("<i>", [part])
    assert "<title>&lt;i&gt;</title>" in document
    assert "<h1>&lt;i&gt;</h1>" in document


def test_the_library_stands_in_a_page_once_however_many_plots_there_are():
    part = colored_tokens(["a"], torch.ones(1))
    one, five = page("t", [part]), page("t", [part] * 5)
    assert five.count("var CircuitsVis=") == 1
    assert len(five) - len(one) == 4 * (len(part.html) + 1)
    assert 1.29e6 < len(one) < 1.31e6


def test_a_page_without_interactive_parts_holds_no_script():
    document = page("t", [Part("<p>text</p>"), picture(b"png", "a picture")])
    assert "<script" not in document
    assert "script-src 'none'" in document
    assert "data:image/png;base64," + base64.b64encode(b"png").decode() in document


def test_a_page_allows_only_its_own_scripts_and_no_request():
    document = page("t", [colored_tokens(["a"], torch.ones(1))])
    policy = found(r'Content-Security-Policy" content="([^"]*)"', document)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts(document)]
    assert len(hashes) == 2
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "sourceMappingURL" not in document
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", document)


def test_an_unpaired_surrogate_in_a_caption_can_be_written_to_a_file():
    document = page("t", [colored_tokens(["a"], torch.ones(1), caption="\ud800")])
    assert "\\ud800" in document.encode("utf-8").decode("utf-8")


def test_pages_are_the_same_on_every_call():
    parts = [attention_heads(PATTERN, TOKENS, ["L0H0"]), colored_tokens(["a"], torch.ones(1))]
    assert page("t", parts) == page("t", parts)
    assert notebook_html(*parts) == notebook_html(*parts)


def test_a_notebook_cell_brings_the_whole_library_in_half_a_megabyte():
    output = notebook_html(colored_tokens(["a"], torch.ones(1)))
    assert 0.4e6 < len(output) < 0.55e6
    inner = html.unescape(found(r'srcdoc="([^"]*)"', output))
    packed = found(r'id="library">([^<]*)<', inner)
    library = gzip.decompress(base64.b64decode(packed)).decode()
    assert scripts(page("t", [colored_tokens(["a"], torch.ones(1))]))[0] == library
    assert base64.b64encode(hashlib.sha256(library.encode()).digest()).decode() in inner
    assert output.startswith("<div>")  # IPython warns of HTML that starts with an iframe


def test_a_page_takes_another_style():
    assert "p { color: red }" in page("t", [], style=STYLE + "p { color: red }")
    assert STYLE in page("t", [])


def test_circuitsvis_is_never_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "circuitsvis", raising=False)
    page("t", [colored_tokens(["a"], torch.ones(1))])
    assert "circuitsvis" not in sys.modules


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: attention_heads(PATTERN, ["a"], ["L0H0"]), "one token per position is needed, got 1 tokens for 3 x 3"),
        (lambda: attention_heads(PATTERN[:, :2], TOKENS, ["L0H0"]), "got 3 tokens for 2 x 3 positions"),
        (lambda: attention_heads(PATTERN, TOKENS, []), "one name per head is needed, got 0 names for 1 heads"),
        (lambda: attention_heads(PATTERN[:0], TOKENS, []), "got 0 names for 0 heads"),
        (lambda: attention_heads(PATTERN[:, :0, :0], [], ["L0H0"]), "got 0 tokens for 0 x 0"),
        (lambda: attention_heads(PATTERN / 0, TOKENS, ["L0H0"]), "every value must be finite, got 9"),
        (lambda: attention_patterns(PATTERN * 2, TOKENS, ["L0H0"]), "from 0 to 1, got 0 to 2; try attention_heads"),
        (lambda: attention_patterns(PATTERN - 1, TOKENS, ["L0H0"]), "from 0 to 1, got -1 to 0"),
        (lambda: colored_tokens(["a"], torch.ones(2)), "one value per token, got 1 tokens, 2 values"),
        (lambda: colored_tokens([], torch.ones(0)), "got 0 tokens"),
        (lambda: colored_tokens(["a"], torch.tensor([float("nan")])), "got 1 that are nan or infinite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_a_plot_too_large_for_a_browser_is_refused_with_what_would_fit():
    with pytest.raises(InputError, match="at most 86 positions"):
        attention_heads(torch.zeros(8, 87, 87), ["a"] * 87, [f"L0H{i}" for i in range(8)])
    attention_heads(torch.zeros(8, 86, 86), ["a"] * 86, [f"L0H{i}" for i in range(8)])


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install circuitsvis"):
        page("t", [colored_tokens(["a"], torch.ones(1))])


def test_a_title_with_characters_that_turn_or_hide_text_shows_them_escaped():
    document = page("Patterns of a\u202egnp.exe b", [])
    assert "\u202e" not in document
    assert "<h1>Patterns of a\\u202egnp.exe b</h1>" in document
