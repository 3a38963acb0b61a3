"""Token text as labels: every token visible, none able to disturb what stands around it."""

import unicodedata

WORD_JOINER = "\N{WORD JOINER}"
LEFT_TO_RIGHT_MARK = "\N{LEFT-TO-RIGHT MARK}"
_SYMBOLS = {" ": "␣", "\n": "↵", "\t": "⇥"}  # only such as common fonts have; few have U+240A
_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}


def visible(text: str, limit: int | None = None) -> str:
    r"""Write a token so that every character of it can be seen.

    The empty token is `∅`, a space `␣`, a newline `↵`, a tab `⇥`; any other character without a shape (controls,
    also bidirectional ones, zero-width characters, no-break spaces, unpaired surrogates, unassigned code points)
    is written as Python escapes it, `\u202e`; a byte that was not UTF-8 and was decoded with `surrogateescape` as
    `\x80`. A combining mark at the start stands on a dotted circle.

    Args:
        text: the token.
        limit: the longest result; what is longer ends in `…`.
    """
    if not text:
        return "∅"
    shown = "".join(_visible_character(character) for character in text)
    if unicodedata.category(shown[0]).startswith("M"):
        shown = "\N{DOTTED CIRCLE}" + shown
    return shown if limit is None or len(shown) <= limit else shown[: limit - 1] + "…"


def legible(text: str) -> str:
    """Words, such as a title with a folder's name in it: as `visible`, but spaces stay spaces."""
    return "".join(character if character == " " else _visible_character(character) for character in text)


def _visible_character(character: str) -> str:
    code = ord(character)
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode()


def inert(text: str) -> str:
    """Put a word joiner (no width, no line break) after each `<` and `&`, so that text is the same as HTML.

    An HTML parser takes `<` for a tag and `&` for an entity only by the character that follows. So the result
    looks the same whether a library writes it as text or as HTML, which CircuitsVis does by turns with one string.
    """
    return text.replace("<", "<" + WORD_JOINER).replace("&", "&" + WORD_JOINER)


def left_to_right(text: str) -> str:
    """End right-to-left text with a mark, so that what is written after it is not drawn before it."""
    if any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text):
        return text + LEFT_TO_RIGHT_MARK
    return text
