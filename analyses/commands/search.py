"""`interp search`: which edges carry what a model does on tokens that repeat, checked with all others ablated."""

from dataclasses import dataclass

import torch

from analyses.arguments import Search
from analyses.loading import Subject, load_subject
from analyses.output import deliver, png, say
from analyses.tables import interval, number, paragraph, table
from interp.edges import (
    METHODS,
    Circuit,
    EdgeProblem,
    EdgeScores,
    check_circuit,
    eap_ig,
    edge_problem,
    edges_above,
    faithfulness_curve,
    greedy,
    random_scores,
    top_edges,
)
from interp.edges.curve import Curve, default_sizes
from interp.edges.faithfulness import Check, gap_of
from interp.edges.problem import METRICS, Metric
from interp.heads import Protocol, olsson_protocol, predictable_positions, repeated_tokens
from interp.heads.stimuli import fresh_control, random_tokens
from interp.plots.circuit_graph import circuit_graph
from interp.plots.faithfulness import faithfulness_curves
from interp.stats import Estimate
from interp.weights import TransformerWeights, weights_of
from toy_models.errors import InputError

SEQUENCES, RANDOM_CIRCUITS, RANDOM_RANKINGS = 32, 50, 3
ENOUGH = 0.9
"""Faithfulness that a circuit must reach, where nothing else is asked for."""
MOST_ROWS, SHOWN_SIZES = 40, (1, 2, 5, 10, 20, 50, 100, 200, 500)
MANY_RUNS = 500
"""More than these are announced before they begin."""


@dataclass(frozen=True, eq=False)
class Found:
    """Everything about one search: scores and choice on some sequences, curve and check on others."""

    choosing: EdgeProblem
    scores: EdgeScores
    absolute: bool
    rule: str
    circuit: Circuit
    chosen: int
    """How many best edges it was made of, those on no path included."""
    check: Check
    curve: Curve
    random: tuple[Curve, ...]
    protocol: str
    difference: float
    """Largest difference between the model's logits and those of the graph with every edge open."""


def run(arguments: Search) -> int:
    """Scores every edge, chooses a circuit, and runs the model with everything else ablated."""
    subject = load_subject(arguments.model, arguments.device)
    folder = subject.folder(arguments.out)
    if not subject.heads:
        raise InputError(f"{subject.path} has no attention heads: there are no edges between them to search")
    found = search(subject, arguments)
    values = {
        "model": subject.to_dict(),
        **found.choosing.to_dict(),
        "tokens": found.protocol,
        "largest_logit_difference_to_the_model": found.difference,
        "edges": len(found.choosing.graph.edges),
        "rule": found.rule,
        "check": found.check.to_dict(),
        "curve": found.curve.to_dict(),
        "random_rankings": [curve.to_dict() for curve in found.random],
        "edge_scores": found.scores.to_dict(),
    }
    return deliver(arguments, folder, values, report(subject, found), drawings(subject, found))


def search(subject: Subject, arguments: Search) -> Found:
    """The whole of it; the circuit is chosen on other sequences than those that it is checked on."""
    generator = torch.Generator().manual_seed(arguments.seed)
    weights = weights_of(subject.model, fold=False)
    protocol = olsson_protocol(subject.config.d_vocab, weights.n_ctx, subject.bos, subject.excluded)
    choosing, said = problem(weights, protocol, arguments, generator)
    checking, _ = problem(weights, protocol, arguments, generator)
    with torch.no_grad():
        difference = float((subject.model(choosing.tokens) - choosing.logits).abs().max())
    gap_of(choosing, generator)
    scores, absolute = score(choosing, arguments, generator)
    circuit, rule, chosen = choose(choosing, scores, absolute, arguments, generator)
    check = check_circuit(checking, circuit, generator, n_random=RANDOM_CIRCUITS)
    curve = faithfulness_curve(checking, scores, generator, absolute=absolute)
    random = tuple(
        faithfulness_curve(checking, random_scores(checking, generator), generator, sizes=few_sizes(checking))
        for _ in range(RANDOM_RANKINGS)
    )
    text = f"{protocol.text}; corrupted: {said}" if arguments.ablation == "resample" else protocol.text
    return Found(choosing, scores, absolute, rule, circuit, chosen, check, curve, random, text, difference)


