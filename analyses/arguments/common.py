"""What commands share: the options of all, of those on a model and of those on a sequence; no torch import."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from toy_models.errors import InputError

HEAD_HELP = "Only this head, as L1H3 or 1.3; may be repeated."


def _numbers(words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(number) for word in words for number in word.split(",") if number)
    except ValueError:
        raise InputError(f"--tokens takes whole numbers, as in --tokens 0 5 3 5, got {' '.join(words)!r}") from None


def number(kind: type[int] | type[float], called: str) -> Callable[[list[str]], int | float]:
    """A reader of one number, for `optional`."""

    def read(words: list[str]) -> int | float:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"expected {called}, got {words[0]!r}") from None

    return read


def optional(metavar: str, read: Any, nargs: Any = 1) -> PrimitiveConstructorSpec[Any]:
    """How tyro reads an option that may be left out; without this, the word None would leave it out too."""
    return PrimitiveConstructorSpec(nargs, metavar, read, lambda value: True, lambda value: ["none"])


def one_of(*choices: str) -> PrimitiveConstructorSpec[Any]:
    """How tyro reads one of these words, or nothing where the option is left out."""
    return PrimitiveConstructorSpec(
        1, f"{{{','.join(choices)}}}", lambda words: words[0], lambda value: True, lambda value: ["none"], choices
    )


ModelPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Folder = Annotated[Path | None, optional("DIR", lambda words: Path(words[0]))]
Text = Annotated[str | None, optional("TEXT", lambda words: words[0])]
Tokens = Annotated[tuple[int, ...] | None, optional("N [N ...]", _numbers, "*")]
HeadNames = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="HEAD", help=HEAD_HELP)]
Whole = Annotated[int | None, optional("INT", number(int, "a whole number"))]
Real = Annotated[float | None, optional("FLOAT", number(float, "a number"))]
HeadName = Annotated[str | None, optional("HEAD", lambda words: words[0])]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options that every command has."""

    json: bool = False
    """Print the result as one JSON object on standard output, and nothing else there."""
    out: Folder = None
    """Folder for the files; without it, the folder of the run or checkpoint."""
    seed: int = 0
    """Seed of everything random here."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, cuda:1, or auto for a GPU where there is one."""
    threads: int = 1
    """CPU threads. Small models are quickest on one, above all on a busy machine; raise it for large ones. To end with
    the same weights to the last bit, a resumed run needs as many as before."""
    debug: bool = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"--threads must be at least 1, got {self.threads}")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"--seed must be 0 or above and below 2**63, got {self.seed}")

    @classmethod
    def command(cls) -> str:
        """The command's name, as it is typed; that of its module too."""
        return cls.__name__.lower()


@dataclass(frozen=True, kw_only=True)
class OnModel(Common):
    """Options of the commands that read a model."""

    model: ModelPath
    """Run or checkpoint folder, Hugging Face folder (safetensors), GGUF file, or the name of a model."""


@dataclass(frozen=True, kw_only=True)
class OnSequence(OnModel):
    """Options of the commands that run a model on one sequence."""

    text: Text = None
    """Text to run, in the model's own vocabulary."""
    tokens: Tokens = None
    """Token numbers to run, as they are; without text and tokens, repeated random tokens."""
