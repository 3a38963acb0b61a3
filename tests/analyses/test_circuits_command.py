"""`interp circuits` at any vocabulary: the small numbers are exact, the large ones are sampled and say so."""

import pytest
import torch
from matplotlib.figure import Figure

from analyses import circuit_readings
from analyses.circuit_readings import Budget, attended, bar, budget, raised
from analyses.circuit_tables import amount
from analyses.commands import circuits as command
from analyses.loading import load_subject
from interp.names import Head
from interp.weights import weights_of

pytest_plugins = ("tests.command_line",)
DRAWS = 5
PLAN = Budget(large=True, draws=DRAWS, ranked=7, sorted=4)


@pytest.fixture
def quick(monkeypatch):
    """Figures are made but not drawn, nulls have few draws."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"\x89PNG"))
    monkeypatch.setattr(command, "DRAWS", DRAWS)


@pytest.fixture
def large(quick, monkeypatch):
    """Every vocabulary is treated as a large one."""
    monkeypatch.setattr(command, "budget", lambda d_vocab, draws: PLAN)


def test_a_vocabulary_is_large_from_a_stated_size_on_and_then_sampled():
    assert budget(circuit_readings.LARGE - 1, 200) == Budget(False, 200, None, 256)
    assert budget(circuit_readings.LARGE, 200) == Budget(True, 50, 2000, 64)
    assert budget(64, 200).describe(64, named=False) == ""
    said = budget(50_257, 200).describe(50_257, named=False)
    assert said.startswith("With 50,257 tokens: 50 relabellings; top-1 and top-5 of 2,000 tokens drawn at random;")
    assert "searched only in heads named by --head" in said
    assert "searched" not in budget(50_257, 200).describe(50_257, named=True)


def test_own_entries_and_ranks_are_those_of_the_dense_tables(interp, quick, tiny, tmp_path):
    found = interp("circuits", tiny, "--json", "--out", tmp_path).json["heads"]
    w = weights_of(load_subject(tiny).model)
    for head in (Head(0, 1), Head(1, 0)):
        for name, table in (("ov", raised(w, head)), ("qk", attended(w, head, None))):
            ours, dense, n = found[str(head)][name], table.dense().double(), w.d_vocab
            order = dense.argsort(-1, descending=True)
            for k in (1, 5):
                inside = (order[:, :k] == torch.arange(n)[:, None]).any(-1).double().mean()
                assert ours["own_entry"][f"top{k}"]["mean"] == pytest.approx(float(inside))
                assert ours["own_entry"][f"top{k}"]["chance"] == pytest.approx(k / n)
            assert ours["own_entry"]["top1"]["mean"] == ours["top1"]["value"]
            z = dense.diagonal() / dense.square().mean(-1).sqrt()
            assert ours["own_entry"]["deviations"] == pytest.approx(float(z.mean()), abs=1e-5)
            sigma = torch.linalg.svdvals(dense)
            assert ours["rank"]["numerical"] <= ours["rank"]["at_most"] == w.d_head
            assert ours["rank"]["stable"] == pytest.approx(float(sigma.square().sum() / sigma[0] ** 2), rel=1e-4)
            assert ours["concentration"]["entries"]["n"] == n
            assert 0 < ours["concentration"]["entries"]["mean"] < 1


def test_copying_of_a_large_vocabulary_is_that_of_a_small_one_with_fewer_draws(interp, large, tiny, tmp_path):
    sampled = interp("circuits", tiny, "--json", "--out", tmp_path).json
    command.budget = budget
    exact = interp("circuits", tiny, "--json", "--out", tmp_path).json
    assert (sampled["sampled"] != "", exact["sampled"]) == (True, "")
    for head, ours in sampled["heads"].items():
        for name in ("ov", "qk"):
            score, whole = ours[name]["eigenvalue"], exact["heads"][head][name]["eigenvalue"]
            assert score["value"] == pytest.approx(whole["value"], abs=1e-4)
            assert score["null_high"] == pytest.approx(whole["null_high"], abs=1e-4) or name == "qk"
            assert score["n_draws"] == DRAWS
            assert ours[name]["own_entry"]["top1"]["n"] == 7
            assert ours[name]["concentration"]["entries"]["n"] == 4


def test_large_vocabularies_are_searched_only_in_named_heads(interp, large, tiny, tmp_path):
    every = interp("circuits", tiny, "--out", tmp_path)
    assert "skip-trigram " not in every.out
    assert "direct path:" not in every.out
    flat = " ".join(every.out.split())
    assert "skip-trigrams are searched only in heads named by --head" in flat
    assert "Shares of 7 tokens: 95 % intervals at most" in flat
    named = interp("circuits", tiny, "--out", tmp_path, "--head", "L1H0", "--top", 2)
    assert named.row("L1H0:")[1:4] == ["read", "→", "raised"]
    assert named.row("L1H0")[0] == "L1H0"
    values = interp("circuits", tiny, "--json", "--out", tmp_path, "--head", "L1H0", "--top", 2).json
    command.budget = budget
    exact = interp("circuits", tiny, "--json", "--out", tmp_path, "--head", "L1H0", "--top", 2).json
    for name in ("ov", "qk"):
        assert values["heads"]["L1H0"][name]["top"] == exact["heads"]["L1H0"][name]["top"]
    assert values["heads"]["L1H0"]["skip_trigrams"] == exact["heads"]["L1H0"]["skip_trigrams"]
    assert values["direct_path"] is None
    assert exact["direct_path"] is not None


def test_the_handmade_copying_head_is_printed_with_its_own_entries_and_rank(interp, quick, induction, tmp_path):
    called = interp("circuits", induction, "--out", tmp_path)
    own, ranks = [words for words in map(str.split, called.out.splitlines()) if words[:1] == ["L1H0"]][1:3]
    assert own[1:4] == ["1.000", "1.000", "3.87"]  # sqrt(15): the identity of 16 tokens
    assert own[4:6] == ["±", "0.52"]  # 2 / sqrt(15)
    assert ranks[1] == "15"  # the identity without its row means
    assert "chance 0.062 and 0.31" in " ".join(called.out.split())


@pytest.mark.parametrize("value, text", [(11.25, "11.25"), (0.1, "0.10"), (0.0346, "0.035"), (0.000123, "0.00012")])
def test_entries_are_written_with_two_digits_at_least(value, text):
    assert amount(value) == text


def test_spectra_of_many_heads_are_drawn_for_the_largest_scores(interp, quick, tiny, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(command, "MOST_SPECTRA", 2)
    monkeypatch.setattr(
        command, "eigenvalue_spectra", lambda spectra, names, scores, **o: drawn.append((names, o)) or Figure()
    )
    found = interp("circuits", tiny, "--json", "--out", tmp_path).json["heads"]
    ((names, options),) = drawn
    size = {name: abs(each["ov"]["eigenvalue"]["value"]) for name, each in found.items()}
    assert set(names) == set(sorted(size, key=lambda name: -size[name])[:2])
    assert options["protocol"].endswith("Drawn: 2 of 4 heads, the largest scores.")


def test_a_bar_stands_on_a_terminals_standard_error_only(monkeypatch, capsys):
    assert list(bar("work", True)(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert list(bar("work", True)(range(3))) == [0, 1, 2]
    captured = capsys.readouterr()
    assert "work" in captured.err
    assert captured.out == ""
    list(bar("work", False)(range(3)))
    assert capsys.readouterr().err == ""


def test_the_token_that_begins_sequences_is_never_raised_and_all_else_is_as_in_the_dense_table(
    interp, quick, tiny, tmp_path
):
    called = interp("circuits", tiny, "--json", "--out", tmp_path, "--top", 8)
    found, subject = called.json, load_subject(tiny)
    w, bos = weights_of(subject.model), subject.bos
    assert found["left_out_of_outputs"] == [subject.labels[bos]]
    for name, of_head in found["heads"].items():
        dense = raised(w, Head.parse(name)).dense()
        dense[:, bos] = -torch.inf
        assert [e["value"] for e in of_head["ov"]["top"]] == pytest.approx(dense.flatten().topk(8).values.tolist())
        for entry in of_head["ov"]["top"]:
            assert entry["column"] != bos
            assert entry["value"] == pytest.approx(float(dense[entry["row"], entry["column"]]))
            assert entry["column_label"] == subject.labels[entry["column"]]
        assert all(triple["out"] != bos for triple in of_head["skip_trigrams"])
    assert all(entry["column"] != bos for entry in found["direct_path"]["top"])
    assert "is never predicted" in " ".join(interp("circuits", tiny, "--out", tmp_path).out.split())


def test_places_stand_beside_even_attention(interp, quick, tiny, tmp_path):
    found = interp("circuits", tiny, "--json", "--out", tmp_path).json
    n_ctx = load_subject(tiny).config.n_ctx
    assert found["positions_even"] == pytest.approx(sum(1 / (i + 1) for i in range(1, n_ctx)) / (n_ctx - 1))
