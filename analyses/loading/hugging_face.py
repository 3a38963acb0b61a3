"""Folders as the Hugging Face Hub has them: config.json, safetensors, and a tokenizer where there is one.

Nothing is downloaded, unpickled or run: weights come from safetensors files only, and code in the folder never runs.
"""

from pathlib import Path
from typing import Any

import torch

from analyses.loading.bridges import bridge_of, config_of, quiet, subject_of
from analyses.loading.subject import Subject
from analyses.loading.tokenizer import read_tokenizer, special_tokens
from analyses.loading.weight_files import WeightFiles, count, read_headers, read_object
from interp.errors import InputError as MeasureError
from interp.weights.foreign import FAMILIES, family_of
from toy_models.checkpoint import CONFIG, FORMAT
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.weights_file import check_finite, model_hash

SUPPORTED = tuple(FAMILIES)
"""Architectures whose weights `interp.weights_of` reads."""


def is_hugging_face(path: Path) -> bool:
    """Whether a folder's config.json is one of transformers."""
    try:
        config = read_object(path / CONFIG)
    except InputError:
        return False
    return config.get("format") != FORMAT and ("architectures" in config or "model_type" in config)


def load_hugging_face(path: Path, device: str) -> Subject:
    """The model of a folder as `save_pretrained` writes it, as float32, with eager attention.

    Raises `InputError` naming the file for architectures that cannot be read, code of its own, pickled or quantised
    weights, files that are missing or damaged, tensors that are missing, of another shape or not the model's, and
    weights that are NaN or infinite.
    """
    find_device(device)
    config = read_object(path / CONFIG)
    refuse_code(path, config)
    files = read_headers(path)
    with quiet(f"{path / CONFIG}: transformers cannot read it"):
        from transformers import AutoConfig

        theirs = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        architecture = architecture_of(path, theirs)
        check_size(path, theirs, files)
    with quiet(f"{path}: transformers cannot load it"):
        model = read_model(path, theirs)
        digest, bridge = model_hash(model), bridge_of(model, architecture, path.name)
    check_readable(path, bridge)
    d_vocab = int(bridge.cfg.d_vocab)
    with quiet(f"{path}: its tokenizer cannot be read"):
        tokens = read_tokenizer(path, d_vocab)
    special = special_tokens(config, d_vocab)
    bos = config.get("bos_token_id") if tokens is None else tokens.bos
    bos = bos if bos in special or tokens is not None else None
    excluded = {*special, *(() if tokens is None else tokens.special)} - {bos}
    as_float32 = f"{' and '.join(files.dtypes)} weights, read as float32"
    return subject_of(
        bridge,
        config_of(bridge, architecture, bool(theirs.tie_word_embeddings)),
        path,
        path,
        digest,
        device=device,
        vocabulary=tokens,
        bos=bos,
        excluded=tuple(sorted(excluded)),
        notes=() if files.dtypes == ("float32",) else (as_float32,),
    )


def refuse_code(path: Path, config: dict[str, Any]) -> None:
    if "auto_map" in config:
        raise InputError(
            f"{path / CONFIG}: its auto_map asks for code of the folder's own to be run, which is never done; "
            f"supported are {', '.join(SUPPORTED)}"
        )
    if "quantization_config" in config:
        raise InputError(
            f"{path / CONFIG}: its weights are quantised (quantization_config), which are not read; give the model in "
            "float32, float16 or bfloat16, or as a GGUF file"
        )


def architecture_of(path: Path, config: Any) -> str:
    """The class that runs the model; `InputError` naming what is supported if that is something else."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    if not isinstance(config.architectures or [], list):
        raise InputError(f"{path / CONFIG}: architectures must be a list, got {config.architectures!r}")
    named = (config.architectures or [known])[0]
    if named in SUPPORTED and named == known:
        return str(named)
    why = "is not supported"
    if named is None or str(named).endswith("Model"):
        why = "has no language-model head, so it predicts no tokens"
    elif known is None or "MaskedLM" in str(named) or "ConditionalGeneration" in str(named):
        why = "is an encoder, or has one: it looks both ways, and does not predict the next token"
    raise InputError(f"{path / CONFIG}: {named or config.model_type} {why}; supported are {', '.join(SUPPORTED)}")


def check_size(path: Path, config: Any, files: WeightFiles) -> None:
    """`InputError` if the config describes a model much larger than its files, before memory is asked for it."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        described = AutoModelForCausalLM.from_config(config)
    numbers = sum(count(tuple(parameter.shape)) for parameter in described.parameters())
    if numbers > 2 * files.numbers + 1000:
        raise InputError(
            f"{path / CONFIG}: describes a model of {numbers:,} numbers, but its weight files hold {files.numbers:,}"
        )


def read_model(folder: Path, config: Any, **options: Any) -> Any:
    """The model, all of its tensors from the files; what transformers would only warn of is an `InputError`."""
    from transformers import AutoModelForCausalLM

    model, found = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **({"use_safetensors": True} | options),
    )
    refuse_incomplete(folder, found)
    try:
        check_finite(model.state_dict())
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return model.eval()


def check_readable(path: Path, bridge: Any) -> None:
    """`InputError` for an option of the model that `interp.weights_of` does not read."""
    try:
        family_of(bridge)
    except MeasureError as error:
        raise InputError(f"{path}: {error}") from error


def refuse_incomplete(folder: Path, found: dict[str, Any]) -> None:
    """`InputError` for the first tensor that is missing, of another shape, or not the model's."""
    if missing := sorted(found["missing_keys"]):
        raise InputError(f"{folder}: tensor {missing[0]} is missing{others(missing)}")
    if other := sorted(found["mismatched_keys"]):
        name, shape, expected = other[0]
        raise InputError(f"{folder}: {name} has shape {list(shape)}, expected {list(expected)}{others(other)}")
    if extra := sorted(found["unexpected_keys"]):
        raise InputError(f"{folder}: tensor {extra[0]} does not belong to this model{others(extra)}")
    if messages := list(found.get("error_msgs", ())):
        raise InputError(f"{folder}: transformers cannot load it: {messages[0]}")


def others(names: list[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
