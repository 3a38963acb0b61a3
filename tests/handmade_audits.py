"""Audits made once for all tests of a run. In a test module: `pytest_plugins = ("tests.handmade_audits",)`."""

import pytest

from analyses.audit import AuditReport, audit
from toy_models.config import TransformerConfig
from toy_models.handmade import make
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer


@pytest.fixture(scope="session")
def handmade_audits() -> dict[str, AuditReport]:
    """Of every way in which induction can be made by hand, by name."""
    names = ("induction_k", "induction_q", "induction_both", "induction_smeared")
    return {name: audit(make(name).model, bos=0) for name in names}


@pytest.fixture(scope="session")
def untrained_audit() -> AuditReport:
    """Of the default model before any training."""
    return audit(Transformer(TransformerConfig(), generator_for(0, "weights")), bos=0)
