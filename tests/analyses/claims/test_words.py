"""Reasons, topics and placebo in words, and the README's block."""

import pytest

from analyses.claims import readme
from analyses.claims.catalogue import all_claims
from analyses.claims.judge import Part
from analyses.claims.running import run_claim
from analyses.claims.stored import Stored, document_of
from analyses.claims.words import counted, placebo_text, reason, topic_of
from interp.errors import InputError
from tests.analyses.claims.fakes import IDENTITY, claim


def part(treated, control, kind="greater", margin=0.5) -> Part:
    return Part("here", "score", treated, control, kind, margin)


ZERO = (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (part((1.0, 1.1, 1.2), ZERO), "the interval lies above 0 and the mean reaches the margin"),
        (part(ZERO, (1.0, 1.1, 1.2)), "the interval lies on the opposite side"),
        (part((0.10, 0.11, 0.12), ZERO), "the whole interval is smaller than the margin"),
        (part((0.4, 0.5, 0.3), ZERO), "the mean is smaller than the margin"),
        (part((9.0, 0.0, 3.0), ZERO), "the interval contains 0"),
        (part((9.0,), (0.0,)), "one seed gives no interval"),
        (part((9.0, float("nan")), (0.0, 0.0)), "a value is not finite"),
        (part(ZERO, ZERO, "equivalent"), "the whole interval lies within the margin"),
        (part((2.0, 2.1, 2.2), ZERO, "equivalent"), "the whole interval lies outside the margin"),
        (part((2.0, 0.0, 0.0), ZERO, "equivalent"), "the interval crosses the margin"),
        (part((0.1,), (1.0,), "exact"), "every error is within the tolerance, every error of the wrong way beyond it"),
        (part((0.7,), (1.0,), "exact"), "an error exceeds the tolerance"),
        (
            part((0.1,), (0.2,), "exact"),
            "the wrong way errs no more than the tolerance, so it could not have been told",
        ),
    ],
)
def test_the_reason_says_which_rule_decided(given, said):
    assert reason(given) == said


def test_every_declared_claim_has_a_topic_of_its_own():
    assert [each.name for each in all_claims() if topic_of(each.numbers) == "Others"] == []
    assert topic_of((12, 1)) == "Residual nets"
    assert topic_of((500,)) == "Others"


PLACEBO = {
    "draws": 20,
    "fresh": False,
    "seeds": list(range(8)),
    "compared": 2,
    "holds": 1,
    "with_a_condition": 3,
    "equivalent": [{"condition": "deep", "within": 19, "half_width": 0.0123, "margin": 0.02}],
}


def test_a_placebo_says_how_often_it_held_and_what_the_interval_could_tell():
    assert placebo_text(PLACEBO) == (
        "The control arm against itself, with one pool of 8 seeds, was said to hold in 1 of 20 draws (and for some of "
        "its comparisons in 3); lay within the margin of 0.02 in 19 of 20 draws for deep, the interval being ± 0.012 "
        "wide."
    )
    assert placebo_text(None) == ""


def results(holds=1):
    more = document_of(run_claim(claim()), {}) | {"placebo": PLACEBO | {"holds": holds}}
    return [Stored(more), Stored(document_of(run_claim(IDENTITY, (0,)), {}))]


def test_the_block_has_a_row_for_each_claim_by_topic_with_markup_escaped():
    lines = readme.block(results()).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert "Of 2 claims 2 hold." in lines
    assert rows[2:] == [
        "|   | **Divergence and cross-entropy** |   |   |   |",
        r"| 9 | More \<b>is\</b> more & never less. | holds | zero: largest error 0 (at most 1.0e−09) |   |",
        "|   | **Residual nets** |   |   |   |",
        rows[-1],
    ]
    assert rows[-1].startswith(r"| 12 | More \<b>is\</b> more & never less. | holds | at the end: 1.0")
    assert rows[-1].endswith("] (at least 0.500) | 1 of 20 (3 in part) |")


def test_a_placebo_that_held_too_often_is_marked_and_named():
    text = readme.block(results(holds=3))
    assert "| **3 of 20 (3 in part)** |" in text
    assert "verdict proves little: more-is-more." in text.replace("\n", " ")


def test_the_block_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{readme.BEGIN}\nold\n{readme.END}\n\nafter\n")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(readme, "FEATURED", "more-is-more")
    found = {each.name: each for each in results()}
    assert readme.write_readme(found, path) == [path, tmp_path / "notebooks" / "claims.png"]
    assert path.read_text() == f"before\n\n{readme.block(list(found.values()))}\n\nafter\n"
    assert (tmp_path / "notebooks" / "claims.png").read_bytes().startswith(b"\x89PNG")


def test_a_readme_without_a_place_or_a_figure_without_a_result_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "README.md"
    path.write_text("nothing")
    with pytest.raises(InputError, match="needs one place for the table"):
        readme.write_readme({}, path)
    path.write_text(f"{readme.BEGIN}\n{readme.END}")
    with pytest.raises(InputError, match="which was not run"):
        readme.write_readme({}, path)


def test_one_claim_holds_and_two_hold():
    words = ["holds", "holds", "does not hold here", "holds with a condition"]
    assert counted(words) == "2 hold, 1 holds with a condition, 1 does not hold here"
