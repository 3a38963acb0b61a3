"""The one exception that `interp` raises for what the caller passed."""


class InputError(ValueError):
    """What the caller passed cannot be used.

    Raised before any work starts. The message is one line: what was expected, what came, and what to do.
    The command line prints it as it is and exits with code 2, so it is written for the person who
    typed the command. Anything else that is raised is a defect of this package.
    """


class NotFinite(InputError):
    """Weights are finite, but what the model computes of them is NaN or infinite: nothing can be measured of that."""
