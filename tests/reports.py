"""Reports made once for all tests of a run. In a test module: `pytest_plugins = ("tests.reports",)`."""

import pytest

from tests.report_pages import Made, make_report, save_handmade
from toy_models.checkpoint import save_checkpoint
from toy_models.config import TransformerConfig
from toy_models.training.seeds import generator_for
from toy_models.transformer import Transformer


@pytest.fixture(scope="session")
def induction_report(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of the handmade K-composition induction model: L0H0 looks back by one, L1H0 is the induction head."""
    return make_report(save_handmade(tmp_path_factory.mktemp("report") / "induction", "induction_k"))


@pytest.fixture(scope="session")
def default_report(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of the default model before any training."""
    folder = tmp_path_factory.mktemp("report") / "default"
    save_checkpoint(folder, Transformer(TransformerConfig(), generator_for(0, "weights")))
    return make_report(folder)
