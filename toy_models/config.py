"""What a transformer of ours is made of: a frozen dataclass that refuses what cannot work, and its JSON form."""

import dataclasses
import math
import types
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from toy_models.errors import InputError

Positions = Literal["shortformer", "standard", "rotary", "none"]
Normalization = Literal["none", "LN", "LNPre", "RMS", "RMSPre"]
Activation = Literal["gelu", "relu"]
AttentionDir = Literal["causal", "bidirectional"]


@dataclass(frozen=True)
class TransformerConfig:
    """Shape and options of a transformer; attention-only unless `d_mlp` is above 0.

    Raises `InputError` when made, if no model can be built from the values; the message says which value and why.
    """

    n_layers: int = 2
    """Attention layers; 0 gives the bigram model W_E W_U."""
    n_heads: int = 4
    """Attention heads in every layer."""
    d_model: int = 64
    """Width of the residual stream."""
    d_head: int = 16
    """Width of one head; need not be d_model / n_heads."""
    d_vocab: int = 64
    """Number of tokens."""
    n_ctx: int = 64
    """Longest sequence."""
    positions: Positions = "standard"
    """shortformer: added to the inputs of Q and K after normalisation; standard: added to the residual stream;
    rotary: q and k are rotated; none."""
    learned_positions: bool = True
    """Whether the position table is learned, or else a fixed sinusoidal one (shortformer and standard)."""
    attention_dir: AttentionDir = "causal"
    """causal: a position attends to itself and what is before it; bidirectional: to the whole sequence."""
    smeared_keys: bool = False
    """Each head mixes its key with that of the token before, by a learned share."""
    normalization: Normalization = "none"
    """Before every read of the residual stream; "Pre" kinds have no learned gain."""
    tied_embeddings: bool = False
    """W_U = W_E transposed."""
    biases: bool = True
    """Whether there are biases in attention, MLP and unembedding."""
    d_mlp: int = 0
    """Width of an MLP after each attention layer; 0 for none."""
    activation: Activation = "gelu"
    """Non-linearity of the MLP."""
    norm_eps: float = 1e-5
    """Added under the square root of the normalisation."""
    rotary_base: float = 10000.0
    """Slowest rotary frequency is about 1 / rotary_base."""
    init_range: float | None = None
    """Standard deviation of the initial weights; None for 0.8 / sqrt(d_model)."""

    def __post_init__(self) -> None:
        check_field_types(self)
        for name, lowest in {
            "n_layers": 0,
            "n_heads": 1,
            "d_model": 1,
            "d_head": 1,
            "d_vocab": 2,
            "n_ctx": 1,
            "d_mlp": 0,
        }.items():
            if getattr(self, name) < lowest:
                raise InputError(f"{name} must be at least {lowest}, got {getattr(self, name)}")
        for name in ("norm_eps", "rotary_base"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} must be a positive number, got {value}")
        if self.init_range is not None and not (math.isfinite(self.init_range) and self.init_range >= 0):
            raise InputError(f"init_range must be 0 or above, or left out, got {self.init_range}")
        if self.positions == "rotary" and self.d_head % 2:
            raise InputError(f"rotary positions turn pairs of numbers, so d_head must be even, got {self.d_head}")
        if not self.learned_positions and self.positions in ("rotary", "none"):
            raise InputError(
                f"learned_positions=False asks for a sinusoidal table, but positions={self.positions!r} has none; "
                "use positions='standard' or 'shortformer'"
            )
        if not self.learned_positions and self.d_model % 2:
            raise InputError(f"a sinusoidal table needs an even d_model, got {self.d_model}")
        if self.normalization in ("LN", "LNPre") and self.d_model < 2:
            raise InputError("LN of a single number is always 0: d_model must be at least 2 with LN or LNPre")

    @property
    def initial_std(self) -> float:
        return 0.8 / math.sqrt(self.d_model) if self.init_range is None else self.init_range


Config = TypeVar("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """The config's fields as JSON-ready values."""
    return dataclasses.asdict(config)


def from_dict(cls: type[Config], values: dict[str, Any]) -> Config:
    """A `cls` from its `to_dict` form; `InputError` on unknown fields, wrong types or values that cannot work.

    Fields that are left out take their defaults, so that a file written before a field existed still reads.
    """
    if not isinstance(values, dict):
        raise InputError(f"{cls.__name__} needs a JSON object, got {type(values).__name__}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise InputError(f"{cls.__name__} has no field {unknown[0]!r}; known: {', '.join(fields)}")
    types_of = get_type_hints(cls)
    made = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(types_of[name]) and isinstance(value, dict):
            value = from_dict(types_of[name], value)
        elif isinstance(value, list) and get_origin(types_of[name]) is tuple:
            value = tuple(value)
        made[name] = value
    return cls(**made)


def check_field_types(config: Any) -> None:
    """`InputError` naming the first field of a dataclass whose value is not of its declared type."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _fits(value, kind):
            raise InputError(f"{name} must be {_describe(kind)}, got {value!r}")


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, k) for k in get_args(kind))
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(v, get_args(kind)[0]) for v in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _describe(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(repr(a) for a in get_args(kind))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(k) for k in get_args(kind))
    if origin is tuple:
        return f"a list of {_describe(get_args(kind)[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, str(kind))
