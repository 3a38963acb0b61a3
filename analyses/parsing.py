"""From the words of a command line to a command's options; whatever cannot be read is an `InputError` of one line."""

import difflib
import io
import re
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stderr
from importlib.metadata import PackageNotFoundError, version

import tyro

from analyses.arguments import COMMANDS, TRAIN_KINDS, Common
from toy_models.errors import InputError

OVERVIEW = """\
usage: interp COMMAND [options]

Train a small transformer, read its algorithm out of its weights, get a verdict with its evidence.

{commands}

interp help COMMAND shows a command's options. MODEL is a run folder that interp train wrote, a
checkpoint folder, a Hugging Face folder, a GGUF file or a model's name. Exit codes: 0 done, 1 an
expectation does not hold, 2 bad input, 3 cannot be decided, 70 internal error, 130 interrupted.
"""
WIDTH = 98


class HelpShown(Exception):
    """Help or version was asked for and printed: there is nothing else to do."""


def parse(words: Sequence[str]) -> Common:
    """The options of the command that the first word names.

    Raises `HelpShown` after printing help or version, `InputError` for what cannot be a command line.
    """
    if not words:
        raise InputError(f"which command? One of {', '.join(COMMANDS)}; see interp --help")
    name, rest = words[0], list(words[1:])
    if name == "help" and rest:
        name, rest = rest[0], [*rest[1:], "--help"]
    if name in ("-h", "--help", "help"):
        print(OVERVIEW.format(commands=command_list()), end="")
        raise HelpShown
    if name == "--version":
        print(f"interp {interp_version()}")
        raise HelpShown
    if name not in COMMANDS:
        raise InputError(f"there is no command {name!r}; {nearest(name, [*COMMANDS, 'help'])}")
    if name == "train" and rest and not rest[0].startswith("-"):
        kind = rest.pop(0)
        if kind not in TRAIN_KINDS:
            raise InputError(
                f"interp train trains a transformer, or a kind named first; there is no kind {kind!r}; "
                f"{nearest(kind, list(TRAIN_KINDS))}"
            )
        return parse_options(f"{name} {kind}", TRAIN_KINDS[kind], rest)
    return parse_options(name, COMMANDS[name], rest)


def nearest(word: str, known: list[str]) -> str:
    """What a word that is not known may have meant."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(w for w in known if w != 'help')}"


def parse_options(name: str, kind: type[Common], words: list[str]) -> Common:
    """`words` as the options of one command."""
    complaints = io.StringIO()
    try:
        with redirect_stderr(complaints):
            return tyro.cli(kind, prog=f"interp {name}", args=words, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as stop:
        if stop.code in (0, None):
            raise HelpShown from None
        refusal = input_error_behind(stop)
        message = str(refusal) if refusal else f"{one_line(complaints.getvalue())}; see interp {name} --help"
        raise InputError(message) from None


def input_error_behind(error: BaseException) -> InputError | None:
    """The `InputError` of ours that made tyro give up, if it was one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    return cause


def one_line(box: str) -> str:
    """What tyro says below the title of a box, up to its first rule, and the names of options that come near.

    The box is drawn with lines in a terminal that has them, else with hyphens.
    """
    bare = re.sub(r"\x1b\[[0-9;]*m", "", box)
    lines = [line.strip().strip("│╭╰╮╯").strip() for line in bare.splitlines()][1:]
    paragraphs: list[list[str]] = [[]]
    for line in filter(None, lines):
        if line.strip("─-"):
            paragraphs[-1].append(line)
        elif paragraphs[-1]:
            paragraphs.append([])
    message = " ".join(" ".join(paragraphs[0]).split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    if not message.startswith("unrecognized"):
        return message
    near = [line.split()[0] for lines in paragraphs[1:] for line in lines if line.startswith("--")]
    return message + (f" (did you mean {' or '.join(near[:3])}?)" if near else "")


def command_list() -> str:
    """Every command with its docstring."""
    width = max(map(len, COMMANDS)) + 4
    wrapper = textwrap.TextWrapper(WIDTH, subsequent_indent=" " * width, break_on_hyphens=False)
    said = {name: " ".join((kind.__doc__ or "").split()) for name, kind in COMMANDS.items()}
    lines = (wrapper.fill(f"  {name:<{width - 2}}{text}") for name, text in said.items())
    return "\n".join(lines)


def interp_version() -> str:
    """The version that is installed; "unknown" for a checkout that is not."""
    try:
        return version("interp")
    except PackageNotFoundError:
        return "unknown"
