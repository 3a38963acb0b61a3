"""Bottlenecks, projections and very deep nets: what can be counted, each beside the count of the other design."""

import torch

from analyses.claims.claim import Arm, Claim, Row
from analyses.claims.experiments.identities import exact
from analyses.claims.experiments.residual_published import (
    PARAMETERS,
    PRINTED,
    STAGES,
    VGG_16,
    VGG_19,
    layers_in,
    residual_products,
    vgg_products,
)
from interp.units import ModelCost, model_cost
from toy_models.image_config import Shortcut
from toy_models.vision import ResNet, ResNetConfig

WIDE = (256, 512, 1024, 2048)
"""What the bottlenecks of each stage give out on ImageNet."""


def costs_at_256(seed: int, device: str, budget: float) -> Row:
    """Weights of blocks that read and give out 256 filters, counted in nets that are built and run."""
    bottleneck = sum(block_cost("bottleneck", 64, "A").weights)
    basic = sum(block_cost("basic", 256, "A").weights)
    unsqueezed = 256 * 256 * (1 + 9 + 1)
    return {
        "weights off": float(abs(bottleneck - 69_632)),
        "weights off, two 3 x 3": float(abs(basic - 69_632)),
        "part of a basic block": bottleneck / basic,
        "part of a basic block, not squeezed": unsqueezed / basic,
    }


def projection_costs(seed: int, device: str, budget: float) -> Row:
    """How far a projection is from doubling a block's weights and its multiply-adds: |with / without - 2|."""
    row: Row = {}
    for kind, width in (("bottleneck", 64), ("basic", 64)):
        without, with_it = (block_cost(kind, width, shortcut) for shortcut in ("A", "C"))
        row[f"{kind}, weights"] = abs(sum(with_it.weights) / sum(without.weights) - 2)
        row[f"{kind}, products"] = abs(with_it.total_multiply_adds / without.total_multiply_adds - 2)
    return row


def block_cost(block: str, width: int, shortcut: str) -> ModelCost:
    """Of a block that changes no shape: it reads and gives out `width` filters, or 4 `width` if a bottleneck."""
    depth, widths = (20 if block == "bottleneck" else 14), (width, width, width)
    config = ResNetConfig(block=block, depth=depth, widths=widths, shortcut=shortcut)  # type: ignore[arg-type]
    net = ResNet(config, torch.Generator().manual_seed(0)).eval()
    units = width * config.expansion
    return model_cost(net.blocks[1], torch.zeros(1, units, 8, 8))


def published_costs(seed: int, device: str, budget: float) -> Row:
    """Largest relative difference of multiply-adds, counted once and as two operations, from the printed figures."""
    counted = {d: residual_products(s, "basic" if d == 34 else "bottleneck") for d, s in STAGES.items()}
    vgg = {"16": vgg_products(VGG_16), "19": vgg_products(VGG_19)}
    return {
        "off": max(abs(n / PRINTED[d] - 1) for d, n in counted.items()),
        "off, counted twice": max(abs(2 * n / PRINTED[d] - 1) for d, n in counted.items()),
        "50 beside 34": counted[50] / counted[34],
        "50 beside 34, not squeezed": residual_products(STAGES[50], "basic", WIDE) / counted[34],
        "layers off": float(abs(layers_in(STAGES[152], "bottleneck") - 152)),
        "layers off, 151": float(abs(layers_in(STAGES[152], "bottleneck") - 151)),
        "152 beside VGG-19": counted[152] / vgg["19"],
        "152 beside VGG-19, not squeezed": residual_products(STAGES[152], "basic", WIDE) / vgg["19"],
        "101 beside VGG-16": counted[101] / vgg["16"],
        "101 beside VGG-16, not squeezed": residual_products(STAGES[101], "basic", WIDE) / vgg["16"],
    }


def parameters_by_depth(seed: int, device: str, budget: float) -> Row:
    """Largest difference of parameters from the printed ones, in halves of the last digit, for both shortcuts."""
    return {f"off, {kind}": max(off_by(depth, kind) for depth in depths(kind)) for kind in ("A", "C")}


def depths(shortcut: str) -> list[int]:
    """The deepest net is built once: without projections."""
    return [depth for depth in PARAMETERS if shortcut == "A" or depth < 1000]


def off_by(depth: int, shortcut: Shortcut) -> float:
    net = ResNet(ResNetConfig(depth=depth, channels=3, shortcut=shortcut), torch.Generator().manual_seed(0))
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    half_digit = 0.005 if PARAMETERS[depth] < 1 else 0.05
    return abs(millions - PARAMETERS[depth]) / half_digit


PUBLISHED = {"counted": Arm(published_costs)}


