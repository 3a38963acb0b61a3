"""A circuit as a graph: embeddings above, layers down, heads across, edges in the colour of what they are read for."""

from collections.abc import Mapping

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from interp.edges.graph import LOGITS, POSITION, TOKEN, Channel, Edge, Graph, mlp
from interp.edges.search import Circuit
from interp.errors import InputError
from interp.names import Head
from interp.plots.drawing import COLORS, FAINT, INK, QUIET, TEXT, new_figure

CHANNEL_COLORS: dict[Channel, str] = {
    "Q": COLORS[0],
    "K": COLORS[1],
    "V": COLORS[2],
    "MLP": COLORS[3],
    "logits": QUIET,
}
ACROSS, DOWN, RADIUS = 1.5, 1.4, 0.21
_PORTS = {"Q": -0.17, "K": 0.0, "V": 0.17}
_PORT_HEIGHT = {"Q": 0.19, "K": 0.24, "V": 0.19}
Place = tuple[float, float]


def circuit_graph(
    circuit: Circuit,
    weights: Float[Tensor, " edge"],
    *,
    title: str,
    weight: str = "score",
    protocol: str = "",
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """The edges of a circuit as arrows whose width is the edge's weight; nodes outside the circuit are pale.

    A head's Q, K and V inputs are three dots on its upper side, left to right. Weights below 0 are drawn dashed: the
    model does better without these edges.

    Args:
        circuit: what is drawn.
        weights: of every edge of the graph, those outside the circuit are ignored.
        title: what the figure shows.
        weight: what the weights are and their unit.
        protocol: how they were measured, at the foot.
        notes: by node, a word or two to write beside it, such as a role.

    Raises:
        InputError: there is not one weight for each edge of the graph.
    """
    graph, edges = circuit.graph, circuit.edges
    if weights.shape != (len(graph.edges),):
        raise InputError(f"a weight for each of the graph's {len(graph.edges)} edges is needed, got {len(weights)}")
    sizes = {edge: float(weights[graph.index[edge]]) for edge in edges}
    largest = max(map(abs, sizes.values()), default=1.0) or 1.0
    places = layout(graph)
    width, height = (max(abs(at[axis]) for at in places.values()) for axis in (0, 1))
    foot = f"{len(edges)} of {len(graph.edges)} edges; width: {weight}, the widest {largest:.3g}. {protocol}".strip()
    figure = new_figure(max(5.4, width + 3.0), height + 1.9, title, foot)
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    for edge in sorted(edges, key=lambda edge: -abs(sizes[edge])):
        _arrow(axes, edge, places, sizes[edge] / largest)
    drawn = {TOKEN, *circuit.nodes}
    for node, at in places.items():
        _node(axes, node, at, node in drawn, (notes or {}).get(node, ""))
    axes.set(xlim=(-0.8, width + 0.8), ylim=(-height - 0.6, 0.6))
    axes.axis("off")
    _legend(axes, edges, any(size < 0 for size in sizes.values()))
    return figure


def layout(graph: Graph) -> dict[str, Place]:
    """Where each node stands: a row for the embeddings, one for each layer's heads, the MLP below it, the logits."""
    columns = graph.n_heads
    middle = ACROSS * (columns - 1) / 2
    half = ACROSS / 2 if graph.positions else 0.0
    left = max(0.0, half - middle)
    places: dict[str, Place] = {TOKEN: (left + middle - half, 0.0)}
    if graph.positions:
        places[POSITION] = (left + middle + half, 0.0)
    y = 0.0
    for layer in range(graph.n_layers):
        y -= DOWN
        places |= {str(Head(layer, index)): (left + ACROSS * index, y) for index in range(columns)}
        if graph.mlps:
            y -= DOWN
            places[mlp(layer)] = (left + middle, y)
    places[LOGITS] = (left + middle, y - DOWN)
    return places


def _arrow(axes: Axes, edge: Edge, places: Mapping[str, Place], share: float) -> None:
    (x0, y0), (x1, y1) = places[edge.sender], places[edge.node]
    start = (x0, y0 - RADIUS)
    end = (x1 + _PORTS.get(edge.channel, 0.0), y1 + _PORT_HEIGHT.get(edge.channel, RADIUS))
    far = round((y0 - y1) / DOWN) > 1  # past a row of nodes: bend around what stands in between
    bend = (0.28 if x0 <= x1 else -0.28) if far else 0.04
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=8 + 5 * abs(share),
            linewidth=0.8 + 4.2 * abs(share),
            linestyle="--" if share < 0 else "-",
            color=CHANNEL_COLORS[edge.channel],
            alpha=0.55 + 0.4 * abs(share),
            shrinkA=0,
            shrinkB=2,
            zorder=2,
        )
    )


def _node(axes: Axes, node: str, at: Place, drawn: bool, note: str) -> None:
    x, y = at
    wide = node in (TOKEN, POSITION, LOGITS) or node.endswith("MLP")
    ink, edge = (INK, INK) if drawn else ("#bbbbbb", FAINT)
    box = {"facecolor": "white", "edgecolor": edge, "linewidth": 1.1 if drawn else 0.8}
    shape = "round,pad=0.5" if wide else "circle,pad=0.35"
    axes.text(x, y, node, ha="center", va="center", fontsize=8, zorder=5, bbox={**box, "boxstyle": shape}, **{
        **TEXT, "color": ink})  # fmt: skip
    if drawn and not wide:
        for channel, offset in _PORTS.items():
            color = CHANNEL_COLORS[channel]  # type: ignore[index]
            axes.scatter([x + offset], [y + _PORT_HEIGHT[channel]], s=14, color=color, zorder=6, linewidths=0)
    if note and drawn:
        axes.text(x + 0.42, y, note, ha="left", va="center", fontsize=7, zorder=6, **{**TEXT, "color": QUIET})


def _legend(axes: Axes, edges: tuple[Edge, ...], negative: bool) -> None:
    there = {edge.channel for edge in edges}
    words = {
        "Q": "read as query",
        "K": "read as key",
        "V": "read as value",
        "MLP": "read by an MLP",
        "logits": "read by the logits",
    }
    handles = [
        Line2D([], [], color=color, lw=3, label=words[channel])
        for channel, color in CHANNEL_COLORS.items()
        if channel in there
    ]
    if negative:
        handles.append(Line2D([], [], color=QUIET, lw=1.5, ls="--", label="below 0"))
    axes.legend(
        handles=handles,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        prop={"family": TEXT["fontfamily"], "size": 8},
    )
