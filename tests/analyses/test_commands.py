"""What the commands print and write: known values of a handmade model, and the library's own numbers."""

import json
import math
import re
import shutil

import pytest
import torch
from matplotlib.figure import Figure

from analyses.commands import circuits as circuits_command
from analyses.commands import composition as composition_command
from analyses.loading import load_subject
from interp.circuits import copying_score, skip_trigrams
from interp.heads import measure_heads, olsson_protocol, predictable_positions, repeated_tokens
from interp.hooks import record
from interp.names import pattern_name
from interp.weights import weights_of
from toy_models.checkpoint import list_checkpoints, save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line",)

ON_MODELS = ("heads", "patterns", "circuits", "composition", "lens", "paths")
PNG = b"\x89PNG"


DRAWS = 6


@pytest.fixture
def quick(monkeypatch):
    """Figures are made but not drawn, nulls have few draws."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(PNG))
    for module in (circuits_command, composition_command):
        monkeypatch.setattr(module, "DRAWS", DRAWS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def words_per_line(text):
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("kind", ["nameless", "run_folder", "checkpoint of a run"])
@pytest.mark.parametrize("command", ON_MODELS)
def test_every_command_reads_every_kind_of_folder(interp, quick, tree, request, tmp_path, command, kind):
    folder = request.getfixturevalue("run_folder" if kind == "checkpoint of a run" else kind)
    folder = list_checkpoints(folder)[1] if kind == "checkpoint of a run" else folder
    before = tree(folder)
    called = interp(command, folder, "--json", "--out", tmp_path / "out")
    assert called.code == 0
    written = tmp_path / "out"
    assert called.out == (written / f"{command}.json").read_text()
    assert sorted(called.json["files"]) == sorted(path.name for path in written.iterdir())
    assert called.json["model"]["hash"] == load_subject(folder).model_hash
    assert called.json["command"] == command
    for path in written.glob("*.png"):
        assert path.read_bytes().startswith(PNG)
    assert called.err.splitlines() == [f"wrote {written / name}" for name in called.json["files"]]
    assert tree(folder) == before


@pytest.mark.parametrize("command", ON_MODELS)
def test_text_fits_100_columns_has_no_escape_codes_and_names_its_files(interp, quick, tiny, tmp_path, command):
    called = interp(command, tiny, "--out", tmp_path)
    assert (called.code, called.err) == (0, "")
    lines = called.out.split("\n\nwrote ")[0].splitlines()
    assert max(map(len, lines[2:])) <= 98
    assert "\x1b" not in called.out
    assert "2 layers x 2 heads, attention-only" in called.out
    assert f"wrote {tmp_path / command}.json\n" in called.out


@pytest.mark.parametrize("command", ON_MODELS)
def test_the_same_seed_gives_the_same_output_and_another_seed_another(interp, quick, tiny, tmp_path, command):
    first, again, other = (interp(command, tiny, "--json", "--out", tmp_path, "--seed", s).json for s in (1, 1, 2))
    assert first == again
    assert {**first, "seed": None} != {**other, "seed": None}


def test_results_go_beside_the_model_when_no_folder_is_given(interp, quick, tiny, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny, copy)
    assert interp("composition", copy).code == 0
    assert {path.name for path in copy.iterdir()} == {
        *("config.json", "model.safetensors"),
        *("composition.json", "composition.png", "composition-matrices.png"),
    }
    assert load_subject(copy).model_hash == load_subject(tiny).model_hash


def test_figures_are_drawn_for_real(interp, tiny, tmp_path):
    assert interp("patterns", tiny, "--out", tmp_path, "--tokens", 0, 1, 2, "--head", "1.0").code == 0
    assert (tmp_path / "patterns.png").stat().st_size > 5_000
    assert (tmp_path / "patterns.png").read_bytes().startswith(PNG)


def test_heads_prints_the_handmade_models_known_scores_with_nulls(interp, quick, induction, tmp_path):
    called = interp("heads", induction, "--out", tmp_path)
    tables = re.split(r"\n\n", called.out)
    first = next(part for part in tables if part.startswith("previous_token"))
    assert first.splitlines()[3].split()[:4] == ["L0H0", "1.000", "[1.000,", "1.000]"]
    matching = next(part for part in tables if part.startswith("prefix_matching  "))
    score, low, high, fresh, shuffled = matching.splitlines()[4].split()[1:6]
    assert (score, low, high) == ("1.000", "[1.000,", "1.000]")
    assert 0 < float(fresh) < 0.1
    assert 0 < float(shuffled) < 0.1


def test_heads_json_is_what_measure_heads_finds(interp, quick, tiny, tmp_path):
    found = interp("heads", tiny, "--json", "--out", tmp_path, "--seed", 3).json
    expected = measure_heads(load_subject(tiny).model, seeded(3), bos=0)
    for name, scores in expected.scores.items():
        assert found["scores"][name]["score"] == scores.score.tolist()
        assert found["scores"][name]["interval"]["low"] == scores.interval.low.tolist()
        assert found["scores"][name]["nulls"].keys() == scores.nulls.keys() != set()
    assert list(found["prefix_matching_by_period"]) == [str(period) for period in expected.by_period]
    assert found["protocol"] == expected.protocol.text
    assert found["heads"] == ["L0H0", "L0H1", "L1H0", "L1H1"]


def test_heads_text_shows_the_numbers_of_its_json(interp, quick, tiny, tmp_path):
    called = interp("heads", tiny, "--out", tmp_path)
    scores = json.loads((tmp_path / "heads.json").read_text())["scores"]
    block = next(
        part for part in called.out.split("\n\n") if part.startswith("duplicate_token") or "first_token" in part
    )
    row = block.splitlines()[5].split()
    first, duplicate = scores["first_token"], scores["duplicate_token"]
    assert row[0] == "L1H0"
    assert row[1] == f"{first['score'][1][0]:.3f}"
    assert row[2:4] == [f"[{first['interval']['low'][1][0]:.3f},", f"{first['interval']['high'][1][0]:.3f}]"]
    assert row[4] == f"{first['nulls']['shuffled pattern'][1][0]:.3f}"
    assert row[6] == f"{duplicate['score'][1][0]:.3f}"
    assert row[9:] == [f"{duplicate['nulls'][null][1][0]:.3f}" for null in ("fresh tokens", "shuffled pattern")]


def test_patterns_json_holds_the_models_patterns(interp, quick, tiny, tmp_path):
    called = interp("patterns", tiny, "--json", "--out", tmp_path, "--text", "A B A")
    model = load_subject(tiny).model
    activations = record(model, torch.tensor([[0, 1, 2, 1]]), names="blocks.*.attn.hook_pattern")
    assert called.json["tokens"] == [0, 1, 2, 1]
    assert called.json["labels"] == ["<bos>", "A", "B", "A"]
    assert list(called.json["pattern"]) == ["L0H0", "L0H1", "L1H0", "L1H1"]
    for layer in (0, 1):
        for head in (0, 1):
            expected = activations[pattern_name(layer)][0, head].tolist()
            assert called.json["pattern"][f"L{layer}H{head}"] == expected


def test_patterns_draws_only_the_heads_it_is_asked_for(interp, quick, tiny, tmp_path):
    called = interp("patterns", tiny, "--json", "--out", tmp_path, "--head", "1.1", "--head", "L0H1", "--head", "a1.h1")
    assert list(called.json["pattern"]) == ["L0H1", "L1H1"]
    page = (tmp_path / "patterns.html").read_text()
    assert '"headLabels":["L0H1","L1H1"]' in page
    assert "L0H0" not in page


def test_even_attention_has_the_mean_entropy_of_the_places_it_can_see_in_nats(interp, quick, tiny, tmp_path):
    called = interp("patterns", tiny, "--out", tmp_path, "--tokens", 0, 1, 2, 3)
    even = next(words for words in words_per_line(called.out) if words[:1] == ["even"])
    assert even[1:] == ["0.361", "0.361", "0.361", f"{(math.log(2) + math.log(3) + math.log(4)) / 3:.2f}"]


def test_patterns_page_asks_nothing_of_the_network(interp, quick, tiny, tmp_path):
    interp("patterns", tiny, "--out", tmp_path)
    page = (tmp_path / "patterns.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']http", page)


def test_patterns_compares_with_even_attention(interp, quick, induction, tmp_path):
    called = interp("patterns", induction, "--out", tmp_path)
    assert called.row("L0H0")[1:3] == ["1.000", "0.000"]
    seen = [1 / n for n in range(2, 32)]
    assert called.row("even")[1:4] == [f"{sum(seen) / 30:.3f}"] * 3


def test_patterns_of_a_single_token_have_no_mean_over_later_positions(interp, quick, tiny, tmp_path):
    called = interp("patterns", tiny, "--out", tmp_path, "--tokens", 3)
    assert called.code == 0
    assert called.row("L0H0") == ["L0H0", "n/a", "n/a", "n/a", "n/a"]


def test_circuits_print_the_handmade_models_copying_and_its_null(interp, quick, induction, tmp_path):
    called = interp("circuits", induction, "--out", tmp_path, "--top", 3)
    copies, low, high = called.row("L1H0")[1:4]
    assert copies == "1.000"
    assert -0.5 < float(low.strip("[,")) < float(high.strip("]")) < 0.5
    assert called.row("L0H0")[1] == "0.000"
    assert called.row("L0H0")[7] == "1.00"
    assert "t1 → t1" in called.out
    assert "11.25" in called.out
    assert "favours no token over another" in called.out


def test_circuits_json_is_what_the_library_finds(interp, quick, tiny, tmp_path):
    found = interp("circuits", tiny, "--json", "--out", tmp_path, "--top", 4).json
    w = weights_of(load_subject(tiny).model)
    for head in ((0, 0), (1, 1)):
        ours = found["heads"][f"L{head[0]}H{head[1]}"]
        expected = copying_score(w, seeded(), head, DRAWS)
        assert ours["ov"]["eigenvalue"]["value"] == pytest.approx(float(expected.eigenvalue.value), abs=1e-6)
        assert ours["ov"]["top1"]["value"] == pytest.approx(float(expected.top1.value))
        triples = [(t["src"], t["dst"], t["out"]) for t in ours["skip_trigrams"]]
        assert triples == [(t.src, t.dst, t.out) for t in skip_trigrams(w, head, 4, without_outs=[0])]
        values = [entry["value"] for entry in ours["ov"]["top"]]
        assert values == sorted(values, reverse=True)
        assert len(values) == 4
    assert found["folded"] == list(w.folded)


def test_circuits_draws_the_tables_of_named_heads(interp, quick, tiny, tmp_path):
    assert interp("circuits", tiny, "--json", "--out", tmp_path).json["files"] == ["circuits.png", "circuits.json"]
    named = interp("circuits", tiny, "--json", "--out", tmp_path, "--head", "1.0").json
    assert named["files"] == ["circuits.png", "circuits-L1H0-ov.png", "circuits-L1H0-qk.png", "circuits.json"]
    assert list(named["heads"]) == ["L1H0"]


def test_composition_needs_two_layers(interp, tmp_path):
    save_checkpoint(tmp_path / "m", Transformer(TransformerConfig(n_layers=1, d_vocab=12, n_ctx=12)))
    called = interp("composition", tmp_path / "m", "--out", tmp_path / "out")
    assert called.code == 2
    assert called.err == f"interp: composition needs two layers of heads, {tmp_path / 'm'} has 1\n"
    assert not (tmp_path / "out").exists()


def test_rotary_models_are_read_at_an_offset(interp, quick, tmp_path):
    config = TransformerConfig(n_heads=2, d_model=12, d_head=4, d_vocab=12, n_ctx=24, positions="rotary")
    save_checkpoint(tmp_path / "m", Transformer(config))
    for command in ("circuits", "composition"):
        near = interp(command, tmp_path / "m", "--json", "--out", tmp_path / "out").json
        far = interp(command, tmp_path / "m", "--json", "--out", tmp_path / "out", "--offset", 5).json
        assert (near["offset"], far["offset"]) == (1, 5)
        key, inside = ("heads", "L0H0") if command == "circuits" else ("residual_stream", "Q")
        near, far = near[key][inside], far[key][inside]
        assert (near["qk"]["top"] != far["qk"]["top"]) if command == "circuits" else (near["value"] != far["value"])
    called = interp("circuits", tmp_path / "m", "--out", tmp_path / "no", "--offset", 24)
    assert (called.code, (tmp_path / "no").exists()) == (2, False)
    assert "must lie in 0..23, got 24" in called.err


def test_lens_prints_the_handmade_models_losses_with_intervals_and_nulls(interp, quick, induction, tmp_path):
    called = interp("lens", induction, "--out", tmp_path)
    uniform = f"{torch.tensor(16.0).log():.3f}"
    assert called.row("embedding")[1:4] == [uniform, f"[{uniform},", f"{uniform}]"]
    last = called.row("after", "layer", "1")
    assert last[3:6] == ["0.000", "[0.000,", "0.000]"]
    assert float(last[6]) > 5
    assert called.row("chance")[1:4] == [uniform, "0.062", "7.5"]
    assert called.row("L1H0")[1] == "11.250"
    assert called.row("L0H0")[1] == "0.000"


def test_lens_json_agrees_with_the_models_own_loss(interp, quick, run_folder, tmp_path):
    found = interp("lens", run_folder, "--json", "--out", tmp_path).json
    model = load_subject(run_folder).model
    protocol = olsson_protocol(12, 24, 0)
    tokens, scored = repeated_tokens(protocol, 32, seeded()), predictable_positions(protocol, 32)
    with torch.no_grad():
        log_p = model(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    loss = -(log_p * scored[:, 1:]).sum() / scored[:, 1:].sum()
    lens = found["statistics"]["lens"]
    assert lens["loss"]["mean"][-1] == pytest.approx(float(loss), abs=1e-5)
    assert lens["loss"]["low"][-1] < lens["loss"]["mean"][-1] < lens["loss"]["high"][-1]
    assert found["uniform_loss"] == pytest.approx(float(torch.tensor(12.0).log()))
    assert found["statistics"]["components"][:3] == ["embed", "pos_embed", "L0H0"]


def test_lens_on_a_given_sequence_gives_its_losses_and_attributions(interp, quick, tiny, tmp_path):
    called = interp("lens", tiny, "--out", tmp_path, "--tokens", 0, 3, 5, 3)
    found = json.loads((tmp_path / "lens.json").read_text())
    tokens = torch.tensor([[0, 3, 5, 3]])
    with torch.no_grad():
        logits = load_subject(tiny).model(tokens)
    log_p = logits.log_softmax(-1)
    loss = -log_p[0, [0, 1, 2], [3, 5, 3]].mean()
    assert found["loss"][-1] == pytest.approx(float(loss), abs=1e-5)
    assert found["top"][-1] == logits[0].argmax(-1).tolist()
    assert found["probability"][-1] == pytest.approx(log_p.exp().amax(-1)[0].tolist(), abs=1e-5)
    target = (logits - logits.mean(-1, keepdim=True))[0, [0, 1, 2], [3, 5, 3]]
    total = torch.tensor(list(found["attribution"].values())).sum(0)
    assert total.tolist() == pytest.approx(target.tolist(), abs=1e-4)
    assert found["statistics"] is None
    assert "no interval" in called.out
    assert called.row("3")[1:3] == ["C", "(end)"]


def test_lens_reads_a_single_token(interp, quick, tiny, tmp_path):
    called = interp("lens", tiny, "--json", "--out", tmp_path, "--tokens", 4)
    assert called.code == 0
    assert called.json["loss"] is None
    assert called.json["attribution"] is None
    assert len(called.json["top"][0]) == 1
