"""`interp handmade`: a model whose circuit is known, as a checkpoint that every other command reads, and its truth."""

import dataclasses
import shlex
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import torch

from analyses import exits
from analyses.arguments import Handmade as Options
from analyses.output import check_folder, show, to_document
from analyses.tables import WIDTH, number, paragraph, table
from toy_models import atomic
from toy_models.checkpoint import CHECKPOINTS, CONFIG, RUN, WEIGHTS, model_files
from toy_models.config import to_dict
from toy_models.device import find_device
from toy_models.errors import InputError
from toy_models.handmade import Handmade, Truth, make, make_from_text, names
from toy_models.handmade.truth import Channel, Node, spell
from toy_models.handmade.variants import (
    in_another_basis,
    in_other_head_bases,
    with_heads_permuted,
    with_idle_heads,
    with_noise,
)
from toy_models.training.seeds import generator_for
from toy_models.vocabulary import Vocabulary

TRUTH = "truth.json"
CHANNELS: tuple[Channel, ...] = ("Q", "K", "V")
CHANGES = ("noise", "idle", "permute", "head_basis", "basis")


def run(arguments: Options) -> int:
    """Writes a handmade model and its truth into a new folder, or lists the models there are."""
    find_device(arguments.device)
    if not arguments.name:
        return listing(arguments)
    folder = check_new(arguments.out or Path("runs") / arguments.name)
    made = changed(build(arguments), arguments)
    metadata = {"vocabulary": Vocabulary(made.labels, 0, "symbols").to_dict(), "handmade": recipe(arguments)}
    files = model_files(made.model, metadata) | {TRUTH: atomic.json_bytes(made.truth.to_dict())}
    atomic.write_folder(folder, files)
    values = {"path": folder, **recipe(arguments), "config": to_dict(made.model.config), "truth": made.truth.to_dict()}
    text = f"{report(made, folder)}\n\nnext: interp audit {shlex.quote(str(folder))}"
    show(arguments, to_document(arguments, {**values, "files": sorted(files)}), text)
    return exits.OK


def listing(arguments: Options) -> int:
    """Every model by name; `InputError` when options were given that only a model can have."""
    default = Options(json=arguments.json, device=arguments.device, threads=arguments.threads, debug=arguments.debug)
    for f in dataclasses.fields(Options):
        if getattr(arguments, f.name) != getattr(default, f.name):
            raise InputError(f"--{f.name.replace('_', '-')} needs the NAME of a model; one of {', '.join(names())}")
    truths = [make(name).truth for name in names()]
    found = [{"name": t.name, "induction": t.composition, "summary": t.summary} for t in truths]
    text = "\n".join([*map(line, truths), "", "interp handmade NAME --out DIR writes one."])
    show(arguments, to_document(arguments, {"models": found}), text)
    return exits.OK


def line(truth: Truth) -> str:
    """Name and summary."""
    return textwrap.fill(f"{truth.name:<23}{truth.summary}", WIDTH, subsequent_indent=" " * 23)


def check_new(folder: Path) -> Path:
    """The same folder; `InputError` if something is in it, or nothing can be written there."""
    check_folder(folder)
    try:
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise atomic.OutputError(f"cannot look into {folder}: {atomic.reason(error)}") from error
    for name, what in {RUN: "a run", CHECKPOINTS: "a run", CONFIG: "a checkpoint", WEIGHTS: "a checkpoint"}.items():
        if name in there:
            raise InputError(f"{folder} already holds {what} ({name}); choose another folder with --out")
    if there:
        raise InputError(f"{folder} is not empty: it holds {there[0]}; choose another folder with --out")
    return folder


def build(arguments: Options) -> Handmade:
    """The model as its name and options describe it."""
    size = {name: getattr(arguments, name) for name in ("d_vocab", "n_ctx", "sharpness", "gain")}
    return make_from_text(arguments.name, own_words(arguments), **size, dtype=getattr(torch, arguments.dtype))


def own_words(arguments: Options) -> dict[str, str]:
    """--option KEY=VALUE by key; `InputError` if one has no =."""
    pairs = [word.partition("=") for word in arguments.option]
    for key, equals, value in pairs:
        if not (key and equals):
            raise InputError(f"--option takes KEY=VALUE, as in --option by=3, got {key + equals + value!r}")
    return {key.replace("-", "_"): value for key, _, value in pairs}


def changed(made: Handmade, arguments: Options) -> Handmade:
    """The model after noise, idle heads, permutation and changes of basis, in this order.

    Each has a generator of its own, and all but noise leave alone what is computed: a model with noise computes the
    same with and without the others.
    """
    draws = partial(generator_for, arguments.seed)
    if arguments.noise:
        made = with_noise(made, draws("noise"), arguments.noise)
    if arguments.idle:
        made = with_idle_heads(made, arguments.idle)
    if arguments.permute:
        made = with_heads_permuted(made, draws("permutation"))
    if arguments.head_basis:
        made = in_other_head_bases(made, draws("head bases"))
    if arguments.basis:
        made = in_another_basis(made, draws("basis"))
    return made


def recipe(arguments: Options) -> dict[str, Any]:
    """How to make the model again, for JSON."""
    kept = ("name", "d_vocab", "n_ctx", "sharpness", "gain", "dtype", *CHANGES, "seed")
    return {**{name: getattr(arguments, name) for name in kept}, "options": own_words(arguments)}


def report(made: Handmade, folder: Path) -> str:
    """The truth: what each head is and reads, how induction is made, and every expected value with its tolerance."""
    c, truth = made.model.config, made.truth
    about = (
        f"{folder}: {truth.name}, {c.n_layers} layers x {c.n_heads} heads, {c.d_vocab} tokens, context {c.n_ctx}, "
        f"d_model {c.d_model}. {truth.summary} Induction: {truth.composition or 'none'}; {len(truth.edges)} edges."
    )
    return "\n\n".join([paragraph(about), heads_table(truth), expected_table(truth)])


def heads_table(truth: Truth) -> str:
    """What reads what, a row for each head and one for the logits."""
    rows = [
        [spell(head), role, *(sources(truth, head, channel) for channel in CHANNELS)]
        for head, role in sorted(truth.roles.items())
    ]
    rows.append(["logits", sources(truth, "logits", "logits"), "", "", ""])
    return table(["head", "role (for logits, what they read)", "Q reads", "K reads", "V reads"], rows)


def sources(truth: Truth, target: Node, channel: Channel) -> str:
    """Who writes what this input reads, embeddings first."""
    found = [edge.source for edge in truth.edges if (edge.target, edge.channel) == (target, channel)]
    return ", ".join(sorted(map(spell, found), key=lambda name: (name not in ("token", "position"), name)))


def expected_table(truth: Truth) -> str:
    """Each quantity on the example tokens."""
    if not truth.expected:
        return "No value is promised: noise was added to the weights."
    rows = [
        [e.quantity, " → ".join(map(spell, e.at)), number(e.value, 6), f"{e.tolerance:.0e}"] for e in truth.expected
    ]
    return f"Expected on its example tokens\n{table(['quantity', 'heads', 'value', '±'], rows, 'llrr')}"
