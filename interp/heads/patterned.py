"""Reading what every head moves together with its pattern, layer by layer, so that of no layer both are kept."""

from collections.abc import Callable

from torch import Tensor

from interp.names import pattern_name, z_name

OfLayer = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, pattern [batch head dest src], z [batch pos head d_head]) -> what is kept of that layer."""


def with_patterns(n_layers: int, of_layer: OfLayer) -> dict[str, Callable[[Tensor], Tensor]]:
    """For `record(..., names=list(r), reduce=r)`: at each layer's z, `of_layer` of it and of the layer's pattern.

    What is recorded stands under the names of z; under those of the patterns stands nothing (no sequences of them).
    """
    patterns: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], Tensor]:
        def reduce(pattern: Tensor) -> Tensor:
            patterns[layer] = pattern
            return pattern[:0]

        return reduce

    def read(layer: int) -> Callable[[Tensor], Tensor]:
        return lambda z: of_layer(layer, patterns.pop(layer), z)

    kept = {pattern_name(layer): keep(layer) for layer in range(n_layers)}
    return kept | {z_name(layer): read(layer) for layer in range(n_layers)}
