"""The report of an audit: what its page says is what was measured, and it stands alone."""

import base64
import errno
import math
import re
from dataclasses import replace
from io import BytesIO

import pytest
from matplotlib import image
from matplotlib.figure import Figure

from analyses import output
from analyses.audit import audit
from analyses.criteria import ROLES, SOURCES
from analyses.evidence import CONFIDENCE
from analyses.loading import load_subject
from analyses.reliability import meaning
from analyses.report import report_files, write_report
from analyses.report.numbers import shown
from analyses.report.write import SECTIONS
from tests.report_pages import Elements, make_report, save_handmade
from toy_models.atomic import OutputError
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line", "tests.reports")

MEGABYTE = 10**6


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made but not drawn."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))


def numbers_in(value):
    """Every number of a JSON document."""
    if isinstance(value, dict | list):
        children = value.values() if isinstance(value, dict) else value
        return {number for child in children for number in numbers_in(child)}
    return {value} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def rows_of(made):
    """The verdict table: a dictionary of texts for each head."""
    summaries = [each for each in made.elements if each.tag == "details" and "row" in each.attributes["class"].split()]
    return {each.attributes["id"]: " ".join(each.text.split()) for each in summaries}


def test_the_handmade_induction_head_is_concluded_with_what_feeds_it(induction_report):
    assert induction_report.conclusion == (
        "1 head is an induction head: L1H0 (strong); it is told which token stood before by L0H0 (K-composition)."
    )
    found = "Other roles found: previous-token: L0H0 (strong); copying: L1H0 (strong)."
    assert induction_report.all("p", "others")[0].text == found
    assert induction_report.json["page"]["conclusion"] == induction_report.conclusion


def test_an_untrained_model_is_said_to_have_no_induction_head(default_report):
    assert default_report.conclusion == "No head reaches the criteria of an induction head."
    assert default_report.all("p", "others") == []
    assert {verdict["role"] for verdict in default_report.json["verdicts"]} == {"none"}
    assert "No head has a role" in default_report.section("circuits")


@pytest.mark.parametrize("which", ["induction_report", "default_report"])
def test_every_number_of_the_page_is_in_the_json_and_shown_rounded(which, request):
    made = request.getfixturevalue(which)
    shown_numbers = made.all("data")
    known = numbers_in(made.json)
    assert len(shown_numbers) > 200
    for element in shown_numbers:
        value = float(element.attributes["value"])
        assert value in known, element
        assert element.text == shown(value) or element.text == f"{value:,.0f}"


def test_every_verdict_stands_in_the_table_with_its_confidence_and_its_feeders(induction_report):
    rows = rows_of(induction_report)
    for verdict in induction_report.report.verdicts:
        text = rows[verdict.head]
        assert f"{verdict.head} {verdict.role} {verdict.confidence or ''}".strip() in text
        for claim in verdict.claims:
            for evidence in claim.evidence:
                for measurement in evidence.measurements:
                    assert measurement.rule in text
                    assert shown(measurement.value) in text
    assert "L0H0 (K)" in rows["L1H0"]
    assert list(rows) == ["L0H0", "L1H0"]


def test_nulls_intervals_and_rules_stand_beside_the_deciding_number(induction_report):
    row = rows_of(induction_report)["L1H0"]
    measurement = induction_report.report["L1H0"].claims[0].evidence[0].measurements[0]
    key = f"prefix matching {shown(measurement.value)} [{shown(measurement.low)}, {shown(measurement.high)}]"
    assert key in row
    null, value = max(measurement.nulls.items(), key=lambda item: item[1])
    assert f"{key}, {null} {shown(value)}" in row


def test_confidence_words_say_what_they_mean_on_hover_and_in_the_legend(induction_report):
    badges = induction_report.all("abbr", "badge")
    assert {badge.attributes["title"] for badge in badges if badge.text == "strong"} == {meaning("strong")}
    legend = induction_report.all("dl", "legend")[0].text
    assert all(text in legend for text in CONFIDENCE.values())


def test_every_criterion_stands_with_its_value_and_source_and_every_role_with_its_meaning(induction_report):
    text = induction_report.section("method")
    for name, source in SOURCES.items():
        value = getattr(induction_report.report.criteria, name)
        cells = f"{name.replace('_', ' ')}{value if isinstance(value, str) else shown(value)}{source}"
        assert cells in text
    assert all(f"{role}{meaning}" in text for role, meaning in ROLES.items())
    assert "These thresholds are not the default ones." not in text


def test_the_command_is_the_one_that_makes_the_same_report(induction_report):
    path = induction_report.subject.path
    assert f"The same report again: interp audit {path} --seed 0" in induction_report.section("method")


