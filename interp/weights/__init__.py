"""One frozen view of a transformer's weights, whatever made the model, its normalisation folded where that is exact."""

from interp.weights.of_model import weights_of
from interp.weights.view import TransformerWeights

__all__ = [
    "TransformerWeights",
    "weights_of",
]
