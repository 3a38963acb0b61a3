"""What things in a transformer are called: heads, and hook points as TransformerLens spells them."""

import re
from typing import NamedTuple

from interp.errors import InputError

_HEAD = re.compile(r"(?:L(\d+)H(\d+)|(\d+)\.(\d+)|a(\d+)\.h(\d+))", re.IGNORECASE | re.ASCII)


class Head(NamedTuple):
    """An attention head, counted from 0; prints as "L1H3" and sorts by layer, then by place in the layer."""

    layer: int
    index: int  # type: ignore[assignment]  # hides tuple.index

    def __str__(self) -> str:
        return f"L{self.layer}H{self.index}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """The head that "L1H3", "1.3" or "a1.h3" names, in capitals or not; `InputError` for anything else."""
        match = _HEAD.fullmatch(text.strip())
        if match is None:
            raise InputError(f"no head is called {text!r}; write layer and head as L1H3, 1.3 or a1.h3")
        layer, index = (int(digits) for digits in match.groups() if digits is not None)
        return cls(layer, index)


def as_head(head: object) -> Head:
    """The head of a name as "L1H3" or of (layer, index); `InputError` for anything else."""
    if isinstance(head, str):
        return Head.parse(head)
    if not (isinstance(head, tuple) and len(head) == 2 and all(isinstance(number, int) for number in head)):
        raise InputError(f"a head is named as 'L1H3' or as (layer, index), got {head!r}")
    return Head(*head)


def check(head: Head, n_layers: int, n_heads: int) -> Head:
    """The same head; `InputError` when a model of `n_layers` with `n_heads` each does not have it."""
    if not 0 <= head.layer < n_layers:
        raise InputError(f"{head} is in layer {head.layer}, the model has layers 0 to {n_layers - 1}")
    if not 0 <= head.index < n_heads:
        raise InputError(f"{head} is head {head.index}, a layer of this model has heads 0 to {n_heads - 1}")
    return head


def embed_name() -> str:
    return "hook_embed"


def pos_embed_name() -> str:
    return "hook_pos_embed"


def resid_pre_name(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_pre"


def resid_mid_name(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_mid"


def resid_post_name(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def attn_out_name(layer: int) -> str:
    return f"blocks.{layer}.hook_attn_out"


def mlp_out_name(layer: int) -> str:
    return f"blocks.{layer}.hook_mlp_out"


def q_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_q"


def k_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_k"


def v_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_v"


def z_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_z"


def scores_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_attn_scores"


def pattern_name(layer: int) -> str:
    return f"blocks.{layer}.attn.hook_pattern"


def q_input_name(layer: int) -> str:
    return f"blocks.{layer}.hook_q_input"


def k_input_name(layer: int) -> str:
    return f"blocks.{layer}.hook_k_input"


def v_input_name(layer: int) -> str:
    return f"blocks.{layer}.hook_v_input"


def scale_name(layer: int | None, norm: str = "ln1") -> str:
    """The scale that `norm` ("ln1", "ln2") of a layer divides by; layer None for the final norm."""
    return "ln_final.hook_scale" if layer is None else f"blocks.{layer}.{norm}.hook_scale"


def normalized_name(layer: int | None, norm: str = "ln1") -> str:
    """x / scale, before gain and bias, of `norm` of a layer; layer None for the final norm."""
    return "ln_final.hook_normalized" if layer is None else f"blocks.{layer}.{norm}.hook_normalized"


_AXES_OF = {
    **dict.fromkeys(["hook_q", "hook_k", "hook_v", "hook_z", "hook_rot_q", "hook_rot_k"], "batch pos head d_head"),
    **dict.fromkeys(["hook_attn_scores", "hook_pattern"], "batch head dest src"),
    **dict.fromkeys(["hook_pre", "hook_post"], "batch pos unit"),
    **dict.fromkeys(["hook_q_input", "hook_k_input", "hook_v_input", "hook_result"], "batch pos head d_model"),
    **dict.fromkeys(
        ["hook_embed", "hook_pos_embed", "hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out"],
        "batch pos d_model",
    ),
    **dict.fromkeys(["hook_mlp_out", "hook_normalized"], "batch pos d_model"),
    "hook_scale": "batch pos one",
}


def axes_of(name: str) -> tuple[str, ...] | None:
    """The axes of the value at a hook point that TransformerLens documents, by its name; None for other names."""
    axes = _AXES_OF.get(name.rsplit(".", 1)[-1])
    return None if axes is None else tuple(axes.split())
