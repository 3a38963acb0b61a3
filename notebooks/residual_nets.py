# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Residual nets: which of their claims hold here?
#
# Two convolutional nets of 20 layers learn to read digits. They have the same parameters, see the same images in the
# same order and take the same steps; one adds to what each of its blocks reads, the other replaces it. He et al. (2015)
# make much of that difference. This notebook looks at it on one pair of nets, in the order of these questions:
#
# 1. Does the net with shortcuts learn sooner, or better?
# 2. Do gradients vanish without them?
# 3. Are the responses of a residual net smaller?
# 4. What is lost when a block is taken out?
# 5. What do three pairs of nets say, each claim against a control and a margin written down before?
#
# One pair proves nothing: sections 1 to 4 show what the numbers are made of, section 5 has the verdicts. Everything
# runs on one CPU core in well under a minute. `make notebooks` rebuilds it.

# %%
import copy

import torch
import torch.nn.functional as F
from IPython.display import Image

from analyses.claims import all_claims, stored
from analyses.claims.experiments.residual_training import Watch, fit, halves, make_net
from analyses.claims.figures import figure_of
from analyses.claims.text import details
from analyses.tables import number, paragraph, table
from interp import intervene, record
from interp.plots import curves_by_arm, png_bytes
from interp.plots.layers import Panel, layer_panels
from interp.stats import Estimates, bootstrap_intervals
from interp.units import gradient_norms, norm_shares, unit_responses
from toy_models.layers.population import with_population_statistics

STEPS = 100
SEED = 0
KINDS = {"plain": False, "residual": True}


def show(figure):
    return Image(png_bytes(figure), retina=True)


# %% [markdown]
# ## 1. Train
#
# Half of scikit-learn's digits (8 x 8 pixels) to train on, half to test. A net is a convolution, nine blocks of two
# convolutions with BatchNorm in three stages, and a linear map. Where a shortcut meets another shape it takes every
# second pixel and leaves new filters zero, so it has no weights.

# %%
train, test = halves(SEED, "cpu")
fresh = {kind: make_net(SEED, "cpu", residual=residual) for kind, residual in KINDS.items()}
nets, looks = copy.deepcopy(fresh), {}
for kind, net in nets.items():
    looks[kind] = Watch(train, STEPS, inside=False)
    fit(net, train, STEPS, SEED, watch=looks[kind])
    parameters = sum(p.numel() for p in net.parameters())
    print(f"{kind}: {parameters:,} parameters, {STEPS} steps on {len(train)} images")

# %%
show(
    curves_by_arm(
        {kind: [(watch.looks, watch.errors)] for kind, watch in looks.items()},
        x_label="step",
        y_label="training error (%)",
        title="Training error",
        protocol="One net each, all training images, BatchNorm with their statistics. A net that guesses errs on 90 %.",
    )
)

# %% [markdown]
# The errors are measured with BatchNorm's mean and variance taken from all training images at once. The running
# averages that BatchNorm keeps lag behind the weights, most in deep plain nets, and would make these look worse.
#
# ## 2. Do gradients vanish?
#
# The norm of the loss's gradient, by the weights of each block's last convolution, before the first step. If gradients
# vanished on their way back, early blocks would get less than late ones.

# %%
seen, labels = train.images[:256], train.labels[:256]


def part_of(found, rows):
    return Estimates(found.mean[rows], found.low[rows], found.high[rows], found.n, found.level, found.method)


def block_gradients(net):
    found = gradient_norms(net.train(), seen, labels, F.cross_entropy)
    last = [i for i, name in enumerate(found.names) if name.endswith("layers.1.conv")]
    return part_of(found.norms, last)


gradients = {kind: block_gradients(net) for kind, net in fresh.items()}
blocks = [f"block {i + 1}" for i in range(9)]
show(
    layer_panels(
        blocks,
        [Panel("norm of the gradient", gradients)],
        title="Gradients at the first step, 20 layers",
        protocol="Bars: 95 % over four minibatches of 64.",
    )
)

# %% [markdown]
# Early blocks get *more*, and in the plain net even more so. The same nets with 56 layers:

# %%
deep = {kind: make_net(SEED, "cpu", depth=56, residual=residual) for kind, residual in KINDS.items()}
deep_gradients = {kind: block_gradients(net) for kind, net in deep.items()}
rows = []
for depth, found in (("20", gradients), ("56", deep_gradients)):
    for kind, norms in found.items():
        first, last = float(norms.mean[0]), float(norms.mean[-1])
        rows.append([depth, kind, number(first, 1), number(last, 2), number(first / last, 1)])
print(table(["layers", "net", "first block", "last block", "ratio"], rows, "rlrrr"))

