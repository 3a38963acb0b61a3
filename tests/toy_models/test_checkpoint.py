"""Checkpoints come back bit for bit, and everything that is wrong with one is refused by name and reason."""

import json
import shutil

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from toy_models.checkpoint import (
    Checkpoint,
    CheckpointError,
    find_checkpoint,
    load_checkpoint,
    load_state,
    save_checkpoint,
)
from toy_models.config import TransformerConfig, to_dict
from toy_models.errors import InputError
from toy_models.task_config import MarkovConfig
from toy_models.transformer import Transformer
from toy_models.vocabulary import symbol_vocabulary
from toy_models.weights_file import model_hash

SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 8, "d_head": 3, "d_vocab": 11, "n_ctx": 6}


def small_model(seed: int = 0, **options):
    return Transformer(TransformerConfig(**{**SMALL, **options}), torch.Generator().manual_seed(seed))


@pytest.fixture
def saved(tmp_path):
    """A good checkpoint folder, for tests to break."""
    folder = tmp_path / "model"
    save_checkpoint(folder, small_model(), {"step": 7})
    return folder


def edit_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    values.update(changes)
    (folder / "config.json").write_text(json.dumps({k: v for k, v in values.items() if v is not ...}))


def edit_weights(folder, **changes):
    tensors = {**load_file(folder / "model.safetensors"), **{k.replace("__", "."): v for k, v in changes.items()}}
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / "model.safetensors")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"positions": "shortformer", "normalization": "RMSPre", "tied_embeddings": True},
        {"positions": "shortformer", "learned_positions": False, "normalization": "none"},
        {"positions": "rotary", "d_head": 4, "smeared_keys": True, "biases": False, "normalization": "RMS"},
        {"positions": "none", "d_mlp": 5, "normalization": "LNPre"},
        {"n_layers": 0},
    ],
)
def test_a_model_comes_back_bit_for_bit(tmp_path, options):
    model = small_model(**options)
    save_checkpoint(tmp_path / "model", model, {"step": 7, "note": "é"})
    loaded = load_checkpoint(tmp_path / "model")
    assert isinstance(loaded, Checkpoint)
    assert loaded.config == model.config
    assert loaded.metadata == {"step": 7, "note": "é"}
    assert loaded.path == tmp_path / "model"
    assert loaded.model_hash == model_hash(model)
    assert loaded.model.state_dict().keys() == model.state_dict().keys()
    found = loaded.model.state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor), name
    tokens = torch.arange(6)[None]
    assert torch.equal(loaded.model(tokens), model(tokens))


