import pytest
import torch
from scipy import stats

from interp.errors import InputError
from interp.stats import benjamini_yekutieli

NAN = float("nan")


def test_q_values_are_those_of_an_example_worked_by_hand():
    # m = 4, c = 25/12: p m c / rank = 0.0833, 0.1667, 0.125 (which lowers the second), 0.5 * 25/12 > 1
    found = benjamini_yekutieli(torch.tensor([0.045, 0.01, 0.5, 0.04], dtype=torch.float64))
    assert found.tolist() == pytest.approx([0.125, 0.25 / 3, 1.0, 0.125])


def test_q_values_equal_scipys(generator):
    p = torch.rand(60, generator=generator, dtype=torch.float64).pow(3)
    assert benjamini_yekutieli(p).numpy() == pytest.approx(stats.false_discovery_control(p.numpy(), method="by"))


def test_what_was_not_tested_stays_nan_and_does_not_count():
    found = benjamini_yekutieli(torch.tensor([[0.01, NAN], [NAN, 0.02]]))
    assert found.isnan().tolist() == [[False, True], [True, False]]
    assert torch.equal(found[~found.isnan()], benjamini_yekutieli(torch.tensor([0.01, 0.02])))
    assert benjamini_yekutieli(torch.tensor([NAN])).isnan().all()


def dependent_p_values(generator, trials, signals):
    """[trial test]: 40 one-sided z-tests that share one common part with random sign, so some pairs are opposed."""
    common = torch.randn(trials, 1, generator=generator, dtype=torch.float64)
    sign = 1 - 2 * torch.randint(2, (1, 40), generator=generator)
    z = 0.8 * sign * common + 0.6 * torch.randn(trials, 40, generator=generator, dtype=torch.float64)
    z[:, :signals] += 6
    return torch.special.ndtr(-z)


@pytest.mark.parametrize("signals", [0, 10])
def test_the_share_of_false_discoveries_is_at_most_what_is_said_under_dependence(generator, signals):
    trials, level = 2000, 0.2
    false, found = [], 0
    for p in dependent_p_values(generator, trials, signals):
        called = benjamini_yekutieli(p) <= level
        false.append(float(called[signals:].sum()) / max(1, int(called.sum())))
        found += int(called[:signals].sum())
    share = torch.tensor(false)
    assert float(share.mean()) <= level * (1 - signals / 40) + 3 * float(share.std()) / trials**0.5
    assert found >= 0.97 * trials * signals


def test_uncorrected_p_values_would_be_wrong_far_more_often(generator):
    p = dependent_p_values(generator, 2000, 0)
    corrected = torch.stack([benjamini_yekutieli(each) for each in p])
    assert float((p <= 0.2).any(1).double().mean()) > 0.9 > 0.2 > float((corrected <= 0.2).any(1).double().mean())


@pytest.mark.parametrize("p", [[-0.1, 0.5], [0.5, 1.5]])
def test_numbers_that_are_no_p_values_are_refused(p):
    with pytest.raises(InputError, match=r"p-values lie between 0 and 1, got"):
        benjamini_yekutieli(torch.tensor(p))