# %% [markdown]
# Nothing vanishes. But a ratio in the hundreds is not healthy either: with BatchNorm after every convolution and no
# shortcut around it, gradients *grow* on their way back, layer by layer.
#
# ## 3. Are responses smaller?
#
# What a block computes, after its last BatchNorm and before anything is added: its standard deviation over images, unit
# by unit. At first gamma is 1, so the standard deviation is 1 in both nets, whatever the weights are. Only training
# can part them.

# %%
trained = {kind: with_population_statistics(net, train.images) for kind, net in nets.items()}
untrained = {kind: with_population_statistics(net, train.images) for kind, net in fresh.items()}
computed = [f"blocks.{i}.layers.1.hook_norm" for i in range(9)]


def response_std(net):
    found = unit_responses(net, seen, torch.Generator().manual_seed(SEED), computed)
    stds = [found[name].layer_std for name in computed]
    mean, low, high = (torch.tensor([getattr(std, end) for std in stds]) for end in ("mean", "low", "high"))
    return Estimates(mean, low, high, stds[0].n, stds[0].level, stds[0].method)


responses = {kind: response_std(net) for kind, net in trained.items()}
at_first = response_std(untrained["residual"]).mean
show(
    layer_panels(
        blocks,
        [Panel("standard deviation", {**responses, "untrained, residual": at_first})],
        title="What blocks compute, after BatchNorm",
        protocol=f"After {STEPS} steps. Bars: 95 % over 256 training images.",
    )
)

# %% [markdown]
# And beside what the block is added to? The share ||F(x)|| / ||x|| falls with depth in residual nets even before
# training, because the stream that blocks add to grows. So its *change* is what counts.

# %%
same_shape = [i for i in range(1, 9) if i % 3]
pairs = [(computed[i], f"blocks.{i - 1}.hook_post") for i in same_shape]


def shares(net):
    found = norm_shares(net, seen, pairs, torch.Generator().manual_seed(SEED))
    return [each.share.mean for each in found]


rows = []
for kind in KINDS:
    before, after = shares(untrained[kind]), shares(trained[kind])
    for i, b, a in zip(same_shape, before, after, strict=True):
        rows.append([kind, blocks[i], number(b, 2), number(a, 2), number(a / b, 2)])
print(table(["net", "", "share at first", "after training", "change"], rows, "llrrr"))

# %% [markdown]
# ## 4. Take a block out
#
# Each block that keeps the shape is bypassed: it gives out what it reads. In a residual net that removes F(x) and
# leaves the shortcut; in the plain net nothing else would make sense either. The plain net is the control: if bypassing
# cost it as little, shortcuts would have nothing to do with it.

# %%
kept_shape = [0, *same_shape]


def bypassed(net, index):
    source = f"blocks.{index - 1}.hook_post" if index else "stem.hook_post"
    given = record(net, test.images, names=source)[source]
    with intervene(net, {f"blocks.{index}.hook_post": given}), torch.no_grad():
        return net(test.images)


def wrong(logits):
    return 100 * (logits.argmax(1) != test.labels).double()


rises = {}
for kind, net in trained.items():
    with torch.no_grad():
        intact = wrong(net(test.images))
    rise = torch.stack([wrong(bypassed(net, i)) - intact for i in kept_shape], dim=1)
    rises[kind] = bootstrap_intervals(rise, torch.Generator().manual_seed(SEED))
    print(f"{kind}: {number(float(intact.mean()), 1)} % of the test images wrong with all blocks")

# %%
show(
    layer_panels(
        [blocks[i] for i in kept_shape],
        [Panel("rise of the test error (points)", rises)],
        title="One block bypassed",
        protocol=f"{len(test)} test images. Bars: 95 % over images.",
    )
)

# %% [markdown]
# In the residual net the first blocks matter most, and late ones only refine what is there already; in the plain net
# every block speaks a language that only the next one reads, and without any one of them it can but guess.
#
# ## 5. Verdicts
#
# Each claim was declared with its control and the smallest difference that would matter, then run with three pairs of
# nets (`interp claims run --all`). *Holds with a condition* names what it holds for and what not. Intervals are paired
# over seeds.

# %%
MINE = "analyses.claims.experiments.residual_"
claims = [c for c in all_claims() if any(arm.train.__module__.startswith(MINE) for arm in c.arms.values())]
results = stored.load()
for claim in claims:
    row = ", ".join(map(str, claim.numbers))
    verdict = results[claim.name].verdict if claim.name in results else "not run yet"
    print(paragraph(f"{claim.statement} (row {row})"))
    print(paragraph(f"{verdict}", 4), "\n")

# %% [markdown]
# Two of them in full. Whether residual nets are much better, by training error after 100 steps (1x) and 400 (4x):

# %%
better = results["residual-nets-perform-much-better"]
print(details(better))
show(figure_of(better)[0])

# %% [markdown]
# And whether gradients are as healthy as the paper says:

# %%
healthy = results["batchnorm-keeps-gradients-from-vanishing"]
print(details(healthy))
show(figure_of(healthy)[0])
