"""What units, filters and layers of any model do on inputs: responses, gradients, how linear, what drives them most."""

from interp.units.coadaptation import Cancelled, Deletion, cancelled_share, deletion_damage
from interp.units.convolution import ConvolutionMatrix, convolution_matrix
from interp.units.cost import ModelCost, model_cost
from interp.units.drift import Moments, drift, unit_moments
from interp.units.gradient_noise import GradientNoise, flat_gradient, gradient_noise, minibatch_gradients
from interp.units.gradients import GradientNorms, gradient_norms
from interp.units.linearity import Linearity, effective_linearity
from interp.units.maximise import Maximised, maximise_units
from interp.units.optimiser_memory import OptimiserMemory, optimiser_memory
from interp.units.probes import Probe, linear_probe
from interp.units.responses import Responses, unit_responses
from interp.units.shares import NormShare, norm_shares
from interp.units.sharpness import Sharpness, sharpness
from interp.units.similarity import linear_cka

__all__ = [
    "Cancelled",
    "ConvolutionMatrix",
    "Deletion",
    "GradientNoise",
    "GradientNorms",
    "Linearity",
    "Maximised",
    "ModelCost",
    "Moments",
    "NormShare",
    "OptimiserMemory",
    "Probe",
    "Responses",
    "Sharpness",
    "cancelled_share",
    "convolution_matrix",
    "deletion_damage",
    "drift",
    "effective_linearity",
    "flat_gradient",
    "gradient_noise",
    "gradient_norms",
    "linear_cka",
    "linear_probe",
    "maximise_units",
    "minibatch_gradients",
    "model_cost",
    "norm_shares",
    "optimiser_memory",
    "sharpness",
    "unit_moments",
    "unit_responses",
]
