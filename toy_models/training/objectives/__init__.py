"""What a model of the shelf, or any other, is trained to do: which examples, which loss, what is measured."""

from toy_models.training.objectives.base import Examples, Objective, score_each
from toy_models.training.objectives.classification import Classification
from toy_models.training.objectives.features import SparseFeatures
from toy_models.training.objectives.of_run import objective_of, split_images
from toy_models.training.objectives.regression import Reconstruction, Regression

__all__ = [
    "Classification",
    "Examples",
    "Objective",
    "Reconstruction",
    "Regression",
    "SparseFeatures",
    "objective_of",
    "score_each",
    "split_images",
]
