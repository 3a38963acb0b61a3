"""The distance of two sets of vectors, each taken for a normal distribution."""

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError


def frechet_distance(one: Float[Tensor, "n d"], other: Float[Tensor, "m d"]) -> float:
    """Fréchet (Wasserstein-2) distance, squared, of the normals with the two samples' means and covariances.

        |mean - mean'|² + tr(S + S' - 2 (S^½ S' S^½)^½)

    (Dowson & Landau 1982; of a classifier's features: Heusel et al. 2017, arXiv:1706.08500.) It has a floor above 0 for
    finite samples: measure it between two halves of the data. Computed in float64. Raises `InputError` for fewer than
    two vectors or values that are not finite.
    """
    for name, values in {"one": one, "other": other}.items():
        if len(values) < 2:
            raise InputError(f"a covariance needs two vectors, {name} has {len(values)}")
        if not bool(values.isfinite().all()):
            raise InputError(f"{int((~values.isfinite()).sum())} of {values.numel()} values of {name} are not finite")
    x, y = one.double(), other.double()
    cov_x, cov_y = torch.cov(x.T).reshape(x.shape[1], -1), torch.cov(y.T).reshape(x.shape[1], -1)
    eigenvalues, vectors = torch.linalg.eigh(cov_x)
    root = (vectors * eigenvalues.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_y @ root).clamp_min(0).sqrt().sum()
    apart = (x.mean(0) - y.mean(0)).square().sum()
    return float(apart + cov_x.trace() + cov_y.trace() - 2 * shared)
