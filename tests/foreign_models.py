"""Tiny models as other libraries write them to disk: Hugging Face folders and a GGUF file, with random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

SIZES = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SIZES | {"num_key_value_heads": 2, "tie_word_embeddings": True, "rms_norm_eps": 1e-5}),
    "qwen2": ("qwen2", SIZES | {"num_key_value_heads": 1}),
    "gpt2": (
        "gpt2",
        {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": 60, "n_positions": 64, "bos_token_id": 59},
    ),
}
GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def save(kind: str, folder: Path, **options: Any) -> None:
    """Every parameter moved by random numbers, so that gains and biases count."""
    from transformers import AutoConfig, AutoModelForCausalLM

    name, sizes = KINDS[kind]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **sizes), attn_implementation="eager")
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    silently(lambda: model.save_pretrained(folder, **options))


def silently(action: Callable[[], Any]) -> Any:
    """Transformers without its progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return action()
    finally:
        logging.enable_progress_bar()


def reference(folder: Path) -> Any:
    """The model as transformers runs it by itself."""
    from transformers import AutoModelForCausalLM

    options = {"attn_implementation": "eager", "dtype": torch.float32}
    return silently(lambda: AutoModelForCausalLM.from_pretrained(folder, **options).eval())


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_gguf(folder: Path, file: Path) -> None:
    """The Llama model of a folder as a GGUF file, whose rotary pairs lie side by side."""
    import gguf

    config, weights = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_bos_token_id(config["bos_token_id"])
    for name, tensor in weights.items():
        called = gguf_name(name)
        rotated = {"attn_q": heads, "attn_k": shared}.get(called.split(".")[-2])
        writer.add_tensor(called, (tensor if rotated is None else side_by_side(tensor, rotated)).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    ends = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in ends:
        return ends[name]
    _, _, layer, *part, _ = name.split(".")
    return f"blk.{layer}.{GGUF_NAMES['.'.join(part)]}.weight"


def side_by_side(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows i and i + d/2 of each head beside each other."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2).contiguous()
