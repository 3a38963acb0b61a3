import pytest
import torch

from interp.stats import Scored, monte_carlo_p_value


@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_p_values_are_the_monte_carlo_p_values_of_each_score(alternative, generator):
    value, draws = torch.randn(3, 2, generator=generator), torch.randn(19, 3, 2, generator=generator)
    p = Scored(value, draws, "noise").p_values(alternative)
    for i in range(3):
        for j in range(2):
            assert float(p[i, j]) == pytest.approx(monte_carlo_p_value(float(value[i, j]), draws[:, i, j], alternative))


def test_where_there_is_nothing_to_score_everything_is_nan():
    value = torch.tensor([1.0, float("nan")])
    scored = Scored(value, torch.stack([value * 0, value * 0.5, value * 2]), "made up")
    assert scored.p_values().tolist()[0] == 0.5
    assert scored.p_values()[1].isnan()
    assert scored.null_mean.isnan().tolist() == [False, True]
    written = scored.to_dict()
    assert written["value"] == [1.0, None]
    assert written["p"] == [0.5, None]
    assert written["null_mean"] == [pytest.approx(2.5 / 3), None]


def test_the_null_of_one_score_is_summarised(generator):
    draws = torch.randn(50, 2, 3, generator=generator)
    null = Scored(torch.zeros(2, 3), draws, "noise").summary(1, 2)
    assert null.mean == pytest.approx(float(draws[:, 1, 2].mean()), abs=1e-6)
    assert null.maximum == pytest.approx(float(draws[:, 1, 2].max()))
    assert (null.n, null.description) == (50, "noise")
