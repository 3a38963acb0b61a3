"""Which earlier heads carry the scores of the heads that match prefixes, on the report's own tokens."""

from collections.abc import Mapping

from analyses.paths.scores import Side
from analyses.report.context import Context
from interp.names import Head
from interp.stats import Estimate


def carried(context: Context) -> Mapping[tuple[Head, Head, Side], Estimate]:
    """By earlier head, later head and side ("K" or "Q"): the part of the later head's contrast, in score units, that
    its key (or query) gets from what the earlier head writes; a term with both counts in both.

    The contrast is the score at what followed earlier copies minus that at the other keys. Of heads that match
    prefixes only: empty where no head has such a role, or behaviour was left out.
    """
    return {
        (earlier, later, side): estimate
        for later, parts in context.score_parts.items()
        for (earlier, side), estimate in parts.carried.estimates.items()
    }
