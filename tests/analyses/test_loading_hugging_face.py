"""Models that we did not train, from disk: the function that transformers runs, or one line that says why not."""

import json
import shutil

import pytest
import torch

from analyses.loading import gguf, hub, load_subject
from analyses.loading.tokenizer import label_of
from tests.foreign_models import KINDS, edit_config, edit_weights, reference, save, silently, write_gguf
from toy_models.bridge import to_bridge
from toy_models.errors import InputError
from toy_models.handmade import make
from toy_models.transformer import Transformer

pytest_plugins = ("tests.command_line", "tests.model_folders")


def tokens(d_vocab: int = 60) -> torch.Tensor:
    return torch.randint(d_vocab, (2, 17), generator=torch.Generator().manual_seed(3))


def logits_differ(model, other) -> float:
    with torch.no_grad():
        return float((model(tokens()) - other(tokens()).logits).abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_loads_as_the_function_that_transformers_runs(model_folder, kind):
    subject = load_subject(model_folder(kind))
    assert logits_differ(subject.model, reference(model_folder(kind))) < 1e-5
    assert (subject.config.n_layers, subject.config.n_heads, subject.config.d_vocab, subject.config.n_ctx) == (
        2,
        4,
        60,
        64,
    )
    assert not subject.model.training


def test_what_a_folder_says_of_itself_is_described(model_folder):
    llama, gpt2 = load_subject(model_folder("llama")), load_subject(model_folder("gpt2"))
    assert "LlamaForCausalLM, 2 key-value heads" in llama.describe()
    assert "rotary positions" in llama.describe()
    assert "standard positions" in gpt2.describe()
    assert llama.config.tied_embeddings
    assert not load_subject(model_folder("qwen2")).config.tied_embeddings
    assert llama.config.parameters == sum(p.numel() for p in reference(model_folder("llama")).parameters())
    assert (llama.bos, llama.excluded, gpt2.bos) == (1, (2,), 59)
    assert (llama.vocabulary, llama.labels[:2]) == (None, ("0", "1"))


def test_shards_hold_the_same_model(model_folder, tmp_path):
    reference_model = reference(model_folder("llama"))
    silently(lambda: reference_model.save_pretrained(tmp_path / "shards", max_shard_size="20KB"))
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert load_subject(tmp_path / "shards").model_hash == load_subject(model_folder("llama")).model_hash


def test_half_precision_is_read_as_float32_and_said(model_folder, tmp_path):
    half = reference(model_folder("llama")).to(torch.bfloat16)
    silently(lambda: half.save_pretrained(tmp_path / "half"))
    subject = load_subject(tmp_path / "half")
    assert {parameter.dtype for parameter in subject.model.parameters()} == {torch.float32}
    assert "bfloat16 weights, read as float32" in subject.describe()
    assert logits_differ(subject.model, reference(tmp_path / "half")) < 1e-5


def test_a_gguf_file_holds_the_same_function(model_folder, tmp_path):
    file = tmp_path / "gg" / "tiny.gguf"
    file.parent.mkdir()
    write_gguf(model_folder("llama"), file)
    for path in (file, file.parent):
        subject = load_subject(path)
        assert logits_differ(subject.model, reference(model_folder("llama"))) < 1e-5
    assert (subject.bos, subject.folder(None)) == (1, file.parent)
    shutil.copy(file, tmp_path / "gg" / "other.gguf")
    with pytest.raises(InputError, match="holds 2 GGUF files; give one of them"):
        load_subject(file.parent)


def test_without_the_gguf_package_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'interp\[gguf\]'"):
        load_subject(tmp_path / "m.gguf")


def test_a_tokenizer_names_tokens_reads_text_and_tells_which_are_special(model_folder, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    copy = shutil.copytree(model_folder("llama"), tmp_path / "m")
    pieces = ["<s>", "</s>", *"abcdefgh", "Ġ"]
    tokenizer = Tokenizer(models.BPE({piece: row for row, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>").save_pretrained(copy)
    subject = load_subject(copy)
    assert subject.labels[:4] == ("<s>", "</s>", "a", "b")
    assert subject.labels[10:13] == ("·", "11", "12")
    assert subject.bos == 0
    assert subject.excluded == (1, 2, *range(11, 60))  # config.json calls 1 and 2 special, the tokenizer 1
    assert subject.vocabulary is not None
    assert subject.vocabulary.encode("ab h") == [2, 3, 10, 9]


def test_pieces_that_are_not_byte_level_are_labels_as_they_are():
    assert [label_of(piece) for piece in ("Ġthe", "▁the", "")] == ["·the", "▁the", "∅"]


def without_weights(folder):
    (folder / "model.safetensors").unlink()


def pickled(folder):
    without_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")


def cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def index(folder, listed):
    without_weights(folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": listed}}))


def tokenizer_of_nonsense(folder):
    (folder / "tokenizer.json").write_text('{"version": 1}')


def no_gguf(folder):
    without_weights(folder)
    (folder / "a.gguf").write_bytes(b"GGML" + bytes(99))


def poison(weights):
    weights["model.norm.weight"][3] = torch.nan


K_PROJ = "model.layers.1.self_attn.k_proj.weight"
BROKEN = {
    "wrong type": (lambda f: edit_config(f, hidden_size="many"), "transformers cannot read it: Validation error"),
    "heads that do not divide": (lambda f: edit_config(f, num_attention_heads=5), "multiple of the number of attent"),
    "a huge config": (lambda f: edit_config(f, hidden_size=10**6), "but its weight files hold"),
    "no weights": (without_weights, "model.safetensors: the file is missing"),
    "pickled weights": (pickled, "holds pytorch_model.bin but no model.safetensors: pickled weights can run code"),
    "truncated": (cut, "model.safetensors: truncated, or not a safetensors file"),
    "a tensor too few": (lambda f: edit_weights(f, lambda w: w.pop(K_PROJ)), f"tensor {K_PROJ} is missing"),
    "a tensor too many": (lambda f: edit_config(f, num_hidden_layers=1), "does not belong to this model (and 8 more)"),
    "a layer too few": (lambda f: edit_config(f, num_hidden_layers=3), "is missing (and 8 more)"),
    "another shape": (lambda f: edit_config(f, num_key_value_heads=4), "has shape [16, 32], expected [32, 32]"),
    "NaN": (lambda f: edit_weights(f, poison), "model.norm.weight holds nan at [3]"),
    "whole numbers": (lambda f: edit_weights(f, lambda w: w.update(a=torch.ones(2).int())), "of type I32 are not read"),
    "an unknown kind": (lambda f: edit_config(f, model_type="klingon"), "model type `klingon`"),
    "another kind": (
        lambda f: edit_config(f, model_type="opt", architectures=["OPTForCausalLM"]),
        "OPTForCausalLM is not supported; supported are GPT2LMHeadModel, ",
    ),
    "no head": (lambda f: edit_config(f, architectures=["LlamaModel"]), "LlamaModel has no language-model head"),
    "an encoder": (
        lambda f: edit_config(f, model_type="bert", architectures=["BertForMaskedLM"]),
        "BertForMaskedLM is an encoder",
    ),
    "an encoder and decoder": (
        lambda f: edit_config(f, model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "T5ForConditionalGeneration is an encoder, or has one",
    ),
    "its own code": (lambda f: edit_config(f, auto_map={"AutoModel": "a.B"}), "auto_map asks for code of the folder's"),
    "quantised": (lambda f: edit_config(f, quantization_config={"bits": 4}), "its weights are quantised"),
    "rotation by length": (
        lambda f: edit_config(f, rope_parameters={"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}),
        "its rotation changes with the length (yarn)",
    ),
    "a bad tokenizer": (tokenizer_of_nonsense, "its tokenizer cannot be read"),
    "a shard elsewhere": (lambda f: index(f, "../x.safetensors"), "its weight_map must give the file in this folder"),
    "a shard that is missing": (lambda f: index(f, "x.safetensors"), "x.safetensors: the file is missing, though"),
    "no GGUF file": (no_gguf, "a.gguf: not a GGUF file"),
    "architectures of another type": (lambda f: edit_config(f, architectures="Llama"), "architectures must be a list"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_cannot_be_measured_is_one_line_and_exit_code_2(interp, model_folder, tmp_path, tree, case):
    spoil, message = BROKEN[case]
    folder = shutil.copytree(model_folder("llama"), tmp_path / "m")
    spoil(folder)
    before = tree(tmp_path)
    called = interp("audit", folder)
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert str(folder) in called.err
    assert message in called.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["gpt2", "owner/model-70m", "attn-only-2l"])
def test_a_name_without_a_network_is_one_line(interp, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = interp("heads", name)
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert f"interp: {name} does not exist" in called.err
    assert "cannot be downloaded: no network" in called.err
    assert "give a local folder" in called.err
    assert list(tmp_path.iterdir()) == []


def test_a_path_whose_folder_is_here_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match=r"^runs/nothing does not exist; give a run folder or a checkpoint folder$"):
        load_subject("runs/nothing")


def test_a_name_whose_files_are_here_is_read_like_a_folder(model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "snapshot", lambda path, name: model_folder("gpt2"))
    subject = load_subject("owner/some-gpt2")
    assert subject.model_hash == load_subject(model_folder("gpt2")).model_hash
    assert (str(subject.path), str(subject.folder(None))) == ("owner/some-gpt2", "some-gpt2-interp")


def test_transformer_lens_own_attention_only_models_become_models_of_ours(monkeypatch, tmp_path):
    from transformer_lens.model_bridge import TransformerBridge

    made = make("induction_k", dtype=torch.float32)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "ask_network", lambda path, name: None)
    monkeypatch.setattr(TransformerBridge, "boot_tl_legacy", lambda name, device: to_bridge(made.model))
    subject = load_subject("attn-only-2l")
    assert isinstance(subject.model, Transformer)
    inside = torch.arange(10)[None]
    with torch.no_grad():
        assert float((subject.model(inside) - made.model(inside)).abs().max()) < 1e-5


def test_loading_leaves_the_random_numbers_of_others_alone(model_folder):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    load_subject(model_folder("llama"))
    assert torch.equal(torch.rand(3), expected)


def test_saving_does_not_depend_on_what_was_loaded_before(model_folder, tmp_path):
    load_subject(model_folder("qwen2"))
    save("qwen2", tmp_path / "again")
    assert load_subject(tmp_path / "again").config == load_subject(model_folder("qwen2")).config
