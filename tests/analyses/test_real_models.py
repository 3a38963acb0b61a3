"""The audit of Hugging Face folders from end to end, against what transformers itself computes on the same tokens."""

import json

import pytest
import torch
from matplotlib.figure import Figure

from analyses.audit import audit
from analyses.audit.plan import Plan
from analyses.commands import circuits, composition, search
from analyses.loading import load_subject
from interp.composition import composition_scores
from interp.weights import weights_of
from tests.foreign_models import KINDS, reference

pytest_plugins = ("tests.command_line", "tests.model_folders")


@pytest.fixture(scope="module")
def audited(model_folder):
    """`audited("llama")`: the subject and its audit, once for each kind."""
    made = {}

    def make(kind):
        if kind not in made:
            subject = load_subject(model_folder(kind))
            made[kind] = subject, audit(subject, plan=Plan(sequences=6))
        return made[kind]

    return make


@pytest.fixture(scope="module")
def own_run(model_folder, audited):
    """`own_run("llama")`: patterns [layer][batch head dest src] and logits of transformers on the audit's tokens."""

    def run(kind):
        model, tokens = reference(model_folder(kind)), audited(kind)[1].battery.tokens
        with torch.no_grad():
            out = model(tokens, output_attentions=True)
        return out.attentions, out.logits, tokens

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_prefix_matching_is_that_of_the_models_own_attention(audited, own_run, kind):
    patterns, _, tokens = own_run(kind)
    expected = torch.zeros(2, 4)
    for layer, pattern in enumerate(patterns):
        for head in range(4):
            expected[layer, head] = prefix_matching(pattern[:, head], tokens)
    score = audited(kind)[1].battery["prefix_matching"].score
    torch.testing.assert_close(score, expected.double(), atol=2e-6, rtol=0)


def prefix_matching(pattern, tokens):
    """By a loop: attention to what followed earlier copies of a query's token, over the queries that have one."""
    means = []
    for rows, row in zip(pattern, tokens.tolist(), strict=True):
        found = []
        for query, token in enumerate(row):
            after = [j + 1 for j in range(query) if row[j] == token and j + 1 <= query]
            if any(row[j] == token for j in range(query)):
                found.append(sum(float(rows[query, j]) for j in after))
        means.append(sum(found) / len(found))
    return sum(means) / len(means)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_on_predictable_tokens_is_that_of_its_own_logits(audited, own_run, kind):
    _, logits, tokens = own_run(kind)
    report = audited(kind)[1]
    log_p = logits.double().log_softmax(-1)
    losses = [
        -float(log_p[b, i - 1, tokens[b, i]])
        for b in range(len(tokens))
        for i in range(1, tokens.shape[1])
        if report.battery.predictable[b, i]
    ]
    assert report.sources.causal.effects.loss == pytest.approx(sum(losses) / len(losses), abs=1e-5)


def test_the_effect_of_removing_a_head_is_that_of_a_model_without_its_output_matrix(model_folder, audited):
    model, report = reference(model_folder("llama")), audited("llama")[1]
    tokens, scored = report.battery.tokens, report.battery.predictable
    intact = mean_loss(model, tokens, scored)
    with torch.no_grad():
        model.model.layers[1].self_attn.o_proj.weight[:, 8:16] = 0  # what L1H1 writes: four heads of eight numbers
    effect = float(report.sources.causal.effects.predictable["zero"].mean[1, 1])
    assert effect == pytest.approx(mean_loss(model, tokens, scored) - intact, abs=1e-5)


def mean_loss(model, tokens, scored):
    with torch.no_grad():
        log_p = model(tokens).logits.double().log_softmax(-1)
    losses = -log_p[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    return float((losses * scored[:, 1:]).sum() / scored.sum())


def test_v_composition_is_that_of_the_state_dict_with_shared_values_and_gains(model_folder, audited):
    state, weights = reference(model_folder("llama")).state_dict(), weights_of(audited("llama")[0].model)

    def ov(layer, head):
        """Values are shared by two heads each; the gain stands before them."""
        name = f"model.layers.{layer}."
        values = state[f"{name}self_attn.v_proj.weight"].double()[(head // 2) * 8 : (head // 2 + 1) * 8]
        output = state[f"{name}self_attn.o_proj.weight"].double()[:, head * 8 : (head + 1) * 8]
        return (output @ values * state[f"{name}input_layernorm.weight"].double()).T

    found = composition_scores(weights, "V")
    for earlier in range(4):
        for later in range(4):
            first, second = ov(0, earlier), ov(1, later)
            expected = (first @ second).norm() / (first.norm() * second.norm())
            assert float(found[0, earlier, 1, later]) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_have_no_induction_head_and_no_role_that_is_sure(audited, kind):
    report = audited(kind)[1]
    assert report.heads("induction") == []
    assert report.heads("anti-copying") == []
    assert [verdict.head for verdict in report.verdicts if verdict.confidence == "strong"] == []


def test_special_tokens_are_never_drawn(audited):
    subject, report = audited("llama")
    drawn = report.battery.tokens
    assert bool((drawn[:, 0] == subject.bos).all())
    assert not bool(torch.isin(drawn[:, 1:], torch.tensor([subject.bos, *subject.excluded])).any())


COMMANDS = {
    "audit": ["--no-report", "--budget", "1e-9"],
    "heads": [],
    "patterns": ["--tokens", "1", "5", "9", "5", "9"],
    "circuits": ["--head", "L1H0"],
    "composition": [],
    "lens": [],
    "paths": [],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_reads_a_hugging_face_folder(interp, model_folder, tmp_path, command, monkeypatch):
    for module in (circuits, composition):
        monkeypatch.setattr(module, "DRAWS", 6)
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    called = interp(command, model_folder("llama"), "--out", tmp_path, "--json", *COMMANDS[command])
    assert (called.code, "Traceback" in called.err) == (0, False)
    model = called.json.get("model") or called.json["subject"]
    assert model["config"]["architecture"] == "LlamaForCausalLM"
    assert model["hash"] == load_subject(model_folder("llama")).model_hash


def test_a_search_of_edges_runs_on_a_gated_model_as_the_model_itself_runs(interp, model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    for name, value in {"SEQUENCES": 4, "RANDOM_CIRCUITS": 3, "RANDOM_RANKINGS": 1}.items():
        monkeypatch.setattr(search, name, value)
    words = ["--json", "--out", tmp_path, "--method", "eap-ig", "--metric", "kl", "--edges", 60, "--steps", 3]
    found = interp("search", model_folder("llama"), *words).json
    assert found["largest_logit_difference_to_the_model"] < 1e-4
    names = set(found["edge_scores"]["scores"])
    assert {"L0H3 -> L0 MLP", "L0 MLP -> L1H2.K", "L1 MLP -> logits"} <= names
    assert len(names) == found["edges"] == 12 + 5 + 12 * 6 + 10 + 11
    assert found["check"]["intact kl"]["mean"] == pytest.approx(0, abs=1e-6)
    assert found["check"]["ablated kl"]["mean"] > 0.01


def test_the_page_of_a_hugging_face_folder_names_its_architecture(interp, model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    called = interp("audit", model_folder("llama"), "--out", tmp_path, "--budget", "1e-9")
    assert called.code == 0
    page = (tmp_path / "report.html").read_text()
    assert "2 layers of 4 attention heads, with MLPs of 48" in page
    assert json.loads((tmp_path / "report.json").read_text())["plan"]["everything"] is False
    assert len(page) < 3_000_000
