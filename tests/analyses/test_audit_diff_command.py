"""`interp audit --diff`: what it prints and writes, and one line for whatever cannot be compared."""

import json

import pytest

from analyses.audit import audit
from analyses.loading import load_subject
from analyses.output import strict_json
from toy_models import handmade

pytest_plugins = ("tests.command_line",)


@pytest.fixture(scope="module")
def reports(tmp_path_factory, induction):
    """report.json of the handmade K-composition and Q-composition induction models."""
    folder = tmp_path_factory.mktemp("reports")
    for name, report in {
        "k": audit(load_subject(induction)),
        "q": audit(handmade.make("induction_q").model, bos=0),
    }.items():
        (folder / f"{name}.json").write_text(strict_json(report.to_dict()))
    return folder / "k.json", folder / "q.json"


def test_two_audits_are_compared_and_the_diff_is_written(interp, reports, tmp_path):
    called = interp("audit", "--diff", *reports, "--out", tmp_path)
    assert (called.code, called.err) == (0, "")
    row = called.row("L1H0", "L1H0", "induction")
    assert row[3:8] == ["(K)", "+1", "→", "induction", "(Q)"]
    assert row[-1] == "matched"
    assert "lost previous-token: L0H0 (before)" in called.out
    assert "gained  L0H0 to L1H0 (Q)" in called.out
    assert max(len(line) for line in called.out.splitlines() if str(tmp_path.parent) not in line) <= 98
    written = json.loads((tmp_path / "diff.json").read_text())
    assert written["schema"] == "interp-audit-diff"
    assert written["roles"]["gained"] == {"duplicate-token": ["L0H0"]}
    assert written["circuits"]["lost"] == [["L0H0", "K", "L1H0"]]
    assert [path.name for path in tmp_path.iterdir()] == ["diff.json"]


def test_a_folder_is_audited_and_compared_as_its_report_is(interp, induction, reports, tmp_path):
    from_folder = interp("audit", "--diff", induction, reports[1], "--out", tmp_path, "--json")
    from_file = interp("audit", "--diff", *reports, "--out", tmp_path, "--json")
    assert from_file.code == from_folder.code == 0
    assert from_file.json["pairs"] == from_folder.json["pairs"]
    assert from_file.err == f"interp: wrote {tmp_path / 'diff.json'}\n"


def test_without_a_folder_to_write_to_the_diff_lies_beside_the_audit_after(interp, reports):
    assert interp("audit", "--diff", *reports[::-1]).code == 0
    assert reports[0].with_name("diff.json").exists()


@pytest.mark.parametrize(
    "content, said",
    [
        ("no json", "is no JSON file"),
        ("[1, 2]", "is not the report of an audit: it names no schema"),
        ('{"schema": "interp-audit-diff"}', "its schema is 'interp-audit-diff'"),
        ('{"schema": "interp-audit", "schema_version": 0}', "has version 0 of the report"),
    ],
)
def test_a_file_that_is_no_report_is_refused_in_one_line(interp, induction, tmp_path, content, said):
    (tmp_path / "file.json").write_text(content)
    called = interp("audit", "--diff", tmp_path / "file.json", induction, "--out", tmp_path)
    assert (called.code, called.out) == (2, "")
    assert said in called.err
    assert called.err.count("\n") == 1
    assert not (tmp_path / "diff.json").exists()


def test_a_report_with_something_missing_is_refused_in_one_line(interp, induction, reports, tmp_path):
    document = json.loads(reports[0].read_text())
    del document["verdicts"][0]["claims"][0]["feeders"]
    (tmp_path / "report.json").write_text(json.dumps(document))
    called = interp("audit", "--diff", tmp_path / "report.json", induction, "--out", tmp_path)
    assert called.code == 2
    assert "is a damaged report" in called.err
    assert called.err.count("\n") == 1


@pytest.mark.parametrize(
    "words, said",
    [
        (("--expect", "induction"), "leave one of them out"),
        (("--confidence", "weak"), "leave one of them out"),
        (("--skip", "behaviour"), "leave out --skip behaviour"),
        (("--budget", "2"), "--budget is an option of one audit"),
        (("--plan", "plan.json"), "--plan is an option of one audit"),
        (("--lens", "tuned"), "--lens is an option of one audit"),
    ],
)
def test_options_that_mean_nothing_for_a_diff_are_refused(interp, induction, words, said):
    called = interp("audit", "--diff", induction, induction, *words)
    assert (called.code, called.out) == (2, "")
    assert said in called.err


def test_folders_are_audited_with_the_criteria_that_are_given_and_reports_are_not_judged_anew(
    interp, induction, reports, tmp_path
):
    (tmp_path / "mine.json").write_text('{"loss_share": 5.0}')  # no head costs five times what the model gains
    options = ("--criteria", tmp_path / "mine.json", "--out", tmp_path, "--json")
    called = interp("audit", "--diff", reports[0], induction, *options)
    first, second = (
        next(pair[side][0]["confidence"] for pair in called.json["pairs"] if pair["before"] == "L1H0")
        for side in ("roles_before", "roles_after")
    )
    assert (called.code, first, second) == (0, "strong", "moderate")
    assert called.json["notes"] == ["the criteria differ, so roles may too: loss_share 0.02 and 5"]
    called = interp("audit", "--diff", *reports, *options)
    assert called.code == 2
    assert "--criteria is for folders" in called.err


def test_a_place_with_nothing_in_it_is_refused(interp, induction, tmp_path):
    called = interp("audit", "--diff", tmp_path / "nothing", induction)
    assert called.code == 2
    assert "expected a run or checkpoint folder, or a report.json" in called.err
