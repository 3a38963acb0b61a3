"""Plain text: columns line up in a terminal, and no token disturbs them."""

import math

from analyses.tables import beside, display_width, interval, number, pad, paragraph, table, token


def test_columns_line_up_left_and_right():
    text = table(["head", "score", "null"], [["L0H0", "1.000", "x"], ["L10H10", "-0.5", "yy"]], "lrl")
    assert text.split("\n") == [
        "head    score  null",
        "──────  ─────  ────",
        "L0H0    1.000  x",
        "L10H10   -0.5  yy",
    ]


def test_wide_and_combining_characters_keep_columns_in_line():
    text = table(["token", "p"], [["日本", "1"], ["e\u0301", "2"], ["ab", "3"]], "lr")
    assert [display_width(line) for line in text.split("\n")[2:]] == [8, 8, 8]
    assert display_width("日本") == 4
    assert display_width("e\u0301") == 1
    assert pad("日", 4, right=True) == "  日"


def test_a_token_cannot_steer_the_terminal():
    assert token("\x1b[31mred") == "\\x1b[31mred"
    assert token("a\nb\tc d") == "a↵b⇥c␣d"
    assert token("\u202eabc") == "\\u202eabc"
    assert token("x" * 40, 8) == "x" * 7 + "…"


def test_numbers_have_their_decimals_and_no_negative_zero():
    assert number(0.12345) == "0.123"
    assert number(-0.00001) == "0.000"
    assert number(-1.5, 1) == "-1.5"
    assert number(math.nan) == number(None) == "n/a"
    assert interval(-0.2, 0.31234, 2) == "[-0.20, 0.31]"


def test_blocks_stand_beside_each_other_where_there_is_room():
    assert beside("a\nbbb", "c\nd\ne", gap=2) == "a    c\nbbb  d\n     e"
    assert beside("a" * 60, "b" * 60) == "a" * 60 + "\n\n" + "b" * 60


def test_paragraphs_stay_within_98_columns():
    lines = paragraph("word " * 60, 2).split("\n")
    assert max(map(len, lines)) <= 98
    assert all(line.startswith("  word") for line in lines)
