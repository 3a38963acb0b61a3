"""Verdicts do not hang on the precision of the weights: bfloat16 gives those of float32."""

import pytest
import torch

from analyses.audit import audit
from toy_models import handmade

NAMES = ("previous_token", "induction_k", "induction_q", "induction_smeared", "anti_copying")


@pytest.mark.parametrize("name", NAMES)
def test_weights_rounded_to_bfloat16_get_the_verdicts_of_float32(name):
    made = handmade.make(name)
    bos = 0
    exactly = audit(made.model, bos=bos)
    rounded = audit(made.model.to(torch.bfloat16), bos=bos)
    for one, two in zip(exactly.verdicts, rounded.verdicts, strict=True):
        assert (two.head, two.role, two.confidence) == (one.head, one.role, one.confidence)
        for mine, theirs in zip(one.claims, two.claims, strict=True):
            assert [(e.kind, e.status) for e in theirs.evidence] == [(e.kind, e.status) for e in mine.evidence]
