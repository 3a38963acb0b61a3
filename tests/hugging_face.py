"""Tiny models of Hugging Face's architectures with random weights, alone and wrapped by TransformerLens."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY, CONTEXT = 60, 64
SIZES: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
}
GROUPED = SIZES | {"num_key_value_heads": 2, "rms_norm_eps": 1e-3}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
GPT2 = {"n_layer": 2, "n_head": 4, "n_embd": 32, "vocab_size": VOCABULARY, "n_positions": CONTEXT}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT-2": ("gpt2", GPT2 | {"layer_norm_epsilon": 1e-3}),
    "Pythia": (
        "gpt_neox",
        SIZES | {"layer_norm_eps": 1e-3, "rope_parameters": {"rope_theta": 500.0}, "rotary_pct": 0.5},
    ),
    "one after the other": ("gpt_neox", SIZES | {"use_parallel_residual": False}),
    "Llama": ("llama", GROUPED | {"tie_word_embeddings": True, "rope_parameters": {"rope_theta": 500.0}}),
    "Llama with biases": ("llama", GROUPED | {"attention_bias": True, "mlp_bias": True, "head_dim": 6}),
    "Llama 3": ("llama", GROUPED | {"rope_parameters": LLAMA3}),
    "Mistral": ("mistral", GROUPED | {"sliding_window": 20}),
    "Qwen2": ("qwen2", GROUPED),
    "Gemma": ("gemma", GROUPED | {"head_dim": 6}),
}


def hugging_face(name: str, dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> Any:
    """The model alone, every parameter random: gains around 1 (stored around 0 where 1 is added), biases too."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, sizes = MODELS[name]
    config = AutoConfig.for_model(kind, **(sizes | options))
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype)
    return model


def wrapped(model: nn.Module) -> Any:
    """A bridge around a copy of the model, so that the model itself stays as it was."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    inner: Any = copy.deepcopy(model)
    return build_bridge_from_module(inner, type(inner).__name__, hf_config=inner.config, model_name="tiny").eval()


def tokens_for(batch: int = 2, pos: int = 11, seed: int = 1) -> Tensor:
    return torch.randint(VOCABULARY, (batch, pos), generator=torch.Generator().manual_seed(seed))
