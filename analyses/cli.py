"""`interp`: train a small transformer, read its algorithm, and get a verdict; heavy imports happen inside commands."""

import contextlib
import errno
import gc
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence

from analyses import exits
from analyses.parsing import HelpShown, parse
from interp.errors import InputError as InterpInputError
from toy_models.errors import InputError as ModelInputError

FEW_COLLECTIONS = 50_000
"""New objects between searches for garbage. At Python's 700 the searches take half a second of an audit, most of it
while torch is imported, whose objects are there to stay."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: see `analyses.exits` for the codes."""
    gc.set_threshold(FEW_COLLECTIONS)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; whatever happens, it does not raise."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        code = perform(words)
        sys.stdout.flush()
        return code
    except (InterpInputError, ModelInputError) as error:
        return fail(str(error), exits.BAD_INPUT, debug)
    except KeyboardInterrupt as interruption:
        return fail(str(interruption) or "interrupted", exits.INTERRUPTED, debug)
    except BrokenPipeError:
        silence_output()
        return exits.PIPE_CLOSED
    except OSError as error:
        if error.errno in NO_ROOM:
            silence_output()
            where = error.filename or "standard output"
            return fail(f"cannot write {where}: {error.strerror}", exits.BAD_INPUT, debug)
        return internal(error, debug)
    except BaseException as error:  # SystemExit too: a library that exits must not pass for a verdict
        return internal(error, debug)


def perform(words: list[str]) -> int:
    """Run the command that the words ask for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a token must not stop us
    try:
        command = parse(words)
    except HelpShown:
        return exits.OK
    use_threads(command.threads)
    module = importlib.import_module(f"analyses.commands.{command.command()}")
    code = module.run(command)
    if not isinstance(code, int):
        raise TypeError(f"{module.__name__}.run returned {code!r} instead of an exit code")
    return int(code)


def use_threads(threads: int) -> None:
    """CPU threads of everything that follows."""
    import torch

    torch.set_num_threads(threads)


def silence_output() -> None:
    """Send what is still to be written to standard output nowhere, so that closing it at exit does not complain."""
    with contextlib.suppress(OSError, ValueError):  # a replaced stdout need not have a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def internal(error: BaseException, debug: bool) -> int:
    """A fault of ours."""
    message = f"internal error, please report it (--debug shows more): {type(error).__name__}: {error}"
    return fail(message, exits.INTERNAL_ERROR, debug)


def fail(message: str, code: int, debug: bool) -> int:
    """One line on standard error, with the traceback above it when asked."""
    if debug:
        traceback.print_exc()
    print(f"interp: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
