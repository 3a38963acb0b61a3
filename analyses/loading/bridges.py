"""TransformerLens bridges as subjects: what commands need of a model that is not ours."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from analyses.loading.subject import Subject, Tokens
from analyses.loading.tokenizer import first_line
from interp.errors import InputError as MeasureError
from interp.weights.shape import shape_of
from toy_models.device import find_device
from toy_models.errors import InputError

NORMALIZATIONS = {"LN": "LN", "LNPRE": "LNPre", "RMS": "RMS", "RMSPRE": "RMSPre"}


@dataclass(frozen=True)
class BridgeConfig:
    """A bridge's configuration in the words of `toy_models.TransformerConfig`, as far as it has the same."""

    architecture: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_ctx: int
    d_mlp: int
    activation: str
    positions: str
    normalization: str
    tied_embeddings: bool
    biases: bool
    parameters: int
    learned_positions: bool = True
    smeared_keys: bool = False

    @property
    def kind(self) -> str:
        """The architecture, and how many heads share keys and values."""
        shared = f", {self.n_key_value_heads} key-value heads" if self.n_key_value_heads != self.n_heads else ""
        size = f"{self.parameters / 1e6:.0f}M" if self.parameters >= 1e7 else f"{self.parameters:,}"
        return f"{self.architecture}{shared}, {size} parameters"


def bridge_of(model: Any, architecture: str, name: str) -> Any:
    """A model of transformers inside a `TransformerBridge`, which has hook points; its weights are not changed."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    return build_bridge_from_module(model, architecture, hf_config=model.config, model_name=name).eval()


def config_of(bridge: Any, architecture: str, tied: bool) -> BridgeConfig:
    """What a bridge's `cfg` says; `InputError` for sizes that no transformer with attention has."""
    c, kind = bridge.cfg, bridge.cfg.normalization_type
    try:
        shape = shape_of(bridge)
    except MeasureError as error:
        raise InputError(f"{architecture}: {error}") from error
    parameters = {parameter.data_ptr(): parameter.numel() for parameter in bridge.original_model.parameters()}
    return BridgeConfig(
        architecture,
        shape.n_layers,
        shape.n_heads,
        c.n_key_value_heads or shape.n_heads,
        c.d_model,
        c.d_head,
        shape.d_vocab,
        shape.n_ctx,
        0 if c.attn_only else int(c.d_mlp or 4 * c.d_model),
        str(c.act_fn or ""),
        "rotary" if str(c.positional_embedding_type).lower() == "rotary" else "standard",
        "none" if kind is None else NORMALIZATIONS.get(str(kind).upper(), "LN"),
        tied,
        any(name.endswith(".bias") and "ln" not in name for name in bridge.state_dict()),
        sum(parameters.values()),
    )


def subject_of(
    bridge: Any,
    config: BridgeConfig,
    path: Path,
    checkpoint: Path,
    digest: str,
    *,
    device: str,
    vocabulary: Tokens | None = None,
    bos: int | None = None,
    excluded: tuple[int, ...] = (),
    home: Path | None = None,
    notes: tuple[str, ...] = (),
) -> Subject:
    """A bridge with what was said beside it; `digest` is the hash of its weights."""
    on = find_device(device)
    said = f"{len(excluded)} special or unused tokens are never drawn" if excluded else ""
    return Subject(
        model=bridge if on.type == "cpu" else bridge.to(on),
        config=config,
        path=path,
        checkpoint=checkpoint,
        run=None,
        model_hash=digest,
        vocabulary=vocabulary,
        task=None,
        step=None,
        bos=bos,
        excluded=excluded,
        home=home,
        kind=config.kind,
        notes=(*notes, *([said] if said else [])),
    )


@contextlib.contextmanager
def quiet(what: str) -> Iterator[None]:
    """Other libraries at work: their progress bars, warnings and log lines kept away, their errors on one line.

    Whatever they raise becomes an `InputError` that begins with `what`, a path and what is done with it.
    """
    from transformers.utils import logging as theirs

    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.CRITICAL)
    theirs.disable_progress_bar()
    generator = torch.get_rng_state()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # they raise whatever their many readers raise
        raise InputError(f"{what}: {first_line(error)}") from error
    finally:
        torch.set_rng_state(generator)
        theirs.set_verbosity(verbosity)
        if bars:
            theirs.enable_progress_bar()
