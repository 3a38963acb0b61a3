"""Exit codes of the `interp` command, so that it can stand in a script."""

OK = 0
"""The command did what was asked; every expectation holds."""
EXPECTATION_FAILED = 1
"""The audit was made, and an --expect does not hold."""
BAD_INPUT = 2
"""Nothing was done: a file, a value or an option is not usable."""
UNDECIDED = 3
"""The audit was made, but evidence that an --expect needs is missing or was skipped."""
INTERNAL_ERROR = 70
"""A fault of ours (EX_SOFTWARE of sysexits.h); never 1, so that a crash cannot pass for a verdict."""
INTERRUPTED = 130
"""Ctrl-C (128 + SIGINT)."""
PIPE_CLOSED = 141
"""Whoever read our output closed it early, as `| head` does (128 + SIGPIPE)."""
