"""What tied embeddings can say of bigrams: closed forms, identities of any tied model, and the searches beside them."""

import itertools
import json
import math
import sys

import pytest
import torch

from analyses import tied_embeddings
from analyses.bigram_cases import cycle_case, divergence, onward_case, pair_case, pair_embeddings
from analyses.tied_embeddings import cycle_statistic, no_op_bigrams, optimality, study
from interp.errors import InputError


@pytest.fixture(scope="module")
def fits():
    return {(f.case, f.kind): f for f in study(seed=1, starts=3)}


def random_tied(generator, n=6, d=4):
    return no_op_bigrams(torch.randn(n, d, generator=generator, dtype=torch.float64))


def test_every_cycle_of_every_tied_model_has_a_statistic_of_zero(generator):
    for _ in range(5):
        log_probs = random_tied(generator)
        for length in (3, 4, 6):
            for cycle in itertools.islice(itertools.permutations(range(6), length), 0, None, 17):
                assert cycle_statistic(log_probs, cycle) == pytest.approx(0, abs=1e-12)
        assert (log_probs.exp() - log_probs.exp().T).abs().max() > 0.1  # and yet the bigrams are not symmetric


def test_cycle_statistic_is_the_log_ratio_of_both_directions(generator):
    p = torch.rand(4, 4, generator=generator, dtype=torch.float64).softmax(-1)
    a, b, c = 2, 0, 3
    expected = math.log(p[a, b] * p[b, c] * p[c, a] / (p[a, c] * p[c, b] * p[b, a]))
    assert cycle_statistic(p.log(), (a, b, c)) == pytest.approx(expected, abs=1e-12)
    assert cycle_statistic(p.log(), (a, c, b)) == pytest.approx(-expected, abs=1e-12)
    shifted = p.log() + torch.tensor([[1.0], [-2.0], [0.5], [3.0]], dtype=torch.float64)
    assert cycle_statistic(shifted, (a, b, c)) == pytest.approx(expected, abs=1e-12)


def test_a_tied_model_is_a_reversible_chain_weighted_by_its_normalisers(generator):
    E = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    flow = (E @ E.T).logsumexp(-1)[:, None] + no_op_bigrams(E)
    torch.testing.assert_close(flow, flow.T, rtol=0, atol=1e-12)


def test_no_op_bigrams_are_the_softmax_of_the_product_of_the_embeddings(generator):
    E, U = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((5, 3), (3, 5)))
    torch.testing.assert_close(no_op_bigrams(E, U).exp(), (E @ U).softmax(-1), rtol=0, atol=1e-12)
    torch.testing.assert_close(no_op_bigrams(E).exp(), (E @ E.T).softmax(-1), rtol=0, atol=1e-12)


def test_who_prefers_another_token_to_itself_is_shorter_and_the_other_prefers_itself_by_more(generator):
    seen = 0
    for _ in range(40):
        E = torch.randn(6, 4, generator=generator, dtype=torch.float64)
        log_p = no_op_bigrams(E)
        for x, y in itertools.permutations(range(6), 2):
            m = float(log_p[x, y] - log_p[x, x])
            if m > 0:
                seen += 1
                own = float(log_p[y, y] - log_p[y, x])
                assert E[y].norm() > E[x].norm()
                assert own >= m + m**2 / float(E[x].square().sum()) - 1e-9
        following = log_p.argmax(-1).tolist()
        token = 0
        for _ in range(6):
            token = following[token]
        assert following[token] == token  # what is likeliest next ends in a token that predicts itself
    assert seen > 50


@pytest.mark.parametrize("forward, back", [(0.9, 0.01), (0.6, 0.3), (0.99, 1e-4)])
def test_barack_is_followed_by_obama_and_not_back_through_the_lengths_alone(forward, back):
    E = pair_embeddings(forward, back)
    p = no_op_bigrams(E).exp()
    assert p[0, 1].item() == pytest.approx(forward, abs=1e-12)
    assert p[1, 0].item() == pytest.approx(back, abs=1e-12)
    assert p[1, 1].item() > forward
    m = math.log(forward / (1 - forward))
    assert (p[1, 1].log() - p[1, 0].log()).item() == pytest.approx(m + m**2 / E[0].item() ** 2, abs=1e-9)
    for turned in (E * 1.2, E[0] * torch.tensor([[1.0], [1.0]], dtype=torch.float64)):
        assert no_op_bigrams(turned).exp()[0, 1].item() != pytest.approx(forward, abs=1e-3)


@pytest.mark.parametrize("smoothing", [0.02, 0.1, 0.4])
def test_of_a_cycle_the_best_tied_model_is_the_uniform_one(smoothing, generator):
    case = cycle_case(smoothing)
    fit = tied_embeddings.fit(case, "tied", generator, starts=3)
    row = case.wanted[0]
    assert fit.divergence == pytest.approx(math.log(3) + float((row * row.log()).sum()), abs=1e-10)
    torch.testing.assert_close(fit.log_probs.exp(), torch.full((3, 3), 1 / 3, dtype=torch.float64), rtol=0, atol=1e-5)
    assert fit.residual < 1e-8


