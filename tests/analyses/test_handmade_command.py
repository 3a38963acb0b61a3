"""`interp handmade`: checkpoints that every command reads, with a truth that holds for the weights on disk."""

import dataclasses
import json
import os

import pytest
import torch
from matplotlib.figure import Figure

from analyses.arguments import COMMANDS, OnModel
from analyses.arguments import Handmade as Options
from analyses.commands import circuits, composition
from analyses.loading import load_subject
from tests.toy_models.handmade_measures import edges_of, measure_all
from toy_models.handmade import Edge, Expected, Size, make, names
from toy_models.handmade.variants import with_noise
from toy_models.training.seeds import generator_for

pytest_plugins = ("tests.command_line",)

NO_INDUCTION = [name for name in names() if make(name).truth.composition is None]
CHANGES = ("--idle", 1, "--permute", "--head-basis", "--basis")


@pytest.fixture
def written(interp, tmp_path):
    """Calls `interp handmade` and gives the folder it wrote and the model as the other commands load it."""

    def call(name, *words):
        folder = tmp_path / name
        called = interp("handmade", name, "--out", folder, *words)
        assert (called.code, called.err) == (0, "")
        return folder, load_subject(folder)

    return call


def head(name):
    layer, index = name.removeprefix("L").split("H")
    return int(layer), int(index)


def node(name):
    return name if name in ("token", "position", "logits") else head(name)


def wrong_on_disk(name, folder, model):
    """What truth.json states and the weights on disk do not do: measured quantities and edges."""
    stated = json.loads((folder / "truth.json").read_text())
    made = make(name)
    expected = tuple(
        Expected(e["quantity"], e["value"], e["tolerance"], tuple(map(head, e["at"]))) for e in stated["expected"]
    )
    on_disk = dataclasses.replace(made, model=model, truth=dataclasses.replace(made.truth, expected=expected))
    wrong = [(e, value) for e, value in measure_all(on_disk) if not e.holds(value)]
    edges = {Edge(node(a), node(b), channel) for a, b, channel in stated["edges"]}
    if model.W_E.dtype == torch.float64:  # in float32 another basis leaves products that are 0 but for 1e-7
        wrong += edges_of(model, [head(each) for each in stated["roles"]]) ^ edges
    return wrong, expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", names())
def test_weights_on_disk_do_what_the_truth_beside_them_says(written, name, dtype):
    folder, subject = written(name, "--dtype", dtype, *CHANGES)
    assert subject.model.W_E.dtype == getattr(torch, dtype)
    with torch.no_grad():
        wrong, expected = wrong_on_disk(name, folder, subject.model)
    assert wrong == []
    assert len(expected) > 1


@pytest.mark.parametrize("name", names())
def test_without_changes_the_model_on_disk_is_the_one_of_make(written, name):
    folder, subject = written(name, "--dtype", "float64")
    made = make(name)
    state = made.model.state_dict()
    assert {n: torch.equal(t, state[n]) for n, t in subject.model.state_dict().items()} == dict.fromkeys(state, True)
    assert json.loads((folder / "truth.json").read_text()) == made.truth.to_dict()
    assert (subject.labels, subject.bos) == (made.labels, 0)


@pytest.mark.parametrize("command", [name for name, kind in COMMANDS.items() if issubclass(kind, OnModel)])
def test_every_command_runs_on_it(interp, written, monkeypatch, command):
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    for module in (circuits, composition):
        monkeypatch.setattr(module, "DRAWS", 6)
    folder, _ = written("induction_k", "--d-vocab", 20, "--n-ctx", 40)
    assert interp(command, folder, "--json").code == 0


@pytest.mark.parametrize("name", sorted(set(names()) - set(NO_INDUCTION)))
def test_the_audit_expects_induction_of_it_and_finds_it(interp, written, name):
    folder, _ = written(name)
    assert interp("audit", folder, "--no-report", "--expect", "induction").code == 0


@pytest.mark.parametrize("name", NO_INDUCTION)
def test_the_audit_finds_no_induction_in_what_has_none(interp, written, name):
    folder, _ = written(name)
    called = interp("audit", folder, "--no-report", "--expect", "induction", "--confidence", "weak")
    assert called.code == 1
    assert "induction" not in [row.split()[1] for row in called.out.splitlines() if row[:3] in ("L0H", "L1H", "L2H")]


