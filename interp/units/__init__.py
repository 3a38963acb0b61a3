"""What units, filters and layers of any model do on inputs: responses, gradients, how linear, what drives them most."""

from interp.units.convolution import ConvolutionMatrix, convolution_matrix
from interp.units.gradients import GradientNorms, gradient_norms
from interp.units.linearity import Linearity, effective_linearity
from interp.units.maximise import Maximised, maximise_units
from interp.units.probes import Probe, linear_probe
from interp.units.responses import Responses, unit_responses

__all__ = [
    "ConvolutionMatrix",
    "GradientNorms",
    "Linearity",
    "Maximised",
    "Probe",
    "Responses",
    "convolution_matrix",
    "effective_linearity",
    "gradient_norms",
    "linear_probe",
    "maximise_units",
    "unit_responses",
]
