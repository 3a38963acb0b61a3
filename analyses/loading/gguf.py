"""GGUF files, read by transformers with the package `gguf`; quantised weights become float32."""

from importlib.util import find_spec
from pathlib import Path

from analyses.loading.bridges import bridge_of, config_of, quiet, subject_of
from analyses.loading.hugging_face import architecture_of, check_readable, read_model
from analyses.loading.subject import Subject
from analyses.loading.tokenizer import special_tokens
from analyses.loading.weight_files import INDEX, WHOLE
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.weights_file import model_hash

MAGIC = b"GGUF"


def is_gguf(path: Path) -> bool:
    """Whether it is a GGUF file, or a folder with such and no safetensors."""
    if not path.is_dir():
        return path.suffix == ".gguf" and path.exists()
    return any(path.glob("*.gguf")) and not any((path / name).exists() for name in (WHOLE, INDEX))


def load_gguf(path: Path, device: str) -> Subject:
    """The model of a GGUF file, or of a folder that holds one.

    Tokens are shown by their numbers. Raises `InputError` without the package `gguf`, for several files, damaged ones,
    and architectures that cannot be read.
    """
    find_device(device)
    file = only_file(path)
    if find_spec("gguf") is None:
        raise InputError(f"{file}: GGUF files are read with the package gguf: pip install 'interp[gguf]'")
    try:
        with open(file, "rb") as opened:
            begins = opened.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    if begins != MAGIC:
        raise InputError(f"{file}: not a GGUF file: it does not begin with {MAGIC.decode()}")
    options = {"gguf_file": file.name}
    with quiet(f"{file}: transformers cannot read it"):
        from transformers import AutoConfig

        theirs = AutoConfig.from_pretrained(file.parent, local_files_only=True, trust_remote_code=False, **options)
        theirs.architectures = None  # not written in such a file
        architecture = architecture_of(file, theirs)
    with quiet(f"{file}: transformers cannot load it"):
        model = read_model(file.parent, theirs, use_safetensors=None, **options)
        digest, bridge = model_hash(model), bridge_of(model, architecture, file.stem)
    check_readable(file, bridge)
    special = special_tokens(theirs.to_dict(), int(bridge.cfg.d_vocab))
    bos = theirs.bos_token_id if theirs.bos_token_id in special else None
    return subject_of(
        bridge,
        config_of(bridge, architecture, bool(theirs.tie_word_embeddings)),
        path,
        file,
        digest,
        device=device,
        bos=bos,
        excluded=tuple(token for token in special if token != bos),
        home=file.parent,
        notes=("GGUF, read as float32",),
    )


def only_file(path: Path) -> Path:
    """The file itself, or the only one of a folder."""
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(f"{path} holds {len(files)} GGUF files; give one of them, as in {files[0]}")
    return files[0]
