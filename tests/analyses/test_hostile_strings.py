"""Token names and folders that are out to break files, terminals and pages, through every command."""

import io
import json
import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from analyses import cli
from tests.report_pages import save_handmade

pytest_plugins = ("tests.browser", "tests.command_line")

LONG = "long" * 2500
HOSTILE = (
    "<bos>",
    "</script><script>alert('token')</script>",
    "<img src=x onerror=alert('image')>",
    "\"quoted\" 'both' `ways`",
    "a\nb\r\nc\td",
    "\x00\x07\x1b[31m\x1b]0;title\x07",
    "\u202egnol\u2066",
    "\ud800",
    "\udc80",
    "👩🏽‍🚀",
    "שלום",
    "e\u0301\u0301\u0301",
    "$x^2_{",
    "%s {0} {{ 7 * 7 }} {% raw %}",
    LONG,
    "\ufeff\u200b\xa0",
)
FOLDER = "a #1 100%25 & <b> \"q\" 'x' ?y=1;z ü🙂\u202e"
COMMANDS = {
    "audit": [],
    "heads": [],
    "patterns": ["--tokens", *map(str, [0, *range(1, 16), *range(1, 16)])],
    "circuits": [],
    "lens": [],
    "paths": [],
    "search": ["--method", "eap"],
}
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What would move the cursor, ring, change colours or turn the direction of a terminal's or a page's text."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_handmade(tmp_path_factory.mktemp("models") / FOLDER, "induction_k", HOSTILE, d_vocab=len(HOSTILE))


@dataclass(frozen=True)
class Ran:
    """What a command wrote and printed."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def ran(model, tmp_path_factory) -> dict[str, Ran]:
    found = {}
    for command, options in COMMANDS.items():
        folder = tmp_path_factory.mktemp(command) / FOLDER
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = cli.run([command, str(model), *options, "--out", str(folder)])
        assert code == 0, err.getvalue()
        found[command] = Ran(folder, out.getvalue() + err.getvalue())
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_file_is_strict_json_in_ascii_or_a_page_without_raw_controls(ran, command):
    written = sorted(path for path in ran[command].folder.rglob("*") if path.is_file())
    assert any(path.suffix == ".json" for path in written)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    for path in written:
        if path.suffix == ".json":
            text = path.read_text(encoding="ascii")
            assert "</script" not in json.loads(text, parse_constant=refuse).get("html", "")
        elif path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            assert not RAW.search(text.split("<script>")[0])
            assert "<script>alert" not in text
            assert "<img src=x" not in text
            assert "<b>" not in re.sub("<b>(?=[^<&]*</b>)", "", text.split("<script>")[0])
        else:
            assert path.suffix == ".png"
            assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_has_no_control_characters_and_no_line_of_ten_thousand(ran, command):
    for line in ran[command].printed.splitlines():
        assert not RAW.search(line.replace(FOLDER, "").replace("\t", " ")), line
        assert len(line) < 400, line[:80]


@pytest.mark.parametrize("command", ["patterns", "audit"])
def test_no_script_from_a_token_or_a_folder_runs_in_a_page(ran, visit, command):
    (page,) = ran[command].folder.glob("*.html")
    seen = visit(page, ".AttentionHeads canvas")
    seen.assert_clean()
    assert seen.page.locator("img[src=x]").count() == 0
    assert seen.page.locator("h1 b").count() == 0
    assert FOLDER.replace("\u202e", "")[:8] in seen.page.locator("h1").inner_text()


def test_json_on_standard_output_holds_the_tokens_as_they_are(interp, model, tmp_path):
    done = interp("patterns", model, *COMMANDS["patterns"], "--out", tmp_path / "out", "--json")
    assert done.out.isascii()
    found = done.json
    assert found["model"]["path"] == str(model)
