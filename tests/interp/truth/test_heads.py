"""Where the heads of handmade models attend, by the library's detectors, on their example tokens."""

from interp.heads import score_heads
from tests.interp.truth_copies import copy_of, every_copy, every_model, stated, wrong

DETECTORS = {
    "previous-token": "previous_token",
    "current-token": "current_token",
    "first-token": "first_token",
    "duplicate-token": "duplicate_token",
    "prefix-matching": "prefix_matching",
}


@every_copy
@every_model
def test_detectors_score_heads_as_the_truth_says(name, copy, generator):
    made = copy_of(name, copy)
    found = score_heads(made.model, made.example_tokens, generator, DETECTORS.values())
    known = stated(made, *DETECTORS)
    assert known or name in ("skip_trigram", "shift_by")
    assert wrong((e, float(found[DETECTORS[e.quantity]].score[e.at[0]])) for e in known) == {}
