"""`interp lens --tuned` on models where what can be read is known."""

import json

import pytest
import torch
from matplotlib.figure import Figure

from analyses import tuned
from analyses.tuned import others
from interp.heads import repeated_tokens
from interp.heads.stimuli import Protocol
from toy_models.errors import InputError

pytest_plugins = ("tests.command_line",)


@pytest.fixture
def quick(monkeypatch):
    """Figures are made but not drawn, and training is short."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    monkeypatch.setattr(tuned, "TRAINING", 64)


def test_tuned_says_after_which_layer_and_by_which_head_induction_is_readable(interp, quick, induction, tmp_path):
    called = interp("lens", induction, "--tuned", "--out", tmp_path)
    assert "90% of the gap is closed: after layer 1 (interval: after layer 1) by the tuned lens" in " ".join(
        called.out.split()
    )
    rows = [line.split() for line in called.out.splitlines()]
    losses = next(row for row in rows if row[:3] == ["after", "layer", "1"] and len(row) == 13)
    assert losses[3] == losses[4] == "0.000"
    heads = [row for row in rows if len(row) == 4 and row[0] in ("L0H0", "L1H0")]
    assert [row[0] for row in heads] == ["L1H0", "L0H0"]
    assert float(heads[0][1]) > 2.5
    assert heads[1][1:] == ["0.000", "[0.000,", "0.000]"]
    assert "training the tuned lens on 64 sequences" in called.err
    assert max(map(len, called.out.splitlines())) <= 98


def test_tuned_json_has_the_three_lenses_and_what_they_were_trained_on(interp, quick, induction, tmp_path):
    found = interp("lens", induction, "--tuned", "--json", "--out", tmp_path).json
    plain = interp("lens", induction, "--json", "--out", tmp_path / "plain").json
    assert plain["tuned"] is None
    assert found["statistics"] == plain["statistics"]
    tuned = found["tuned"]
    assert tuned["training"]["n_training"] + tuned["training"]["n_validation"] == 64
    held = tuned["held_out"]
    assert held["logit"]["loss"]["mean"] == pytest.approx(plain["statistics"]["lens"]["loss"]["mean"], abs=1e-6)
    assert held["gain_over_bias"]["mean"][-1] == pytest.approx(0, abs=1e-6)
    assert held["tuned"]["loss"]["low"][2] < held["tuned"]["loss"]["mean"][2] < held["tuned"]["loss"]["high"][2]
    assert tuned["readable"]["tuned"]["point"] == tuned["brought_by"]["point"] == "blocks.1.hook_resid_post"
    assert json.loads((tmp_path / "lens.json").read_text())["tuned"] == tuned


def test_tuned_says_that_an_untrained_model_has_nothing_to_read(interp, quick, tiny, tmp_path):
    called = interp("lens", tiny, "--tuned", "--out", tmp_path)
    assert "nowhere, since the model's own loss is not surely below" in " ".join(called.out.split())
    assert "loss rises by" not in called.out
    assert json.loads((tmp_path / "lens.json").read_text())["tuned"]["brought_by"] is None


@pytest.mark.parametrize("given", [("--tokens", 0, 3), ("--text", "ab")])
def test_tuned_on_a_given_sequence_is_refused(interp, induction, tmp_path, given):
    called = interp("lens", induction, "--tuned", "--out", tmp_path, *given)
    assert called.code == 2
    assert "leave out --text and --tokens" in called.err


def test_training_sequences_differ_from_each_other_and_from_what_is_measured(generator):
    protocol = Protocol(2, 3, 5, 0)
    tokens = repeated_tokens(protocol, 6, generator)
    found = others(protocol, tokens, generator)
    measured = tokens.unique(dim=0)
    # Of 4 tokens, 24 blocks of 3 can be made.
    assert len(found) == 24 - len(measured)
    assert len(torch.cat([found, measured]).unique(dim=0)) == 24
    with pytest.raises(InputError, match=r"at least 8 training sequences .* gives 0"):
        others(Protocol(2, 2, 3, 0), repeated_tokens(Protocol(2, 2, 3, 0), 30, generator), generator)