@pytest.mark.parametrize("which", ["induction_report", "default_report"])
def test_every_figure_is_a_drawn_png_of_moderate_size_and_stands_in_the_page(which, request):
    made = request.getfixturevalue(which)
    inlined = [element.attributes for element in made.all("img")]
    assert made.json["page"]["figures"] == list(made.pictures)
    assert len(inlined) == len(made.pictures) >= 12
    for attributes, (name, data) in zip(inlined, made.pictures.items(), strict=True):
        assert base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,")) == data
        assert attributes["alt"]
        assert name.startswith("report-")
        assert len(data) < 200_000
        pixels = image.imread(BytesIO(data))
        assert min(pixels.shape[:2]) > 150
        assert len({tuple(pixel) for pixel in pixels.reshape(-1, pixels.shape[-1])[::7].tolist()}) > 10


def test_the_page_of_a_default_model_takes_at_most_five_megabytes(default_report):
    assert default_report.subject.config.d_vocab == 64
    assert len(default_report.html.encode()) < 5 * MEGABYTE


def test_the_page_asks_for_nothing_and_may_not(induction_report):
    policy = next(e.attributes["content"] for e in induction_report.all("meta") if "content" in e.attributes)
    assert "default-src 'none'" in policy
    assert "img-src data:;" in policy
    for element in induction_report.elements:
        for name, value in element.attributes.items():
            assert name not in ("onload", "onerror", "onclick")
            if name in ("src", "href"):
                assert value.startswith(("data:image/png;base64,", "#")), (element.tag, value)
    targets = {element.attributes["id"] for element in induction_report.elements if "id" in element.attributes}
    links = {element.attributes["href"][1:] for element in induction_report.all("a")}
    assert links <= targets
    assert {"verdicts", "behaviour", "patterns", "ablation", "circuits", "composition", "lens", "method"} <= links


def test_the_page_is_well_formed(induction_report):
    reader = Elements(induction_report.html)
    assert reader.open == []
    assert {element.tag for element in reader.found} >= {"html", "section", "details", "table", "figure", "nav"}


def test_every_section_says_what_is_seen_and_what_would_count(default_report):
    sections = default_report.all("section")
    assert len(sections) == 1 + len(SECTIONS)  # the verdicts stand before them
    assert len(default_report.all("p", "lead")) == 2 * len(sections)
    assert len(default_report.all("p", "counts")) == len(sections)


def test_a_checkpoint_that_stands_alone_says_why_there_is_no_training_curve(induction_report):
    assert "belongs to no run folder" in induction_report.section("training")
    assert "report-training.png" not in induction_report.files


def test_a_run_shows_its_curve_its_target_and_that_nothing_emerged(undrawn, run_folder):
    made = make_report(run_folder)
    text = made.section("training")
    assert "The ability did not emerge" in text
    assert f"best possible (Bayes){shown(0.135)}{shown(0.001)}" in text
    end = (made.subject.info or {})["result"]["eval_predictable_loss"]
    assert f"model, at the end of the run{shown(end)}" in text
    assert made.json["page"]["training"]["target"]["optimum"]["mean"] == 0.135
    assert "report-training.png" in made.json["page"]["figures"]
    facts = made.all("dl", "facts")[0].text
    assert "24 steps on repeated-tokens" in facts
    assert made.subject.model_hash in facts
    assert "training 0, audit 0" in facts
    assert "torch 2." in facts


@pytest.mark.parametrize(
    ("skipped", "conclusion", "section", "said"),
    [
        ("behaviour", "No verdict: what the heads do on tokens was not measured.", "behaviour", "--skip behaviour"),
        ("causal", "1 head is an induction head: L1H0 (moderate).", "ablation", "--skip causal"),
        ("weights", "1 head is an induction head: L1H0 (moderate); it is told which", "composition", "--skip weights"),
    ],
)
def test_evidence_that_was_left_out_is_said_to_be_missing(undrawn, tmp_path, skipped, conclusion, section, said):
    made = make_report(save_handmade(tmp_path / "induction", "induction_k"), skip=(skipped,))
    assert made.conclusion.startswith(conclusion)
    assert said in made.section(section)
    assert f"Left out on request: {skipped}." in made.section("method")
    assert f"--seed 0 --skip {skipped}" in made.section("method")


def test_criteria_of_ones_own_are_said_to_be_so(undrawn, induction_report):
    report = replace(induction_report.report, criteria=replace(induction_report.report.criteria, pattern_mass=0.123))
    html = report_files(report, induction_report.subject)["report.html"]
    assert "These thresholds are not the default ones: pattern mass 0.123 (default 0.4)." in html
    assert '<data value="0.123">0.123</data>' in html


