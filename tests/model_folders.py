"""Tiny Hugging Face folders, made once.

In a test module: `pytest_plugins = ("tests.model_folders",)`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.foreign_models import save


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Callable[[str], Path]:
    """`model_folder("llama")`: a folder that `save_pretrained` wrote, once for each kind; not to be changed."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / kind
            save(kind, made[kind])
        return made[kind]

    return make
