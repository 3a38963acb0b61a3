"""Token text as labels."""

import unicodedata
from html.parser import HTMLParser

import pytest

from interp.labels import LEFT_TO_RIGHT_MARK, WORD_JOINER, inert, left_to_right, legible, visible


@pytest.mark.parametrize(
    "text, shown",
    [
        ("", "∅"),
        (" the", "␣the"),
        ("\n\t", "↵⇥"),
        ("\r\x00\x1b", "\\r\\x00\\x1b"),
        ("\x7f\x85\xa0", "\\x7f\\x85\\xa0"),
        ("\u202eabc\u2066", "\\u202eabc\\u2066"),
        ("\u200b\ufeff\u2028", "\\u200b\\ufeff\\u2028"),
        ("\ud83d", "\\ud83d"),
        ("\udc80", "\\x80"),
        ("\U000e0001", "\\U000e0001"),
        ("\u0301e", "◌\u0301e"),
        ("é <bos> 中文 שלום 😀", "é␣<bos>␣中文␣שלום␣😀"),
        ("\\", "\\"),
    ],
)
def test_every_token_becomes_visible(text, shown):
    assert visible(text) == shown


def test_no_invisible_character_below_u_30000_survives():
    categories = {unicodedata.category(character) for code in range(0x30000) for character in visible(chr(code))}
    assert categories.isdisjoint({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})


def test_a_long_token_is_cut_to_the_limit_and_says_so():
    assert visible("abcdef", 6) == "abcdef"
    assert visible("abcdefg", 6) == "abcde…"
    assert visible("\u202e\u202e", 6) == "\\u202…"


class Parts(HTMLParser):
    """What a browser would make of a string: its text, and whether there was anything but text."""

    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.text, self.other = "", []

    def handle_data(self, data):
        self.text += data

    def handle_starttag(self, tag, attributes):
        self.other.append(tag)

    def handle_endtag(self, tag):
        self.other.append(tag)

    def handle_comment(self, data):
        self.other.append(data)

    def handle_entityref(self, name):
        self.other.append(name)

    def handle_charref(self, name):
        self.other.append(name)


@pytest.mark.parametrize("text", ["<bos>", "</script>", "<!-- x", "&lt;", "&#60;", "a<b&c", "<?x", "<img src=x>"])
def test_inert_text_is_the_same_read_as_html_and_as_text(text):
    parts = Parts()
    parts.feed(inert(text))
    parts.close()
    assert parts.other == []
    assert parts.text == inert(text)
    assert inert(text).replace(WORD_JOINER, "") == text


def test_only_right_to_left_text_gets_a_mark_after_it():
    assert left_to_right("abc") == "abc"
    assert left_to_right("שלום") == "שלום" + LEFT_TO_RIGHT_MARK
    assert left_to_right("aمb") == "aمb" + LEFT_TO_RIGHT_MARK


def test_words_keep_their_spaces_and_lose_what_has_no_shape():
    assert legible("Patterns of a b\u202e.exe\n") == "Patterns of a b\\u202e.exe↵"
