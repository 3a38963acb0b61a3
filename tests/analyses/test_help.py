"""`--help` and `interp help`: what every option means, in words that fit how it is written."""

import re

import pytest

from analyses.arguments import COMMANDS

pytest_plugins = ("tests.command_line",)

OPTION = re.compile(r"^ *(--[\w.-]+)(?: (.*))?$")
FREE_OF_NONE = {name for name in COMMANDS if name != "train"}
"""In `train` the word None means something: no limit, or never."""


def options_of(text: str) -> dict[str, str]:
    """Each option with all that is said of it, without the box and its line ends."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        bare = line.strip("│ ")
        match = OPTION.match(bare)
        if match:
            name = match[1]
            found[name] = match[2] or ""
        elif name and bare and set(bare) - set("─╭╮╰╯"):
            found[name] += f" {bare}"
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_a_flag_that_says_no_is_explained_by_what_it_decides(interp, name):
    for option, said in options_of(interp(name, "--help").out).items():
        if ".no-" in option or option.startswith("--no-"):
            assert said.strip().startswith("Whether "), (option, said)
            assert "(default: True)" in said


@pytest.mark.parametrize("name", sorted(FREE_OF_NONE))
def test_no_option_that_may_be_left_out_offers_the_word_none(interp, name):
    assert "{None" not in interp(name, "--help").out


def test_choices_that_may_be_left_out_are_listed_and_others_refused(interp, induction):
    assert "{weak,moderate,strong}" in options_of(interp("audit", "--help").out)["--confidence"]
    called = interp("audit", induction, "--confidence", "sure")
    assert called.code == 2
    assert called.err.startswith("interp: invalid choice 'sure' for argument '--confidence'")
    called = interp("search", induction, "--edges", "many")
    assert called.code == 2
    assert "--edges: expected a whole number, got 'many'" in called.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_before_a_command_is_help_after_it(interp, name):
    before, after = interp("help", name), interp(name, "--help")
    assert (before.code, before.out) == (0, after.out)


def test_help_alone_is_the_overview(interp):
    assert interp("help").out == interp("--help").out
    assert interp("help").code == 0


@pytest.mark.parametrize(
    "words, near",
    [(["audti"], "audit"), (["help", "pattern"], "patterns"), (["hepl"], "help"), (["cicuits"], "circuits")],
)
def test_a_misspelt_command_is_answered_by_the_nearest_one(interp, words, near):
    called = interp(*words)
    assert called.code == 2
    assert f"did you mean {near}?" in called.err
