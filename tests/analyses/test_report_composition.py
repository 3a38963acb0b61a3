"""The report's graph of composition: by effect, dashed until tokens confirm it, with both numbers."""

import pytest
from matplotlib.figure import Figure

from analyses.report import composition as section_module
from analyses.report.composition import KINDS
from interp.plots.composition import effect_graph
from tests.report_pages import make_report, save_handmade

pytest_plugins = ("tests.reports",)


@pytest.fixture
def drawn(monkeypatch):
    """What was handed to the graph."""
    calls = []

    def graph(shares, q_values, **options):
        calls.append((shares, q_values, options))
        return effect_graph(shares, q_values, **options)

    monkeypatch.setattr(section_module, "effect_graph", graph)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    return calls


def test_the_k_edge_of_the_handmade_model_is_confirmed_on_tokens(induction_report):
    found = induction_report.json["page"]["composition"]
    assert found["surviving"]["above"] == ["L0H0 -> L1H0.K"]
    assert found["on_tokens"]["L0H0 -> L1H0.K"]["mean"] == pytest.approx(40, abs=1e-2)
    text = " ".join(induction_report.section("composition").split())
    assert "1 of 3 edges compose more than a random rotation explains" in text
    assert (
        "read the eigenvalue score of the term in token space instead, which would not. It stands in the table." in text
    )


def test_the_graph_is_given_what_tokens_say_of_each_edge(drawn, tmp_path):
    made = make_report(save_handmade(tmp_path / "m", "induction_q"))
    ((shares, q_values, options),) = drawn
    assert set(shares) == set(q_values) == set(KINDS)
    assert float(q_values["Q"][0, 0, 1, 0]) <= 0.05
    contrast = made.json["page"]["scores"]["L1H0"]["contrast"]["mean"]
    assert options["on_tokens"]["Q", (0, 0), (1, 0)].mean == pytest.approx(contrast)
    assert options["notes"][1, 0] == "induction"
    figure = effect_graph(shares, q_values, **options)
    assert f"Q 1.00 | {contrast:.2f}" in {text.get_text() for text in figure.axes[0].texts}


def test_edges_of_an_untrained_model_are_of_weights_only(default_report):
    found = default_report.json["page"]["composition"]
    assert found["on_tokens"] == {}
    assert found["surviving"]["tested"] == 48
    assert len(found["surviving"]["above"]) <= 1
    assert "0 of 48 edges" in default_report.section("composition") or found["surviving"]["above"]
