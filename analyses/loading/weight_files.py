"""The weight files of a Hugging Face folder, judged by their headers before anything large is read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toy_models.errors import InputError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True)
class WeightFiles:
    """What the headers of a folder's safetensors files say."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """How many numbers the files hold."""
        return sum(count(shape) for shape in self.shapes.values())


def read_headers(folder: Path) -> WeightFiles:
    """Names, shapes and types in model.safetensors, or in the shards that its index lists.

    Raises `InputError` where there are none or pickled ones only, for a file that is missing or truncated, and for
    types that are not floating point.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    types: set[str] = set()
    for file in files_of(folder):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 (not a mapping)
                    part = opened.get_slice(name)
                    shapes[name] = tuple(part.get_shape())
                    types.add(str(part.get_dtype()))
        except FileNotFoundError:
            raise InputError(f"{file}: the file is missing, though {INDEX} lists it") from None
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(f"{file}: truncated, or not a safetensors file ({error})") from error
    if unread := sorted(types - set(DTYPES)):
        raise InputError(f"{folder}: weights of type {unread[0]} are not read; give {', '.join(DTYPES.values())}")
    if not shapes:
        raise InputError(f"{folder}: its safetensors files hold no tensors")
    return WeightFiles(shapes, tuple(sorted(DTYPES[kind] for kind in types)))


def files_of(folder: Path) -> Iterator[Path]:
    if (folder / WHOLE).exists():
        yield folder / WHOLE
        return
    if (folder / INDEX).exists():
        names = set(read_object(folder / INDEX).get("weight_map", {}).values())
        if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise InputError(f"{folder / INDEX}: its weight_map must give the file in this folder of each tensor")
        yield from (folder / name for name in sorted(names))
        return
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        raise InputError(
            f"{folder} holds {pickled[0]} but no {WHOLE}: pickled weights can run code when they are read, so they are "
            "not; save the model again with save_pretrained of transformers, which writes safetensors"
        )
    raise InputError(f"{folder / WHOLE}: the file is missing, and there is no {INDEX}")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; `InputError` naming the file otherwise."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold a JSON object, got {type(values).__name__}")
    return values


def count(shape: tuple[int, ...]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
