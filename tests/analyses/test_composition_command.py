"""What `interp composition` prints, writes and draws."""

import pytest
import torch
from matplotlib.figure import Figure

from analyses.commands import composition as command
from analyses.commands.composition import KINDS
from analyses.commands.composition_text import probability
from analyses.loading import load_subject
from interp.composition import composition_by_offset, compositions, projection_kernel, term_scores
from interp.weights import weights_of
from toy_models import handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.handmade.transforms import add_idle_heads
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)

DRAWS = 40
PNG = b"\x89PNG"


@pytest.fixture
def quick(monkeypatch):
    """Figures are made but not drawn, nulls have few draws."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(PNG))
    monkeypatch.setattr(command, "DRAWS", DRAWS)


def seeded():
    return torch.Generator().manual_seed(0)


def lines_of(text, edge):
    """The rows of all tables that begin with an edge, in words."""
    return [line.split() for line in text.splitlines() if line.startswith(edge)]


def flat(text):
    return " ".join(text.split())


def test_the_handmade_models_edge_stands_at_its_bound_and_nothing_else_does(interp, quick, induction, tmp_path):
    called = interp("composition", induction, "--out", tmp_path)
    assert called.code == 0
    first, second, third = lines_of(called.out, "L0H0 -> L1H0.K")
    _, _, _, mark, score, low, high, bound, share, p_above, p_below, q_above, _ = first
    assert (mark, score, bound, share, p_below) == ("+", "0.250", "0.250", "1.00", "1.000")
    assert 0.05 < float(low.strip("[,")) <= float(high.strip("]")) < 0.15
    assert float(p_above) < float(q_above) < 1e-4
    assert second[3:6] == ["16.0", "of", "16"]
    assert second[10] == "1.00"
    assert (third[5], third[6]) == ("1.00", "0.06")  # the cosine and the share of one of 16 equal pieces
    said = flat(called.out)
    assert "0.110 = 1/sqrt(d_model)" in said
    assert "1 of 3 edges compose more than a random rotation explains (1 K), and 2 less (1 Q, 1 V)." in said
    assert "read the eigenvalue score of the term in token space instead" in said


def test_a_pointer_is_named(interp, quick, tmp_path):
    model = add_idle_heads(handmade.make("induction_q", dtype=torch.float32).model, 1)
    save_checkpoint(tmp_path / "m", model)
    said = flat(interp("composition", tmp_path / "m", "--out", tmp_path / "out").out)
    assert "that L0H0 filled with position p matches p + 1 best at L1H0 for 1.00 of the positions" in said
    assert "1 of 3 edges compose more than a random rotation explains (1 Q)" in said
    assert "L0H0 -> L1H1.K" in said
    assert "n/a" in lines_of(interp("composition", tmp_path / "m", "--out", tmp_path / "out").out, "L0H0 -> L1H1.K")[0]


def test_the_json_is_what_the_library_finds(interp, quick, tiny, tmp_path):
    found = interp("composition", tiny, "--json", "--out", tmp_path).json
    w, generator = weights_of(load_subject(tiny).model), seeded()
    edges = compositions(w, generator, DRAWS, None, KINDS)
    terms = {kind: term_scores(w, kind, generator, DRAWS) for kind in KINDS}
    overlaps = {kind: projection_kernel(w, kind, generator, DRAWS) for kind in KINDS}
    at = (0, 1, 1, 0)

    def entry(values):
        return values[0][1][1][0]

    for kind in KINDS:
        written, each = found["residual_stream"][kind], edges.kinds[kind]
        for name in ("score", "share", "p_above", "p_below"):
            assert entry(written[name]) == pytest.approx(float(getattr(each, name)[at]))
        assert entry(written["q_above"]) == pytest.approx(float(edges.q_above[kind][at]))
        assert written["score"][1][0][0][0] is None
        assert entry(written["null_high"]) == pytest.approx(float(each.rotated.null_quantile(0.975)[at]))
        for name in ("eigenvalue", "trace", "rotated_eigenvalue", "rotated_trace"):
            scored = getattr(terms[kind], name)
            assert entry(found["token_space"][kind][name]["value"]) == pytest.approx(float(scored.value[at]))
            assert entry(found["token_space"][kind][name]["p"]) == pytest.approx(float(scored.p_values()[at]))
        assert entry(found["projection_kernel"][kind]["kernel"]) == pytest.approx(float(overlaps[kind].kernel[at]))
    assert found["surviving"]["tested"] == 12
    assert found["surviving"]["above"] == [str(edge) for edge in edges.above()]
    assert found["by_offset"] == {}
    assert found["pointer"]["pairs"] == ["L0H0 -> L1H0.Q", "L0H0 -> L1H1.Q", "L0H1 -> L1H0.Q", "L0H1 -> L1H1.Q"]


def test_the_graph_is_given_shares_and_q_values(interp, quick, tiny, tmp_path, monkeypatch):
    drawn = []

    def graph(shares, q_values, **options):
        drawn.append((shares, q_values, options["level"]))
        return Figure()

    monkeypatch.setattr(command, "effect_graph", graph)
    interp("composition", tiny, "--out", tmp_path)
    ((shares, q_values, level),) = drawn
    expected = compositions(weights_of(load_subject(tiny).model), seeded(), DRAWS, None, KINDS)
    assert level == 0.05
    for kind in KINDS:
        assert torch.equal(shares[kind][0, :, 1], expected.kinds[kind].share[0, :, 1])
        assert torch.equal(q_values[kind][0, :, 1], expected.q_above[kind][0, :, 1])


def test_rotary_scores_are_given_by_distance(interp, quick, tmp_path):
    config = TransformerConfig(n_heads=2, d_model=12, d_head=4, d_vocab=12, n_ctx=6, positions="rotary")
    model = Transformer(config, seeded())
    save_checkpoint(tmp_path / "m", model)
    called = interp("composition", tmp_path / "m", "--offset", 2, "--out", tmp_path / "out")
    w = weights_of(model)
    scores = composition_by_offset(w, "K", range(6))[:, 0, 1, 1, 0]
    row = lines_of(called.out, "L0H1 -> L1H0.K")[2]
    assert row[3:5] == [f"{float(scores[2]):.3f}", f"{float(scores.square().mean().sqrt()):.3f}"]
    assert row[5:] == [f"[{float(scores.min()):.3f},", f"{float(scores.max()):.3f}]"]
    assert "Query and key are 2 apart." in flat(called.out)
    written = interp("composition", tmp_path / "m", "--json", "--out", tmp_path / "out").json["by_offset"]
    assert list(written) == ["K", "Q"]
    assert [each[0][1][1][0] for each in written["K"]] == pytest.approx(scores.tolist())
    assert written["K"][0][1][0][0][0] is None


def test_only_the_edges_of_the_highest_share_are_printed(interp, quick, tmp_path, monkeypatch):
    model = Transformer(TransformerConfig(n_heads=3, d_model=12, d_head=4, d_vocab=12, n_ctx=6), seeded())
    save_checkpoint(tmp_path / "m", model)
    called = interp("composition", tmp_path / "m", "--out", tmp_path / "out")
    assert "The 20 edges of the highest share; 7 more are in composition.json." in called.out
    edges = compositions(weights_of(model), seeded(), DRAWS, None, KINDS)
    best = sorted(edges.edges(), key=lambda edge: -edge.share)
    printed = [" ".join(line.split()[:3]) for line in called.out.splitlines() if "->" in line and "[" in line][:20]
    assert printed == [str(edge) for edge in best[:20]]


@pytest.mark.parametrize("p, text", [(0.25, "0.250"), (0.0005, "0.001"), (3.2e-7, "3e-07"), (float("nan"), "n/a")])
def test_probabilities_are_never_printed_as_0(p, text):
    assert probability(p) == text
