"""How many layers, heads, tokens and positions a transformer has, read from its configuration."""

from dataclasses import dataclass
from itertools import product

from torch import nn

from interp.errors import InputError
from interp.names import Head


@dataclass(frozen=True)
class ModelShape:
    n_layers: int
    n_heads: int
    n_ctx: int
    d_vocab: int

    @property
    def heads(self) -> list[Head]:
        """All heads, in order."""
        return [Head(*at) for at in product(range(self.n_layers), range(self.n_heads))]


def shape_of(model: nn.Module) -> ModelShape:
    """Of our transformer or a TransformerLens bridge; `InputError` for anything else, or without attention layers."""
    for config in (getattr(model, "cfg", None), getattr(model, "config", None)):
        sizes = [getattr(config, name, None) for name in ("n_layers", "n_heads", "n_ctx", "d_vocab")]
        if all(isinstance(size, int) for size in sizes):
            if sizes[0] == 0:
                raise InputError("the model has no attention layers, so there are no heads to measure")
            return ModelShape(*sizes)  # type: ignore[arg-type]
    raise InputError(
        f"heads are measured in a toy_models.Transformer or a TransformerLens bridge, got {type(model).__name__}"
    )
