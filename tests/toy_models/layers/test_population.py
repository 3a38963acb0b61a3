"""BatchNorm with the statistics of all inputs."""

import pytest
import torch

from toy_models.errors import InputError
from toy_models.layers import BatchNorm
from toy_models.layers.population import with_population_statistics
from toy_models.vision import ResNet, ResNetConfig


def images(n=120):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def a_net(norm="batch"):
    return ResNet(ResNetConfig(widths=(2, 3, 4), depth=8, norm=norm), torch.Generator().manual_seed(0))


def test_every_batchnorm_holds_mean_and_variance_of_what_it_reads():
    made = with_population_statistics(a_net(), images())
    read = {}
    norms = {name: module for name, module in made.named_modules() if isinstance(module, BatchNorm)}
    handles = [
        module.register_forward_hook(lambda module, inputs, _, name=name: read.update({name: inputs[0]}))
        for name, module in norms.items()
    ]
    with torch.no_grad():
        made(images())
    for handle in handles:
        handle.remove()
    assert len(norms) == 7
    for name, norm in norms.items():
        flat = read[name].transpose(0, 1).flatten(1)
        assert torch.allclose(norm.running_mean, flat.mean(1), atol=5e-3), name
        assert torch.allclose(norm.running_var, flat.var(1), rtol=5e-3), name
    assert torch.allclose(made.stem.norm.running_var, read["stem.norm"].transpose(0, 1).flatten(1).var(1))


def test_it_gives_what_a_run_in_training_mode_gives_to_the_square_root_of_n_over_n_less_one():
    net = a_net()
    with torch.no_grad():
        trained, settled = net.train()(images()), with_population_statistics(net, images())(images())
    assert torch.allclose(trained, settled, atol=0.02)
    assert not torch.allclose(settled, a_net().eval()(images()), atol=0.02), "running statistics know nothing yet"


def test_the_model_itself_is_left_alone_and_the_copy_keeps_its_momentum():
    net = a_net().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    made = with_population_statistics(net, images())
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in before.items())
    assert net.training
    assert not made.training
    assert made.stem.norm.momentum == net.stem.norm.momentum == 0.1


def test_a_model_without_batchnorm_is_copied_as_it_is():
    net = a_net("layer")
    assert torch.equal(with_population_statistics(net, images())(images()), net.eval()(images()))


def test_one_input_has_no_variance():
    with pytest.raises(InputError, match="two inputs or more, got 1"):
        with_population_statistics(a_net(), images(1))