def problem(
    weights: TransformerWeights, protocol: Protocol, arguments: Search, generator: torch.Generator
) -> tuple[EdgeProblem, str]:
    """Fresh sequences that repeat, beside others with other tokens and no repetition, and what these are in words."""
    tokens = repeated_tokens(protocol, SEQUENCES, generator)
    control = fresh_control(repeated_tokens(protocol, SEQUENCES, generator), protocol, generator)
    corrupted, said = control.tokens, f"other sequences, {control.text}"
    if control.copies > 1:  # too few tokens to take the repetition out of whole sequences
        drawn = random_tokens(SEQUENCES, protocol.length, protocol.symbols, generator)
        corrupted = torch.cat([tokens[:, : protocol.start], drawn[:, protocol.start :]], dim=1)
        said = "other sequences, every token drawn by itself"
    metric: Metric = "logit difference" if arguments.metric == "logit-difference" else arguments.metric
    scored = predictable_positions(protocol, SEQUENCES)
    made = edge_problem(weights, tokens, scored, metric=metric, ablation=arguments.ablation, corrupted=corrupted)
    return made, said


def score(choosing: EdgeProblem, arguments: Search, generator: torch.Generator) -> tuple[EdgeScores, bool]:
    """The method's scores, and whether edges are ranked by their size (greedy rises are ranked as they are)."""
    edges = len(choosing.graph.edges)
    if arguments.method in ("exact", "greedy") and edges > MANY_RUNS:
        say(
            f"{arguments.method} runs the model once for each of {edges} edges; eap-ig takes {2 * arguments.steps} runs"
        )
    if arguments.method == "greedy":
        return greedy(choosing, generator, tau=arguments.threshold), False
    if arguments.method == "eap-ig":
        return eap_ig(choosing, generator, steps=arguments.steps), True
    return METHODS[arguments.method](choosing, generator), True


def choose(
    choosing: EdgeProblem, scores: EdgeScores, absolute: bool, arguments: Search, generator: torch.Generator
) -> tuple[Circuit, str, int]:
    """The circuit that the options ask for, the rule in words, and of how many best edges it was made.

    `InputError` where no circuit does.
    """
    if arguments.edges is not None:
        return top_edges(scores, arguments.edges, absolute), f"the best {arguments.edges} edges", arguments.edges
    if arguments.threshold is not None:
        above, said = scores.above(arguments.threshold, absolute), f"edges with a score of {arguments.threshold:g} on"
        return edges_above(scores, arguments.threshold, absolute), said, int(above.sum())
    wanted = ENOUGH if arguments.faithfulness is None else arguments.faithfulness
    size = faithfulness_curve(choosing, scores, generator, absolute=absolute).smallest(wanted)
    if size is None:
        raise InputError(f"no circuit of the best edges reaches a faithfulness of {wanted:g}; ask for less")
    return top_edges(scores, size, absolute), f"the fewest best edges with a faithfulness of {wanted:g} ({size})", size


def few_sizes(checking: EdgeProblem) -> list[int]:
    """About twenty sizes from none to all edges, for the random rankings."""
    every = default_sizes(len(checking.graph.edges))
    return sorted({every[i] for i in torch.linspace(0, len(every) - 1, 20).round().long().tolist()})


def drawings(subject: Subject, found: Found) -> dict[str, bytes | str]:
    """The circuit as a graph, and the curve."""
    check = found.check
    worth = torch.zeros(len(found.circuit.graph.edges), dtype=torch.float64)
    for edge, estimate in check.necessity.items():
        worth[found.circuit.graph.find(edge)] = estimate.mean
    shown = str(check.faithfulness)
    graph = circuit_graph(
        found.circuit,
        worth,
        title=f"Circuit of {subject.name}, by {found.scores.method}",
        weight="share of the whole that is lost without the edge",
        protocol=f"Faithfulness of the circuit {shown}. Metric: {check.metric}. {sentence(check.text)}",
    )
    curves = {f"edges by {found.scores.method}": found.curve}
    curves |= {f"random {i}": curve for i, curve in enumerate(found.random)}
    lines = faithfulness_curves(
        curves,
        circuit=(found.chosen, check.faithfulness.mean),
        pruned=len(found.circuit),
        title=f"Faithfulness by size of the circuit, {subject.name}",
        protocol=f"Metric: {check.metric}. {sentence(check.text)} Bands: 95 % intervals over sequences.",
    )
    return {"search.png": png(graph), "search-curve.png": png(lines)}