def test_writing_gives_the_files_and_what_was_added_to_the_json(induction_report, tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.report.write.report_files", lambda *_: dict(induction_report.files))
    paths = write_report(induction_report.report, induction_report.subject, tmp_path / "new" / "out")
    assert {path.name: path.read_bytes() for path in paths} == {
        name: data if isinstance(data, bytes) else data.encode() for name, data in induction_report.files.items()
    }
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(induction_report.files)


def test_the_same_audit_gives_the_same_files_and_extra_values_join_the_json(undrawn, tmp_path):
    subject = load_subject(save_handmade(tmp_path / "twice", "previous_token"))
    first = report_files(audit(subject), subject)
    second = report_files(audit(subject), subject, {"expectations": [{"outcome": "holds"}]})
    assert {n: d for n, d in first.items() if n != "report.json"} == {
        n: d for n, d in second.items() if n != "report.json"
    }
    added = '"expectations": [\n    {\n      "outcome": "holds"\n    }\n  ],\n  '
    assert added in str(second["report.json"])
    assert str(second["report.json"]).replace(added, "") == first["report.json"]


@pytest.mark.parametrize("fails_at", [1, 2, 9])
def test_a_full_disk_leaves_the_report_that_was_there(induction_report, tmp_path, monkeypatch, fails_at):
    (tmp_path / "report.html").write_text("the one before")
    monkeypatch.setattr("analyses.report.write.report_files", lambda *_: dict(induction_report.files))
    written, write = [], output.write_synced

    def full(path, data):
        written.append(path)
        if len(written) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(output, "write_synced", full)
    with pytest.raises(OutputError, match=r"cannot write .*: No space left on device"):
        write_report(induction_report.report, induction_report.subject, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "the one before"


def test_the_header_says_the_model_in_words(default_report):
    facts = default_report.all("dl", "facts")[0].text
    for words in (
        "2 layers of 4 attention heads, attention only",
        "64 numbers in the residual stream, 16 in a head",
        "64 tokens, context of 64",
        "learned positions added to the residual stream",
        "no normalisation",
        "separate embedding and unembedding",
        "nothing is written down about its training",
    ):
        assert words in facts


def test_the_direct_path_of_tied_embeddings_is_said_to_be_symmetric(undrawn, tmp_path):
    config = TransformerConfig(n_layers=1, n_heads=1, d_model=8, d_head=4, d_vocab=10, n_ctx=16, tied_embeddings=True)
    save_checkpoint(tmp_path / "tied", Transformer(config, generator_for(0, "weights")))
    made = make_report(tmp_path / "tied")
    text = " ".join(made.section("circuits").split())
    assert re.search(
        r"Embedding and unembedding are tied; asymmetry of the table: (0|\d\.\de−(0[78]|1\d)) \(0 is symmetric", text
    )
    assert "one layer: there is no earlier head to read" in made.section("composition")
    assert math.isclose(made.json["page"]["circuits"]["direct_path"]["asymmetry"], 0, abs_tol=1e-6)


def test_the_strongest_direct_entries_are_those_of_the_product_of_embedding_and_unembedding(default_report):
    model = default_report.subject.model
    table = (model.W_E @ model.W_U).detach()
    table = table - table.mean(1, keepdim=True)
    entries = default_report.json["page"]["circuits"]["direct_path"]["top"]
    values = [entry["value"] for entry in entries]
    assert values == pytest.approx(table.flatten().topk(len(values)).values.tolist(), rel=1e-5)
    assert [table[e["row"], e["column"]].item() for e in entries] == pytest.approx(values, rel=1e-5)


def test_the_attention_shown_is_that_of_the_model_on_the_example(induction_report):
    page = induction_report.json["page"]["patterns"]
    half = (len(page["tokens"]) - 1) // 2
    assert page["tokens"][1 : 1 + half] == page["tokens"][1 + half :]
    induction = page["pattern"]["L1H0"]
    for position in range(1 + half, len(page["tokens"])):
        assert induction[position][position - half + 1] == pytest.approx(1, abs=1e-6)
    text = " ".join(induction_report.section("patterns").split())
    assert f"{len(page['tokens'])} tokens, {half} random tokens twice over, seed 0: {' '.join(page['labels'])}" in text


def test_numbers_keep_two_or_three_digits():
    expected = {
        None: "n/a",
        math.nan: "n/a",
        math.inf: "∞",
        0.0: "0",
        0.12345: "0.123",
        -0.5: "−0.500",
        0.0123: "0.012",
        0.00099: "0.00099",
        -0.00004: "−4.0e−05",
        1.0: "1.00",
        12.34: "12.3",
        123.4: "123",
        999.6: "1,000",
        1234567.0: "1,234,567",
    }
    assert {value: shown(value) for value in expected} == expected
    assert not re.search(r"\d{5}", shown(math.pi))