@pytest.mark.parametrize("smoothing", [0.02, 0.1, 0.4])
def test_of_a_cycle_the_best_symmetric_table_is_off_by_both_neighbours(smoothing, generator):
    case = cycle_case(smoothing)
    fit = tied_embeddings.fit(case, "symmetric", generator, starts=3)
    q, s = smoothing / 2, smoothing
    p = [q, (1 - q) / 2, (1 - q) / 2]
    expected = sum(a * math.log(a / b) for a, b in zip([s / 2, 1 - s, s / 2], p, strict=True))
    assert fit.divergence == pytest.approx(expected, abs=1e-10)
    assert fit.residual < 1e-7


def test_untied_embeddings_fit_every_case_exactly_and_have_the_cycle(fits):
    for case in (pair_case(), cycle_case(), onward_case()):
        fit = fits[case.name, "untied"]
        assert fit.divergence == pytest.approx(0, abs=1e-12)
        torch.testing.assert_close(fit.log_probs.exp(), case.wanted, rtol=0, atol=1e-12)
    assert fits["cycle", "untied"].cycle_statistic == pytest.approx(3 * math.log(0.9 / 0.05), abs=1e-9)


def test_every_search_ends_where_theory_says_from_every_start(fits):
    for (case, kind), fit in fits.items():
        limit = 1e-5 if (case, kind) == ("Barack Obama said", "tied") else 1e-9  # there the best is never reached
        assert fit.spread <= limit
        assert fit.residual is None or fit.residual <= limit
        if fit.theory is not None:
            assert fit.divergence == pytest.approx(fit.theory, abs=limit), (case, kind)
        if kind not in ("untied",) and fit.cycle_statistic is not None:
            assert fit.cycle_statistic == pytest.approx(0, abs=1e-8)


def test_tied_embeddings_of_barack_obama_said_know_no_more_than_the_unigrams(fits):
    fit = fits["Barack Obama said", "tied"]
    unigram = onward_case().wanted.mean(0)
    torch.testing.assert_close(fit.log_probs.exp(), unigram.expand(3, 3), rtol=0, atol=2e-3)
    joint = onward_case().wanted / 3
    information = float((joint * (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()).sum())
    assert fit.theory == pytest.approx(information, abs=1e-12)


def test_a_table_off_the_optimum_has_a_residual(generator):
    case = cycle_case()
    best = tied_embeddings.fit(case, "symmetric", generator, starts=1)
    off = best.log_probs + 0.01 * torch.eye(3, dtype=torch.float64)
    assert optimality(case.wanted, off, "symmetric") > 1e-4
    assert optimality(case.wanted, torch.eye(3, dtype=torch.float64), "tied") > 1e-2
    saddle = torch.zeros(2, 2, dtype=torch.float64)  # no gradient in W_E at W_E = 0, and yet no optimum
    assert optimality(pair_case().wanted, saddle, "tied") > 0.1


def test_divergence_is_the_mean_over_present_tokens():
    wanted = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
    model = torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64)
    expected = 0.5 * (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert float(divergence(wanted, model.log())) == pytest.approx(expected)


def test_the_command_prints_the_table_and_writes_the_same_numbers_as_strict_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tied_embeddings", "--starts", "2", "--out", str(tmp_path / "t")])
    tied_embeddings.main()
    printed = capsys.readouterr().out
    saved = json.loads((tmp_path / "t" / "tied_embeddings.json").read_text())
    fits = {(f["case"], f["kind"]): f for f in saved["fits"]}
    tied = fits["cycle", "tied"]
    row = next(line.split() for line in printed.splitlines() if line.split()[:2] == ["cycle", "tied"])
    assert row[2:5] == ["0.704215", "0.704215", "0.000000"]
    assert tied["divergence"] == pytest.approx(0.704215, abs=1e-6)
    assert saved["smoothing"] == 0.1
    assert max(map(len, printed.splitlines())) <= 120
    assert "Obama   0.0100  0.9900" in printed


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cycle_statistic(torch.zeros(3, 3), (0, 1)), "at least 3 different tokens from 0 to 2, got [0, 1]"),
        (lambda: cycle_statistic(torch.zeros(3, 3), (0, 1, 1)), "at least 3 different tokens"),
        (lambda: cycle_statistic(torch.zeros(3, 3), (0, 1, 3)), "from 0 to 2"),
        (lambda: cycle_case(0.7), "smoothing must lie between 0 and 2/3, got 0.7"),
        (lambda: onward_case(0.0), "smoothing must lie between 0 and 2/3"),
        (lambda: pair_embeddings(0.9, 0.2), "0 < back < 1 - forward, got 0.9 and 0.2"),
        (lambda: pair_case(0.4, 0.1), "1/2 < forward < 1"),
    ],
)
def test_what_cannot_be_asked_is_refused(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)