def test_the_folder_is_readable_without_us(saved):
    """Hub layout: plain JSON, plain safetensors, TransformerLens' names and shapes."""
    config = json.loads((saved / "config.json").read_text())
    assert config["format"] == "interp-transformer"
    assert config["format_version"] == 1
    assert {name: config[name] for name in SMALL} == SMALL
    tensors = load_file(saved / "model.safetensors")
    assert tensors["embed.W_E"].shape == (11, 8)
    assert tensors["pos_embed.W_pos"].shape == (6, 8)
    assert tensors["blocks.1.attn.W_Q"].shape == (2, 8, 3)
    assert tensors["blocks.1.attn.W_O"].shape == (2, 3, 8)
    assert tensors["blocks.0.attn.b_Q"].shape == (2, 3)
    assert tensors["unembed.W_U"].shape == (8, 11)
    assert sorted(p.name for p in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_float64_models_keep_their_type(tmp_path):
    model = small_model().double()
    save_checkpoint(tmp_path / "model", model)
    loaded = load_checkpoint(tmp_path / "model").model
    assert loaded.W_E.dtype == torch.float64
    assert torch.equal(loaded.W_Q, model.W_Q)


def test_state_comes_back_tensors_and_values(tmp_path):
    tensors = {"exp_avg.embed.W_E": torch.rand(3, 2), "random": torch.arange(5, dtype=torch.uint8)}
    values = {"emerged": None, "seconds": 1.5}
    save_checkpoint(tmp_path / "model", small_model(), state={**tensors, **values})
    loaded = load_state(tmp_path / "model")
    assert loaded.keys() == {*tensors, *values}
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert {name: loaded[name] for name in values} == values


def test_vocabulary_and_task_are_read_from_the_metadata(tmp_path):
    vocabulary, task = symbol_vocabulary(10, bos=True), MarkovConfig(n_states=10)
    save_checkpoint(tmp_path / "model", small_model(), {"vocabulary": vocabulary.to_dict(), "task": to_dict(task)})
    loaded = load_checkpoint(tmp_path / "model")
    assert loaded.vocabulary == vocabulary
    assert loaded.task == task


def test_without_metadata_there_is_no_vocabulary_and_no_task(tmp_path):
    save_checkpoint(tmp_path / "model", small_model())
    loaded = load_checkpoint(tmp_path / "model")
    assert (loaded.vocabulary, loaded.task, loaded.metadata) == (None, None, {})


def test_loading_draws_nothing_from_the_default_generator(saved):
    before = torch.get_rng_state()
    load_checkpoint(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_weights_have_equal_hashes_and_one_changed_bit_another():
    model, same, other = small_model(), small_model(), small_model()
    with torch.no_grad():
        other.embed.W_E[0, 0] = torch.nextafter(other.embed.W_E[0, 0], torch.tensor(torch.inf))
    assert len(model_hash(model)) == 64
    assert model_hash(model) == model_hash(same)
    assert model_hash(model) != model_hash(other)


def test_the_hash_depends_on_shapes_and_not_only_on_bytes():
    flat, square = torch.nn.ParameterDict({"w": torch.zeros(4)}), torch.nn.ParameterDict({"w": torch.zeros(2, 2)})
    assert model_hash(flat) != model_hash(square)


def test_a_saved_checkpoint_replaces_the_one_before(saved):
    save_checkpoint(saved, small_model(seed=1), {"step": 8})
    assert load_checkpoint(saved).metadata == {"step": 8}
    assert load_checkpoint(saved).model_hash == model_hash(small_model(seed=1))
    assert [p.name for p in saved.parent.iterdir()] == ["model"]


def test_a_folder_with_other_files_is_not_replaced(saved):
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"also holds notes\.txt"):
        save_checkpoint(saved, small_model(seed=1))
    assert (saved / "notes.txt").read_text() == "mine"
    assert load_checkpoint(saved).metadata == {"step": 7}


def test_nan_weights_are_not_written(tmp_path):
    model = small_model()
    with torch.no_grad():
        model.blocks[1].attn.W_V[1, 2, 0] = torch.nan
    with pytest.raises(InputError, match=r"blocks\.1\.attn\.W_V holds nan at \[1, 2, 0\]"):
        save_checkpoint(tmp_path / "model", model)
    assert list(tmp_path.iterdir()) == []


def test_models_of_mixed_types_are_not_written(tmp_path):
    model = small_model()
    model.embed.double()
    with pytest.raises(InputError, match="mixes float32 and float64"):
        save_checkpoint(tmp_path / "model", model)


def test_metadata_without_a_json_form_is_refused(tmp_path):
    for value in (torch.zeros(1), float("nan")):
        with pytest.raises(InputError, match="cannot be written as JSON"):
            save_checkpoint(tmp_path / "model", small_model(), {"x": value})
    assert list(tmp_path.iterdir()) == []


# What is refused, and why


def test_missing_empty_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is an empty folder"):
        load_checkpoint(tmp_path)
    (tmp_path / "photo.png").touch()
    with pytest.raises(CheckpointError, match=r"neither a run nor a checkpoint: it holds no config\.json"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"photo\.png is a file; give the folder"):
        load_checkpoint(tmp_path / "photo.png")


def test_a_run_folder_stands_for_its_final_model_or_its_newest_checkpoint(tmp_path, saved):
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has not written a checkpoint yet"):
        load_checkpoint(run)
    for step in (2, 10):
        save_checkpoint(run / "checkpoints" / f"step-{step:08d}", small_model(), {"step": step})
    (run / "checkpoints" / ".step-00000011.partial").mkdir()
    assert load_checkpoint(run).metadata == {"step": 10}
    assert load_checkpoint(run).path == run / "checkpoints" / "step-00000010"
    for file in saved.iterdir():
        shutil.copy(file, run)
    assert load_checkpoint(run).metadata == {"step": 7}
    assert find_checkpoint(run) == run


def test_an_unknown_device_is_refused(saved):
    with pytest.raises(InputError, match="there is no device 'gpu'"):
        load_checkpoint(saved, device="gpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "gpt2"}, 'not a model of ours: "format" is not "interp-transformer"'),
        ({"format": ...}, "not a model of ours"),
        ({"format_version": 2}, r"format_version 2 is newer than this program knows \(1\); update interp"),
        ({"format_version": "1"}, "format_version must be a whole number from 1, got '1'"),
        ({"colour": "red"}, "has no field 'colour'"),
        ({"d_head": 0}, "d_head must be at least 1"),
        ({"metadata": [1]}, r"metadata must be a JSON object, got \[1\]"),
        ({"dtype": "int8"}, "dtype must be one of float32, float64, float16, bfloat16, got 'int8'"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(saved, changes, message):
    edit_config(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1} x'])
def test_a_config_that_is_no_json_is_refused(saved, content):
    (saved / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json: not a JSON file"):
        load_checkpoint(saved)


def test_a_config_that_is_no_object_is_refused(saved):
    (saved / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="must hold a JSON object, got list"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed__W_E": None}, r"tensor embed\.W_E is missing$"),
        ({"embed__W_E": None, "unembed__b_U": None}, r"is missing \(and 1 more\)"),
        ({"embed__W_X": torch.zeros(1)}, r"tensor embed\.W_X does not belong to this model"),
        ({"embed__W_E": torch.zeros(8, 11)}, r"embed\.W_E has shape \[8, 11\], expected \[11, 8\]"),
        ({"unembed__b_U": torch.zeros(11).half()}, r"unembed\.b_U is float16, expected float32"),
        ({"unembed__b_U": torch.tensor([0.0] * 9 + [torch.nan] * 2)}, r"unembed\.b_U holds nan at \[9\], and 2 such"),
        ({"unembed__b_U": torch.full((11,), -torch.inf)}, r"unembed\.b_U holds -inf at \[0\]"),
    ],
)
def test_weights_that_do_not_fit_are_refused(saved, changes, message):
    edit_weights(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"model\.safetensors: .*{message}"):
        load_checkpoint(saved)


def test_another_number_of_layers_is_refused_without_building_them(saved):
    edit_config(saved, n_layers=10**9)
    with pytest.raises(CheckpointError, match=r"holds 2 layers, config\.json says n_layers 1000000000"):
        load_checkpoint(saved)


@pytest.mark.parametrize("size", [{"d_vocab": 10**12}, {"n_ctx": 10**30, "positions": "none"}])
def test_a_config_of_absurd_size_takes_no_memory(tmp_path, size):
    save_checkpoint(tmp_path / "model", small_model(positions=size.get("positions", "standard")))
    edit_config(tmp_path / "model", **size)
    if "d_vocab" in size:
        with pytest.raises(CheckpointError, match=r"W_E has shape \[11, 8\], expected \[1000000000000, 8\]"):
            load_checkpoint(tmp_path / "model")
    else:
        assert load_checkpoint(tmp_path / "model").config.n_ctx == 10**30


def test_a_size_that_torch_cannot_hold_is_refused(saved):
    edit_config(saved, d_vocab=10**40)
    with pytest.raises(CheckpointError, match=r"the model of config\.json cannot be built"):
        load_checkpoint(saved)


def test_every_truncation_of_the_weights_is_refused(saved):
    whole = (saved / "model.safetensors").read_bytes()
    for length in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        (saved / "model.safetensors").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated, or not a safetensors file"):
            load_checkpoint(saved)


def test_a_file_that_is_longer_than_its_header_says_is_refused(saved):
    whole = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(whole + b"0000")
    with pytest.raises(CheckpointError, match="truncated, or not a safetensors file"):
        load_checkpoint(saved)


def test_a_pickle_is_refused_and_not_run(saved):
    (saved / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n\x8c\x04true\x85R.")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(saved)


def test_missing_weights_are_named(saved):
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: the file is missing"):
        load_checkpoint(saved)


def test_damaged_headers_are_refused_or_read_but_never_crash(saved):
    """Each byte of the header set to another value: either a plain refusal, or a model that is whole."""
    whole = (saved / "model.safetensors").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for place in range(0, header, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 + place % 255
        (saved / "model.safetensors").write_bytes(bytes(damaged))
        try:
            load_checkpoint(saved)
        except CheckpointError:
            refused += 1
    assert refused > 0.9 * len(range(0, header, 7))


def test_a_damaged_state_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"state\.safetensors: the file is missing"):
        load_state(tmp_path)
    save_checkpoint(tmp_path / "model", small_model(), state={"x": torch.zeros(3), "n": 1})
    (tmp_path / "model" / "state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"state\.json: not a JSON file"):
        load_state(tmp_path / "model")


def test_safetensors_reads_what_we_write_lazily(saved):
    """The alignment and metadata that other tools rely on."""
    with safetensors.safe_open(saved / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
        assert torch.equal(file.get_tensor("embed.W_E"), small_model().W_E)
