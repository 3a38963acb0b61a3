"""A model from disk, or by a name, with everything a command needs to know about it."""

from pathlib import Path

from analyses.loading import folders
from analyses.loading.folders import find_run
from analyses.loading.subject import ModelConfig, Subject, Tokens

__all__ = ["ModelConfig", "Subject", "Tokens", "find_run", "load_subject"]


def load_subject(path: str | Path, device: str = "cpu") -> Subject:
    """The model of a run or checkpoint folder.

    Raises `InputError` when there is none, or it is damaged (naming the file), and for an unknown device.
    """
    return folders.load_folder(Path(path), device)