def sentence(text: str) -> str:
    """A clause with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def report(subject: Subject, found: Found) -> str:
    """What was asked, how good the circuit is, its edges, and the curve over sizes."""
    n, total = len(found.circuit), len(found.circuit.graph.edges)
    asked = (
        f"Metric: {found.check.metric} ({METRICS[found.choosing.metric]}). Scores: {found.scores.text}. Circuit: "
        f"{found.rule}, without what reaches nothing: {n} of {total} edges. Chosen on {SEQUENCES} sequences, all that "
        f"follows is of {SEQUENCES} others: {found.protocol}."
    )
    tolerance = (
        f"With every edge open the logits are the model's within {found.difference:.1e}. 95 % intervals, bootstrapped "
        "over sequences. How large a circuit must be depends on --ablation and --metric: compare like with like."
    )
    if found.choosing.ablation == "resample" and found.choosing.graph.positions:
        tolerance += " Other tokens stand at the same positions: edges from positions cannot be found this way."
    return "\n\n".join(
        [
            paragraph(subject.describe()),
            paragraph(asked),
            check_table(found.check),
            edge_table(found),
            curve_table(found),
            paragraph(tolerance),
        ]
    )


def check_table(check: Check) -> str:
    """The circuit with everything else ablated, and its controls."""
    rows = [
        [f"{check.metric}, whole model", *cells(check.intact), ""],
        [f"{check.metric}, every edge ablated", *cells(check.empty), ""],
        ["faithfulness: the circuit alone", *cells(check.faithfulness), "1 if it is enough"],
        ["the other edges alone", *cells(check.complement), "0 if the circuit is complete"],
    ]
    if check.random is not None and check.p_value is not None:
        null = check.random
        lowest = check.p_value < 1.5 / (null.n + 1)
        p = f"{null.n} draws, p {'≤' if lowest else '='} {check.p_value:.2g}"
        spread = f"95 %: {number(null.q95)}, highest {number(null.maximum)}"
        rows.insert(3, ["  random circuits of that size", number(null.mean), spread, p])
    if check.minimality is not None:
        rows.append(["least that an edge of it is worth", *cells(check.minimality), "above 0 if it is minimal"])
    spare = check.spare()
    said = f"{len(spare)} of {len(check.circuit)} edges are not clearly worth more than 1 % of the whole."
    return f"{table(['', 'value', '95 % interval', ''], rows, 'lrll')}\n{said}"


def cells(estimate: Estimate) -> list[str]:
    return [number(estimate.mean), interval(estimate.low, estimate.high)]


def edge_table(found: Found) -> str:
    """The edges of the circuit, those first without which it loses most."""
    worth = sorted(found.check.necessity.items(), key=lambda item: -item[1].mean)
    rows = [[str(edge), f"{found.scores[edge]:.3g}", *cells(estimate)] for edge, estimate in worth[:MOST_ROWS]]
    text = table(["edge", f"score ({found.scores.method})", "worth", "95 % interval"], rows, "lrrl")
    more = f"\nThe first {MOST_ROWS} of {len(worth)}; search.json has them all." if len(worth) > MOST_ROWS else ""
    return f"{text}{more}\nworth: share of the whole that the circuit loses without the edge."


def curve_table(found: Found) -> str:
    """Faithfulness at some sizes, and the two areas, beside random rankings."""
    sizes = found.curve.sizes.tolist()
    shown = [size for size in (*SHOWN_SIZES, sizes[-1]) if size in sizes]
    shown = shown[:-1] if shown[-1:] == shown[-2:-1] else shown
    f = [number(float(found.curve.faithfulness.mean[sizes.index(size)]), 2) for size in shown]
    kept = table(["edges kept, best first", *map(str, shown)], [["faithfulness", *f]], "l" + "r" * len(shown))
    rows = []
    for name, here, chance in (
        ("CPR, area under f (higher is better)", found.curve.cpr, [c.cpr.mean for c in found.random]),
        ("CMD, area of |1 - f| (lower is better)", found.curve.cmd, [c.cmd.mean for c in found.random]),
    ):
        rows.append([name, *cells(here), ", ".join(number(value) for value in chance)])
    return f"{kept}\n\n{table(['over all sizes', 'value', '95 % interval', 'random rankings'], rows, 'lrll')}"