def test_it_prints_roles_with_what_they_read_and_values_with_tolerances(interp, tmp_path):
    called = interp("handmade", "induction_k", "--out", tmp_path / "k")
    assert called.row("L0H0", "previous-token") == ["L0H0", "previous-token", "position", "position", "token"]
    assert called.row("L1H0", "induction") == ["L1H0", "induction", "token", "L0H0", "token"]
    assert called.row("logits") == ["logits", "L1H0"]
    assert called.row("K-composition") == ["K-composition", "L0H0", "→", "L1H0", "0.250000", "2e-05"]
    assert called.row("order-0", "loss") == ["order-0", "loss", "2.772589", "2e-05"]
    assert "Induction: K; 7 edges." in " ".join(called.out.split())
    assert max(map(len, called.out.splitlines())) <= 98
    control = interp("handmade", "untrained", "--out", tmp_path / "u")
    assert "  position, token, L0H0  " in next(line for line in control.out.splitlines() if line.startswith("L1H0"))
    assert f"next: interp audit {tmp_path / 'k'}" in called.out


def test_json_holds_the_truth_and_the_recipe_and_so_does_the_checkpoint(interp, tmp_path):
    words = ("handmade", "shift_by", "--option", "by=3", "--gain", 9, *CHANGES, "--seed", 4, "--json")
    found = interp(*words, "--out", tmp_path / "s").json
    truth = json.loads((tmp_path / "s" / "truth.json").read_text())
    assert found["truth"] == truth
    assert "Predicts the token 3 back." in truth["summary"]
    assert sorted(truth["roles"].values()) == ["idle", "shift"]
    recipe = json.loads((tmp_path / "s" / "config.json").read_text())["metadata"]["handmade"]
    assert recipe["options"] == {"by": "3"}
    assert (recipe["gain"], recipe["idle"], recipe["seed"], recipe["basis"]) == (9.0, 1, 4, True)
    assert {name: found[name] for name in recipe} == recipe
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == sorted(found["files"])


def test_each_change_changes_what_it_is_named_after(written):
    def weights(*words):
        folder, subject = written("induction_both", "--dtype", "float64", *words)
        folder.rename(folder.with_name("-".join(["made", *map(str, words)])))
        return subject.model

    plain, moved, turned = weights(), weights("--basis"), weights("--head-basis")
    ordered, wider, noisy = weights("--permute", "--seed", 1), weights("--idle", 2), weights("--noise", 0.1)
    assert (moved.W_E - plain.W_E).norm() > 0.5 * plain.W_E.norm()
    assert torch.equal(turned.W_E, plain.W_E)
    assert (turned.W_K - plain.W_K).norm() > 0.5 * plain.W_K.norm()
    assert torch.equal(ordered.W_Q.sum(1), plain.W_Q.sum(1))
    assert not torch.equal(ordered.W_Q, plain.W_Q)
    assert torch.equal(wider.W_Q[:, :2], plain.W_Q)
    assert wider.config.n_heads == 4
    assert ((noisy.W_E - plain.W_E).norm() / plain.W_E.norm()).item() == pytest.approx(0.1, rel=0.1)


def test_the_same_seed_writes_the_same_weights_and_another_seed_others(interp, tmp_path):
    def weights(folder, seed):
        words = ("handmade", "induction_both", "--noise", 0.1, *CHANGES, "--seed", seed, "--out", tmp_path / folder)
        assert interp(*words).code == 0
        return (tmp_path / folder / "model.safetensors").read_bytes()

    assert weights("a", 1) == weights("b", 1) != weights("c", 2)


def test_what_follows_noise_leaves_alone_what_the_noisy_model_computes(written):
    _, noisy = written("induction_q", "--dtype", "float64", "--noise", 0.05)
    tokens = make("induction_q").example_tokens
    wanted = with_noise(make("induction_q"), generator_for(0, "noise"), 0.05).model
    with torch.no_grad():
        assert torch.equal(noisy.model(tokens), wanted(tokens))
        noisy.path.rename(noisy.path.with_name("first"))
        _, changed = written("induction_q", "--dtype", "float64", "--noise", 0.05, *CHANGES)
        torch.testing.assert_close(changed.model(tokens), wanted(tokens), rtol=0, atol=1e-6)
        assert (changed.model(tokens) - make("induction_q").model(tokens)).abs().max() > 0.1


def test_a_noisy_model_promises_no_value(interp, tmp_path):
    called = interp("handmade", "induction_k", "--noise", 0.1, "--out", tmp_path / "n")
    assert "No value is promised: noise was added to the weights." in called.out
    assert json.loads((tmp_path / "n" / "truth.json").read_text())["expected"] == []