CLAIMS = (
    Claim(
        name="bottlenecks-have-fewer-parameters",
        numbers=(16,),
        statement="A bottleneck (1 x 1, 3 x 3, 1 x 1 convolutions) has fewer parameters than two 3 x 3 convolutions.",
        source="He et al. 2015, arXiv:1512.03385, section 4.1, figure 5 and table 1",
        arms={"at 256": Arm(costs_at_256)} | PUBLISHED,
        comparisons=(
            exact("69632 weights at 256 filters", "weights off 69,632", "at 256", "weights off", 0.0,
                  wrong="weights off, two 3 x 3"),
            exact("less than a tenth of two 3 x 3", "weights over those of two 3 x 3",
                  "at 256", "part of a basic block", 0.1, wrong="part of a basic block, not squeezed"),
            exact("50 layers cost what 34 did", "multiply-adds, 50 over 34 layers", "counted", "50 beside 34", 1.1,
                  wrong="50 beside 34, not squeezed"),
            exact("the paper's figures", "largest relative difference of multiply-adds", "counted", "off", 0.03,
                  wrong="off, counted twice"),
        ),
        why=(
            "The same three convolutions without squeezing to a quarter of the filters have 61 % of the weights: it is "
            "the squeezing that saves. Two 3 x 3 convolutions at 256 filters have 1,179,648. FLOPs in such tables are "
            "multiply-adds; counted as two operations all are off by a factor of 2."
        ),
        trained=False,
    ),
    Claim(
        name="projections-double-a-bottleneck",
        numbers=(17,),
        statement="Shortcuts with weights hurt bottlenecks: they join the two wide ends and double model and time.",
        source="He et al. 2015, arXiv:1512.03385, section 4.1: deeper bottleneck architectures",
        arms={"counted": Arm(projection_costs)},
        comparisons=(
            exact("weights", "|weights with a projection over without - 2|", "counted", "bottleneck, weights", 0.1,
                  wrong="basic, weights"),
            exact("multiply-adds", "|multiply-adds with a projection over without - 2|",
                  "counted", "bottleneck, products", 0.1, wrong="basic, products"),
        ),
        why="Beside a block of two 3 x 3 convolutions the same projection is next to nothing (6 % more).",
        trained=False,
    ),
    Claim(
        name="hundred-layer-nets-way-better",
        numbers=(18,),
        statement="Residual nets of 50, 101 and 152 layers are far better than shallower ones.",
        source="He et al. 2015, arXiv:1512.03385, abstract and table 4",
        arms=PUBLISHED,
        comparisons=(
            exact("152 layers", "layers counted off 152", "counted", "layers off", 0.0, wrong="layers off, 151"),
            exact("152 layers beside VGG-19", "multiply-adds over those of VGG-19", "counted", "152 beside VGG-19", 1.0,
                  wrong="152 beside VGG-19, not squeezed"),
        ),
        why="The same layers and filters without bottlenecks would cost nine times as much as VGG-19.",
        slip=(
            "The notes say 151 layers. Blocks of three layers in stages of 3, 8, 36 and 3, the first convolution and "
            "the last linear map make 152."
        ),
        untestable="such nets need ImageNet; on the digits nets of 20 layers already make hardly any error",
        trained=False,
    ),
    Claim(
        name="thousand-layers-slightly-worse",
        numbers=(20,),
        statement="A net of over 1,000 layers can be trained, and does slightly worse than one of 110 (overfitting).",
        source="He et al. 2015, arXiv:1512.03385, section 4.2 and table 6",
        arms={"counted": Arm(parameters_by_depth)},
        comparisons=(
            exact("parameters as printed", "largest difference, in halves of the last digit", "counted", "off, A", 1.0,
                  wrong="off, C"),
        ),
        why="With a projection around every block the same nets would have more parameters than printed.",
        untestable=(
            "1,202 layers take days on a CPU, and whether they overfit depends on CIFAR-10; printed are errors of "
            "6.43 % for 110 layers and 7.93 % for 1,202 (table 6), later 4.62 % for 1,001 (arXiv:1603.05027)"
        ),
        trained=False,
    ),
    Claim(
        name="residual-nets-serve-detection",
        numbers=(21,),
        statement="Residual nets are better for detection, localisation and segmentation, too.",
        source="He et al. 2015, arXiv:1512.03385, abstract: 28 % relative on COCO",
        arms=PUBLISHED,
        comparisons=(
            exact("101 layers beside VGG-16", "multiply-adds over those of VGG-16", "counted", "101 beside VGG-16", 1.0,
                  wrong="101 beside VGG-16, not squeezed"),
        ),
        why="What can be checked is that the gain was not bought with more products; without bottlenecks it would be.",
        untestable="detection needs COCO and a detector; neither is here",
        trained=False,
    ),
)  # fmt: skip
