"""Models by name: of the Hugging Face Hub, or one of TransformerLens' own.

What is on this machine already is used as it is; the network is asked once, for a few seconds, before any download.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from analyses.loading.bridges import config_of, quiet, subject_of
from analyses.loading.hugging_face import load_hugging_face
from analyses.loading.subject import Subject
from analyses.loading.tokenizer import first_line, tokens_of
from analyses.loading.weight_files import INDEX, WHOLE
from toy_models.bridge import from_bridge
from toy_models.checkpoint import CONFIG
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.weights_file import model_hash

NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
FILES = [CONFIG, WHOLE, INDEX, "model-*.safetensors", "tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json"]
"""What is downloaded: nothing pickled, no code."""
SECONDS = 5
"""How long the network may take to answer at first."""


def is_name(path: Path) -> bool:
    """Whether it is no path here but could be a name, as gpt2 or owner/name."""
    here = path.exists() or (len(path.parts) > 1 and Path(path.parts[0]).exists())
    return not here and NAME.fullmatch(path.as_posix()) is not None


def load_named(path: Path, device: str) -> Subject:
    """The model of that name; results go into a folder beside, called NAME-interp.

    Raises `InputError` where it can neither be found here nor downloaded, and for what `load_hugging_face` refuses.
    """
    find_device(device)
    name = official(path.as_posix())
    home = Path(f"{path.name}-interp")
    if name.startswith(legacy_owners()):
        return load_legacy(path, name, device, home)
    found = load_hugging_face(snapshot(path, name), device)
    return replace(found, path=path, home=home)


def official(name: str) -> str:
    """The Hub's name for one of TransformerLens' short names, else the same."""
    from transformer_lens.tools.model_registry.registry_io import load_model_aliases

    return next((full for full, short in load_model_aliases().items() if name in short), name)


def legacy_owners() -> tuple[str, ...]:
    """Whose models are in TransformerLens' own format."""
    from transformer_lens.model_bridge.sources.tl_legacy import TL_LEGACY_PREFIXES

    return tuple(TL_LEGACY_PREFIXES)


def snapshot(path: Path, name: str) -> Path:
    """The folder of the model's files, downloaded if they are not here."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        here = Path(snapshot_download(name, allow_patterns=FILES, local_files_only=True))
        if (here / WHOLE).exists() or (here / INDEX).exists():
            return here
    except LocalEntryNotFoundError:
        pass
    ask_network(path, name)
    with quiet(f"{path}: its download failed"):
        return Path(snapshot_download(name, allow_patterns=FILES, etag_timeout=SECONDS))


def ask_network(path: Path, name: str) -> None:
    """`InputError` unless the Hub answers within a few seconds, and has such a model."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    unknown = f"{path} does not exist; give a run folder or a checkpoint folder, or a Hugging Face folder"
    try:
        HfApi().model_info(name, timeout=SECONDS)
    except RepositoryNotFoundError as error:
        raise InputError(f"{unknown}; the Hub has no model of that name either, or keeps it private") from error
    except Exception as error:  # whatever a network can do
        raise InputError(
            f"{unknown}; a model of that name cannot be downloaded: no network ({first_line(error)[:80]}); "
            "give a local folder"
        ) from error


def load_legacy(path: Path, name: str, device: str, home: Path) -> Subject:
    """One of TransformerLens' own models; as a model of ours where that is exact, so that all is measured on it.

    These files are pickled; TransformerLens reads nothing but tensors from them (weights_only).
    """
    ask_network(path, name)
    with quiet(f"{path}: TransformerLens cannot load it"):
        from transformer_lens.model_bridge import TransformerBridge

        bridge: Any = TransformerBridge.boot_tl_legacy(name, device="cpu").eval()
    tokens = None if bridge.tokenizer is None else tokens_of(bridge.tokenizer, int(bridge.cfg.d_vocab))
    bos = None if tokens is None else tokens.bos
    excluded = () if tokens is None else tuple(token for token in tokens.special if token != bos)
    config = config_of(bridge, name.partition("/")[2], tied=False)
    found = subject_of(
        bridge,
        config,
        path,
        Path(name),
        model_hash(bridge.original_model),
        device="cpu",
        vocabulary=tokens,
        bos=bos,
        excluded=excluded,
        home=home,
    )
    return ours(found, device)


def ours(subject: Subject, device: str) -> Subject:
    """The subject with its bridge turned into a model of ours, where such a model can be the same function."""
    try:
        model = from_bridge(subject.model)
    except InputError:
        return replace(subject, model=subject.model.to(find_device(device)))
    notes = (*subject.notes, "copied into a model of ours, its logits the same")
    return replace(subject, model=model.to(find_device(device)).eval(), config=model.config, notes=notes)
