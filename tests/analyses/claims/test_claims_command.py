"""`interp claims`: what it prints, writes and refuses, on claims that cost nothing."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from analyses.claims import catalogue, stored
from analyses.claims.claim import Arm, Comparison
from analyses.commands import claims as command
from tests.analyses.claims.fakes import BROKEN, IDENTITY, claim, noisy

pytest_plugins = ("tests.command_line",)

CLAIMS = (IDENTITY, claim(), claim("less-is-more", statement="Less is more.", slip="It is not."))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, where the three claims above are all there are and nothing was run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "results")
    for module in (catalogue, command):
        monkeypatch.setattr(module, "all_claims", lambda: CLAIMS)
    return tmp_path


def test_run_judges_and_writes_a_file_for_each_claim_where_the_package_keeps_them(place, interp):
    called = interp("claims", "run", "--all")
    assert called.code == 0
    assert {path.stem for path in (place / "results").iterdir()} == {each.name for each in CLAIMS}
    assert called.out.count(": holds\n") == 3
    assert json.loads((place / "results" / "more-is-more.json").read_text())["verdict"]["word"] == "holds"


@pytest.mark.parametrize("words", [("--seeds", 2), ("--budget", 0.5), ("--seed", 7)])
def test_other_seeds_or_budgets_are_not_written_there_but_into_a_folder_that_is_named(place, interp, words):
    called = interp("claims", "run", "more-is-more", *words)
    assert called.code == 0
    assert "--out DIR" in called.err
    assert not (place / "results").exists()
    interp("claims", "run", "more-is-more", *words, "--out", "mine")
    assert [path.name for path in (place / "mine").iterdir()] == ["more-is-more.json"]


def test_seeds_begin_at_the_one_that_is_given(place, interp):
    found = interp("claims", "run", "more-is-more", "--seed", 7, "--seeds", 2, "--json").json["results"][0]
    assert found["seeds"] == [7, 8]


def test_run_prints_each_comparison_with_its_interval_and_margin(place, interp):
    called = interp("claims", "run", "more-is-more")
    found = json.loads((place / "results" / "more-is-more.json").read_text())["parts"][0]
    interval = found["interval"]
    row = called.row("at", "the", "end")[3:]
    assert row[:3] == [f"{sum(found[side]) / 3:.3g}" for side in ("treated", "control")] + [f"{interval['mean']:.3g}"]
    assert row[3:] == [f"[{interval['low']:.3g},", f"{interval['high']:.3g}]", "≥", "0.5", "holds"]
    assert max(map(len, called.out.splitlines())) <= 98


def test_a_training_that_raises_gives_one_line_its_exit_code_and_the_other_results(place, interp, monkeypatch):
    for module in (catalogue, command):
        monkeypatch.setattr(module, "all_claims", lambda: (BROKEN, *CLAIMS))
    called = interp("claims", "run", "--all")
    assert called.code == 70
    assert "claim broken-by-chance: arm bad, seed 1: ValueError: no luck with this seed" in called.err
    assert "Traceback" not in called.err
    assert len(list((place / "results").iterdir())) == 3
    assert "Traceback" in interp("claims", "run", "broken-by-chance", "--debug").err


def test_list_shows_verdicts_and_what_is_stale(place, interp):
    before = interp("claims")
    assert before.code == 0
    assert before.out.count("not run yet") == 4
    interp("claims", "run", "more-is-more")
    path = place / "results" / "more-is-more.json"
    assert interp("claims", "list").row("12", "more-is-more") == ["12", "more-is-more", "holds"]
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"hash": found["hash"] | {"sources": "others"}}))
    assert interp("claims", "list").row("12", "more-is-more")[-1] == "stale"
    listed = interp("claims", "list", "more-is-more", "--json").json["claims"]
    assert [(each["name"], each["stale"]) for each in listed] == [("more-is-more", "source changed")]


def test_placebo_adds_how_often_the_control_against_itself_holds(place, interp):
    interp("claims", "run", "--all")
    called = interp("claims", "placebo", "--all")
    assert called.code == 0
    row = called.row("more-is-more", "20", "120", "fresh")
    assert row[4:] == ["0", "0"]
    kept = json.loads((place / "results" / "more-is-more.json").read_text())
    assert (kept["placebo"]["draws"], kept["placebo"]["holds"], len(kept["placebo"]["seeds"])) == (20, 0, 120)
    assert json.loads((place / "results" / "nothing-is-nothing.json").read_text())["placebo"] is None
    interp("claims", "run", "--all")
    assert json.loads((place / "results" / "more-is-more.json").read_text()) == kept


def test_a_placebo_compares_the_draws_own_seeds(place, interp, monkeypatch):
    alike = Comparison("alike", "score", "score", "noise", "noise", "equivalent", 2.0)
    noise = claim("noise-is-noise", arms={"noise": Arm(noisy)}, comparisons=(alike,), picture=None)
    for module in (catalogue, command):
        monkeypatch.setattr(module, "all_claims", lambda: (noise,))
    interp("claims", "run", "--all")
    found = interp("claims", "placebo", "--all", "--json").json["placebos"]["noise-is-noise"]["equivalent"][0]
    values = np.array([noisy(1000 + seed, "cpu", 1.0)["score"] for seed in range(120)]).reshape(20, 2, 3)
    half_widths = stats.sem(values[:, 0] - values[:, 1], axis=1) * stats.t.ppf(0.975, 2)
    assert found["half_width"] == pytest.approx(float(np.median(half_widths)))


def test_a_placebo_without_a_result_is_refused_by_name(place, interp):
    called = interp("claims", "placebo", "more-is-more")
    assert (called.code, called.err) == (
        2,
        "interp: claim more-is-more has no result yet: interp claims run more-is-more\n",
    )
    assert "is an identity" in interp("claims", "placebo", "nothing-is-nothing").err


def test_report_writes_a_page_without_network_with_a_section_and_a_figure_for_each_claim(place, interp):
    interp("claims", "run", "--all")
    interp("claims", "placebo", "--all")
    called = interp("claims", "report", "--out", "page")
    assert called.code == 0
    page = (place / "page" / "claims.html").read_text()
    assert re.findall(r'<article class="claim" id="([\w-]+)">', page) == [each.name for each in sorted_by_topic()]
    assert page.count("<img") == page.count("data:image/png;base64,") == 3
    assert "://" not in re.sub(r"data:image[^\"]+", "", page)
    assert "More &lt;b&gt;is&lt;/b&gt; more &amp; never less." in page
    assert re.search(r'alt="score reached by step: shifted ends at 1\.0\d; plain ends at', page)
    assert "A slip" not in page.split('id="less-is-more"')[0].split("</style>")[1]
    assert page.count('class="slip"') == 1
    assert "was said to hold in 0 of 20 draws" in page
    assert interp("claims", "report", "--json", "--out", "page").json["not_run"] == []


def sorted_by_topic():
    return sorted(CLAIMS, key=lambda each: each.numbers)


def test_report_counts_what_was_not_run(place, interp):
    interp("claims", "run", "more-is-more")
    called = interp("claims", "report")
    assert "3 claims: 1 holds, 2 not run yet." in called.out
    assert (place / "runs" / "claims" / "claims.html").is_file()
    assert "Of 3 claims 1 holds; 2 not run yet." in (place / "runs" / "claims" / "claims.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "more-or-less"], "no claim is called 'more-or-less'; the nearest are more-is-more, less-is-more"),
        (["run"], "which claims? interp claims run NAME ... or --all"),
        (["placebo"], "which claims? interp claims placebo NAME ... or --all"),
        (["run", "more-is-more", "--all"], "either names of claims or --all"),
        (["run", "--all", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["run", "--all", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["run", "--all", "--budget", "0"], "--budget must be above 0"),
        (["run", "--all", "--budget", "nan"], "--budget must be above 0"),
        (["run", "--all", "--threads", "2"], "use --jobs instead of --threads"),
        (["run", "--all", "--results", "x"], "--results is read only"),
        (["placebo", "--all", "--seeds", "4"], "takes seeds, budget and device from the stored results"),
        (["list", "--results", "nowhere"], "there is none at nowhere"),
        (["list", "--readme"], "--readme goes with interp claims report"),
        (["report", "--readme"], "needs one place for the table"),
        (["lists"], "invalid choice 'lists' for argument 'action'"),
        (["run", "--all", "--device", "cuda"], "cuda"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_before_any_work(place, interp, monkeypatch, words, said):
    monkeypatch.setattr("analyses.claims.readme.README", place / "README.md")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    called = interp("claims", *words)
    assert called.code == 2
    assert said in called.err
    assert called.err.count("\n") == 1
    assert list(place.iterdir()) == []
