"""A run on disk: run.json, metrics.jsonl, checkpoints/, and at the end the model.

Written in an order in which every state that a killed process can leave is one that a resumed run goes on from:
run.json first; the metrics of a step before its checkpoint; the model's weights before its config; last, run.json
again, which then says that the run is finished.
"""

import json
import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from toy_models import atomic
from toy_models.checkpoint_files import (
    CHECKPOINTS,
    CONFIG,
    RUN,
    WEIGHTS,
    checkpoint_folder,
    list_checkpoints,
    write_checkpoint,
)
from toy_models.config import to_dict
from toy_models.errors import InputError
from toy_models.shelf_config import ShelfRunConfig, shelf_run_config_from_dict
from toy_models.train_config import RunConfig, run_config_from_dict
from toy_models.training.base_session import BaseSession
from toy_models.training.seeds import seed_for
from toy_models.training.target import Target

AnyRunConfig = RunConfig | ShelfRunConfig
METRICS = "metrics.jsonl"
RUN_FORMAT, RUN_FORMAT_VERSION = "interp-run", 1


class RunFolder:
    """The files of one run; made by `open_run`."""

    def __init__(self, path: Path, info: dict[str, Any]):
        self.path, self.info = path, info

    @property
    def metrics(self) -> Path:
        return self.path / METRICS

    @property
    def finished(self) -> bool:
        return self.info["result"] is not None

    @property
    def target(self) -> Target | None:
        saved = self.info["target"]
        return None if saved is None else Target.from_dict(saved)

    @property
    def newest_checkpoint(self) -> Path | None:
        found = list_checkpoints(self.path)
        return found[-1] if found else None

    def note(self, **changes: Any) -> None:
        """Changes entries of run.json."""
        self.info = {**self.info, **changes}
        atomic.write_json(self.path / RUN, self.info)

    def save(self, session: BaseSession) -> None:
        """Writes a checkpoint of a session that can be gone on from."""
        write_checkpoint(checkpoint_folder(self.path, session.step), session.files(), session.state())

    def finish(self, session: BaseSession, result: dict[str, Any]) -> None:
        """Writes the final model, then the result."""
        for name, data in session.files().items():
            atomic.write_bytes(self.path / name, data)
        self.note(status="finished", result=result)


@contextmanager
def open_run(path: Path, config: AnyRunConfig, resume: bool, overwrite: bool) -> Iterator[RunFolder]:
    """The folder of a new run, or, with `resume`, of the run of this config that is there; locked meanwhile.

    Raises `InputError` when both `resume` and `overwrite` are asked for, or neither and a run is there; when that run
    is of another kind of model or another config (naming the first difference); when another process is training in
    it; and when the folder holds something else or cannot be written.
    """
    if resume and overwrite:
        raise InputError("a run is either resumed or overwritten; ask for one of them")
    atomic.make_folder(path)
    if not os.access(path, os.W_OK):
        raise atomic.OutputError(f"cannot write {path}: no permission")
    with _locked(path):
        if resume and (path / RUN).exists():
            info = read_run(path)
            there = any_run_config(info["config"])
            if kind_of(there) != kind_of(config):
                raise InputError(f"{path} holds a run of {kind_of(there)}, and one of {kind_of(config)} was asked for")
            check_same(to_dict(there), to_dict(config), path)
            atomic.remove_partial(path)
            atomic.remove_partial(path / CHECKPOINTS)
            yield RunFolder(path, info)
            return
        if overwrite:
            for name in (CONFIG, WEIGHTS, CHECKPOINTS, METRICS, RUN):
                _remove(path / name)
        check_unused(path)
        yield RunFolder(path, describe_run(config))


def read_run(path: Path) -> dict[str, Any]:
    """What run.json says; `InputError` if it is missing, damaged or of a newer format."""
    file = path / RUN
    try:
        info = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {atomic.reason(error)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not a JSON file: {error}") from error
    if not isinstance(info, dict) or info.get("format") != RUN_FORMAT:
        raise InputError(f'{file} is not of a run of ours: "format" is not "{RUN_FORMAT}"')
    if info.get("format_version") != RUN_FORMAT_VERSION:
        raise InputError(f"{file} has format_version {info.get('format_version')}, expected {RUN_FORMAT_VERSION}")
    missing = sorted({"config", "target", "result"} - set(info))
    if missing:
        raise InputError(f"{file} holds no {missing[0]!r}")
    return info


def load_run_config(path: str | Path) -> RunConfig:
    """The config of a transformer's run in a folder, to go on with it; `InputError` if there is none."""
    config = load_any_config(path)
    if isinstance(config, ShelfRunConfig):
        raise InputError(f"{path} holds a run of {config.kind}, and one of a transformer was asked for")
    return config


def load_any_config(path: str | Path) -> AnyRunConfig:
    """The config of the run in a folder, whatever is trained there; `InputError` if there is none."""
    if not (Path(path) / RUN).exists():
        raise InputError(f"{path} holds no run to go on with: there is no {RUN}")
    return any_run_config(read_run(Path(path))["config"])


def any_run_config(values: Any) -> AnyRunConfig:
    """The config that run.json holds: of a model of the shelf where it names a kind, else of a transformer."""
    if isinstance(values, dict) and "kind" in values:
        return shelf_run_config_from_dict(values)
    return run_config_from_dict(values)


def resume_command(path: Path) -> str:
    """What to type to go on with a run."""
    return f"interp train --resume {shlex.quote(str(path))}"


def kind_of(config: AnyRunConfig) -> str:
    """What is trained."""
    return config.kind if isinstance(config, ShelfRunConfig) else "a transformer"


def check_same(there: Any, asked: Any, path: Path, name: str = "") -> None:
    """`InputError` naming the first entry in which two configs differ."""
    if isinstance(there, dict) and isinstance(asked, dict):
        for key in {**asked, **there}:
            check_same(there.get(key), asked.get(key), path, f"{name}.{key}" if name else key)
    elif there != asked:
        raise InputError(f"{path} holds another run: {name} is {there!r} there, asked for is {asked!r}")


def check_unused(path: Path) -> None:
    """`InputError` if the folder holds a run, or files that a run would replace."""
    if (path / RUN).exists():
        if read_run(path)["result"] is not None:
            raise InputError(f"{path} already holds a finished run; choose another folder")
        how = resume_command(path)
        raise InputError(f"{path} holds an unfinished run; go on with `{how}`, or choose another folder")
    for name in (CONFIG, WEIGHTS, METRICS, CHECKPOINTS):
        if (path / name).exists():
            raise InputError(f"{path} already holds {name}, which is of no run; choose another folder")


def describe_run(config: AnyRunConfig) -> dict[str, Any]:
    """run.json of a run that begins."""
    return {
        "format": RUN_FORMAT,
        "format_version": RUN_FORMAT_VERSION,
        "status": "running",
        "config": to_dict(config),
        "seeds": {purpose: seed_for(config.train.seed, purpose) for purpose in ("weights", "data", "held-out")},
        "versions": {"interp": _interp_version(), "python": platform.python_version()}
        | {name: version(name) for name in ("torch", "numpy", "safetensors")},
        "machine": {"platform": platform.platform(), "threads": torch.get_num_threads()},
        "target": None,
        "result": None,
    }


def _interp_version() -> str | None:
    try:
        return version("interp")
    except PackageNotFoundError:
        return None


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise atomic.OutputError(f"cannot remove {path}: {atomic.reason(error)}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock on the folder, which the system takes back when the process ends, however it ends."""
    if os.name == "nt":
        yield
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"another process is training in {path}") from error
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(descriptor)
