"""A model from disk, or by a name, with everything a command needs to know about it."""

from collections.abc import Callable
from pathlib import Path

from analyses.loading import folders, gguf, hub, hugging_face
from analyses.loading.folders import find_run
from analyses.loading.subject import ModelConfig, Subject, Tokens

__all__ = ["ModelConfig", "Subject", "Tokens", "find_run", "load_subject"]

READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path, str], Subject]], ...] = (
    (gguf.is_gguf, gguf.load_gguf),
    (hugging_face.is_hugging_face, hugging_face.load_hugging_face),
    (hub.is_name, hub.load_named),
)
"""What a path may be besides a folder of ours, and who reads it."""


def load_subject(path: str | Path, device: str = "cpu") -> Subject:
    """The model of a run or checkpoint folder, a Hugging Face folder, a GGUF file or a name of the Hub.

    Raises `InputError` when there is none, or it is damaged (naming the file), cannot be read without running or
    unpickling what it brings, is of a kind that cannot be measured, and for an unknown device.
    """
    path = Path(path)
    load = next((load for reads, load in READERS if reads(path)), folders.load_folder)
    return load(path, device)