def test_without_a_name_every_model_is_listed_with_its_summary(interp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = interp("handmade")
    assert called.code == 0
    words = " ".join(called.out.split())
    for name in names():
        assert f"{name} {make(name).truth.summary}" in words
    listed = interp("handmade", "--json").json["models"]
    assert {each["name"]: each["induction"] for each in listed} == {n: make(n).truth.composition for n in names()}
    assert list(tmp_path.iterdir()) == []


def test_without_out_it_is_written_into_runs(interp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert interp("handmade", "two_back").code == 0
    assert (tmp_path / "runs" / "two_back" / "truth.json").exists()


def test_defaults_are_those_of_the_handmade_models():
    options, size = Options(), Size()
    for name in ("d_vocab", "n_ctx", "sharpness", "gain"):
        assert getattr(options, name) == getattr(size, name)


def test_a_table_of_skip_trigrams_is_read_from_words(written):
    folder, subject = written("skip_trigram", "--option", "table=a b c, d e f")
    assert subject.labels[1:7] == ("a", "b", "c", "d", "e", "f")
    assert "a..b→c, d..e→f" in json.loads((folder / "truth.json").read_text())["summary"]


REFUSED = {
    "unknown model": (["induktion_k"], "no handmade model is called 'induktion_k'; try induction_k"),
    "option without a model": (["--basis"], "--basis needs the NAME of a model; one of previous_token"),
    "folder without a model": (["--out", "x"], "--out needs the NAME of a model"),
    "unknown option of the model": (["shift_by", "--option", "far=2"], "shift_by has no option 'far'; its own are by"),
    "size as an option": (["induction_k", "--option", "gain=2"], "no option 'gain'; it has none of its own"),
    "no key": (["shift_by", "--option", "3"], "--option takes KEY=VALUE, as in --option by=3, got '3'"),
    "words for a number": (["shift_by", "--option", "by=two"], "by must be a whole number, got 'two'"),
    "a fraction": (["shift_by", "--option", "by=1.5"], "by must be a whole number, got '1.5'"),
    "infinite": (["induction_q", "--option", "recency=inf"], "recency must be 0 or above, got inf"),
    "unknown choice": (["no_copy", "--option", "writes=much"], "writes must be one of 'another token', 'nothing'"),
    "a table of pairs": (["skip_trigram", "--option", "table=a b"], "table must hold entries of three words"),
    "too small": (["induction_k", "--d-vocab", 3], "d_vocab must be at least 4, got 3"),
    "not a number": (["induction_k", "--gain", "nan"], "gain must be a positive number, got nan"),
    "negative noise": (["induction_k", "--noise", -1], "--noise must be 0 or above, got -1.0"),
    "noise that is no number": (["induction_k", "--noise", "nan"], "--noise must be 0 or above, got nan"),
    "negative idle heads": (["induction_k", "--idle", -1], "--idle must be 0 or above, got -1"),
    "noise beyond the numbers": (["induction_k", "--noise", 1e300], "holds"),
    "unknown device": (["induction_k", "--device", "tpu"], "'tpu'"),
    "second model": (["induction_k", "two_back"], "unrecognized options: two_back"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_made_is_refused_in_one_line_and_nothing_is_written(interp, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, message = REFUSED[case]
    called = interp("handmade", *words)
    assert (called.code, called.out) == (2, "")
    assert message in called.err
    assert called.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "already holds a checkpoint (config.json)"),
        ("model.safetensors", "already holds a checkpoint (model.safetensors)"),
        ("run.json", "already holds a run (run.json)"),
        ("holiday.jpg", "is not empty: it holds holiday.jpg"),
    ],
)
def test_a_folder_that_holds_something_is_left_alone(interp, tmp_path, tree, file, message):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / file).write_text("mine")
    before = tree(tmp_path)
    called = interp("handmade", "induction_k", "--out", tmp_path / "there")
    assert (called.code, called.out) == (2, "")
    assert message in called.err
    assert tree(tmp_path) == before


def test_an_empty_folder_is_filled(written, tmp_path):
    (tmp_path / "induction_k").mkdir()
    written("induction_k")
    files = {path.name for path in (tmp_path / "induction_k").iterdir()}
    assert {"config.json", "model.safetensors", "truth.json"} <= files


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(interp, tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.commands.handmade.make_from_text", pytest.fail)
    (tmp_path / "file").write_text("mine")
    assert "is a file" in interp("handmade", "induction_k", "--out", tmp_path / "file" / "out").err
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    called = interp("handmade", "induction_k", "--out", tmp_path / "out")
    assert called.code == 2
    assert "no permission to write" in called.err
