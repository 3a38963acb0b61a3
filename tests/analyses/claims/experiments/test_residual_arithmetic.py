"""What is counted of bottlenecks, projections and very deep nets, against nets that are built and closed forms."""

import pytest
import torch

from analyses.claims.experiments import residual_arithmetic, residual_published
from analyses.claims.experiments.residual_arithmetic import CLAIMS, block_cost, off_by
from analyses.claims.experiments.residual_published import STAGES, block_weights, layers_in, residual_products
from analyses.claims.running import run_claim
from interp.units import model_cost
from toy_models.vision import ResNet, ResNetConfig


@pytest.fixture(scope="module")
def results():
    quick = [claim for claim in CLAIMS if claim.name != "thousand-layers-slightly-worse"]
    return {claim.name: run_claim(claim, seeds=(0,)) for claim in quick}


def test_what_can_be_counted_holds_and_what_needs_imagenet_or_coco_cannot_be_tested(results):
    assert {name: result.verdict.word for name, result in results.items()} == {
        "bottlenecks-have-fewer-parameters": "holds",
        "projections-double-a-bottleneck": "holds",
        "hundred-layer-nets-way-better": "cannot be tested at this scale",
        "residual-nets-serve-detection": "cannot be tested at this scale",
    }
    assert all(part.outcome == "holds" for result in results.values() for part in result.parts)


def test_a_projection_adds_65536_to_69632_and_is_next_to_nothing_beside_two_3_by_3():
    assert sum(block_cost("bottleneck", 64, "A").weights) == 69_632
    assert sum(block_cost("bottleneck", 64, "C").weights) == 69_632 + 65_536
    assert sum(block_cost("basic", 64, "C").weights) / sum(block_cost("basic", 64, "A").weights) == 1 + 1 / 18


def test_layers_of_the_papers_stages_are_those_in_their_names():
    blocks = {34: "basic"}
    assert [layers_in(stages, blocks.get(depth, "bottleneck")) for depth, stages in STAGES.items()] == list(STAGES)


def test_products_by_arithmetic_are_those_of_a_net_that_runs():
    widths = (64, 128, 256, 512)
    net = ResNet(ResNetConfig(size=56, channels=3, n_classes=1000, depth=10, widths=widths, shortcut="B")).eval()
    cost = model_cost(net, torch.zeros(1, 3, 56, 56))
    stem, classify = cost.multiply_adds[0], cost.multiply_adds[-1]
    first = 49 * 3 * 64 * 112**2
    assert cost.total_multiply_adds - stem == residual_products((1, 1, 1, 1), "basic") - first
    assert classify == 512 * 1000


def test_weights_of_a_block_by_arithmetic_are_those_of_a_net():
    assert block_weights(256, 64, "bottleneck") == 69_632
    assert block_weights(256, 256, "basic") == 1_179_648 == sum(block_cost("basic", 256, "A").weights)


def test_vgg_16_takes_fifteen_and_a_half_billion_products():
    assert residual_published.vgg_products(residual_published.VGG_16) == 15_470_264_320


def test_parameters_are_compared_in_halves_of_the_last_digit_that_is_printed():
    assert off_by(20, "A") == pytest.approx((0.27 - 0.269722) / 0.005)
    assert off_by(20, "C") > 1
    assert residual_arithmetic.depths("A")[-1] == 1202
