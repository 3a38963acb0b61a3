"""How one quantity grows with another."""

from torch import Tensor


def slope(x: Tensor, y: Tensor) -> float:
    """Of y by x, by least squares."""
    x, y = x.double() - x.double().mean(), y.double()
    return float((x * y).sum() / x.square().sum())


def log_slope(x: Tensor, y: Tensor) -> float:
    """Of log y by log x: the power by which y grows with x."""
    return slope(x.double().log(), y.double().log())
