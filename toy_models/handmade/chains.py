"""V-composition: previous-token heads in a row, each of which moves what the last one wrote.

With n layers the model predicts the token n back, and only the path through all n heads carries anything.
"""

import itertools
import math

from toy_models.handmade.blocks import HeadPlan, Plan, Size
from toy_models.handmade.model import Expectations, Handmade, copy_loss, finish, repeated_tokens, steps_before
from toy_models.handmade.tables import copy, look_back


def chain(name: str, summary: str, size: Size, length: int) -> Handmade:
    """`length` previous-token heads, one a layer, from block `tok` through `back1`, `back2`, ... to `out`."""
    blocks = ["tok", *(f"back{i}" for i in range(1, length)), "out"]
    layers = tuple(
        (HeadPlan("previous-token", (look_back(size),), (copy(size, source, target, gain),)),)
        for source, target, gain in zip(blocks, blocks[1:], [1.0] * (length - 1) + [size.gain], strict=False)
    )
    plan = Plan(size, size.widths(by_token=" ".join(blocks), by_position="pos"), layers)
    uniform, heads = math.log(size.d_vocab), [(layer, 0) for layer in range(length)]
    known = Expectations(size).add("accuracy", 1.0).add("loss", copy_loss(size)).add("next-token accuracy", 0.0)
    known.add_orders([uniform] * length + [copy_loss(size)])
    for head in heads:
        known.add("previous-token", 1.0, head).add("loss without", uniform, head)
        known.add("loss without (patterns held)", uniform, head)
    runs = [tuple(heads[i:j]) for i in range(length) for j in range(i + 1, length + 1)]
    known.add_paths({run: size.gain if len(run) == length else 0.0 for run in runs})
    neighbours = itertools.pairwise(heads)
    known.add_compositions(plan, {("V", pair): 1 / math.sqrt(size.d_vocab) for pair in neighbours})
    return finish(name, summary, plan, known, steps_before(repeated_tokens(size), length))


def two_back(size: Size) -> Handmade:
    return chain("two_back", "V-composition: the virtual head of two previous-token heads looks two back.", size, 2)


def three_layer_chain(size: Size) -> Handmade:
    return chain("three_layer_chain", "V-composition twice over: three heads in a row look three back.", size, 3)
