"""Our own run and checkpoint folders."""

from pathlib import Path

from analyses.loading.subject import Subject
from toy_models.checkpoint import CHECKPOINTS, RUN, load_checkpoint
from toy_models.errors import InputError


def load_folder(path: Path, device: str) -> Subject:
    """The model of a run folder or a checkpoint folder.

    Raises `InputError` when there is none, or it is damaged (naming the file), when what is said about its vocabulary
    or task cannot be, and for an unknown device.
    """
    checkpoint = load_checkpoint(path, device)
    try:
        vocabulary, task = checkpoint.vocabulary, checkpoint.task
        if vocabulary is not None and len(vocabulary) != checkpoint.config.d_vocab:
            d_vocab = checkpoint.config.d_vocab
            raise InputError(f"the vocabulary has {len(vocabulary)} tokens, the model's d_vocab is {d_vocab}")
        step = checkpoint.metadata.get("step")
        if not (step is None or (isinstance(step, int) and step >= 0)):
            raise InputError(f"step must be a whole number of 0 or above, got {step!r}")
    except InputError as error:
        raise InputError(f"{checkpoint.path / 'config.json'}: metadata: {error}") from error
    return Subject(
        model=checkpoint.model,
        config=checkpoint.config,
        path=path,
        checkpoint=checkpoint.path,
        run=find_run(path),
        model_hash=checkpoint.model_hash,
        vocabulary=vocabulary,
        task=task,
        step=step,
        bos=None if vocabulary is None else vocabulary.bos,
    )


def find_run(path: Path) -> Path | None:
    """The run folder that a folder is, or whose checkpoint it is."""
    path = path.resolve()
    if (path / RUN).exists():
        return path
    above = path.parent.parent
    return above if path.parent.name == CHECKPOINTS and (above / RUN).exists() else None
