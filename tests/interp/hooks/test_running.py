"""`record` and `intervene` on our transformer and on models of plain torch modules."""

import threading
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

from interp.errors import InputError
from interp.hooks import intervene, record
from toy_models.hook_point import HookPoint

PATTERNS = "blocks.*.attn.hook_pattern"


@pytest.fixture
def cnn(generator):
    layers = [nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3), nn.ReLU(inplace=True), nn.Flatten()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(*layers, nn.Linear(24, 3)).eval()


@pytest.fixture
def images(generator):
    return torch.randn(5, 1, 6, 6, generator=generator)


def hooks_on(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def returns_a_number(value) -> Any:
    return 1.0


class Reuses(nn.Module):
    """Runs one module twice, and one that gives several tensors."""

    def __init__(self):
        super().__init__()
        self.twice = nn.Linear(2, 2, bias=False)
        self.twice.weight = nn.Parameter(torch.eye(2) * 2)
        self.lstm = nn.LSTM(2, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.lstm(self.twice(self.twice(x)))


# --- what is recorded ------------------------------------------------------------------------------------------------


def test_everything_is_every_hook_point_with_the_values_that_pass_it(model, tokens):
    expected = {}
    points = {n: m for n, m in model.named_modules() if isinstance(m, HookPoint) and not m.on_request}
    handles = [
        point.register_forward_hook(lambda m, a, value, name=name: expected.update({name: value.detach().clone()}))
        for name, point in points.items()
    ]
    logits = model(tokens)
    for handle in handles:
        handle.remove()
    activations = record(model, tokens)
    assert list(activations) == list(expected)
    assert all(torch.equal(activations[name], value) for name, value in expected.items())
    torch.testing.assert_close(activations.output, logits)
    assert activations.axes["blocks.0.attn.hook_z"] == ("batch", "pos", "head", "d_head")
    assert not any(value.requires_grad for value in activations.values())


def test_split_inputs_are_recorded_only_when_asked_for(model, tokens):
    assert not [name for name in record(model, tokens) if name.endswith("_input")]
    assert len(record(model, tokens, names="*_input")) == 6
    assert list(record(model, tokens, names="blocks.1.hook_k_input")) == ["blocks.1.hook_k_input"]


def test_names_and_globs_select(model, tokens):
    both = record(model, tokens, names=[PATTERNS, "hook_embed", "blocks.0.attn.hook_pattern"])
    assert sorted(both) == ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_pattern", "hook_embed"]
    assert list(record(model, tokens, names="blocks.?.ln1")) == ["blocks.0.ln1", "blocks.1.ln1"]


def test_a_plain_model_gives_every_module_without_children(cnn, images):
    activations = record(cnn, images)
    assert list(activations) == ["0", "1", "2", "3", "4", "5"]
    value = images
    for name, layer in enumerate(cnn):
        value = layer(value.clone())  # its ReLUs work in place
        torch.testing.assert_close(activations[str(name)], value, rtol=0, atol=0)
    assert torch.equal(activations.output, value)


def test_modules_with_children_are_recorded_by_name_or_by_a_glob_that_matches_nothing_else(cnn, images):
    nested = nn.Sequential(cnn[:2], cnn[2:])
    assert list(record(nested, images, names="0")) == ["0"]
    assert list(record(nested, images, names="?")) == ["0", "1"]
    assert list(record(nested, images, names="0*")) == ["0.0", "0.1"]


def test_an_unknown_name_lists_the_nearest(model, tokens, cnn, images):
    with pytest.raises(
        InputError, match=r"'blocks\.1\.attn\.hook_patern' is not.*did you mean blocks\.1\.attn\.hook_pa"
    ):
        record(model, tokens, names="blocks.1.attn.hook_patern")
    with pytest.raises(InputError, match=r"'blocks\.\*\.hook_zz' matches nothing in this model; did you mean blocks"):
        record(model, tokens, names="blocks.*.hook_zz")
    with pytest.raises(InputError, match="'7' is not in this model; did you mean 0, 1 or 2"):
        record(cnn, images, names="7")
    with pytest.raises(InputError, match=r"names must be .* got \[\]"):
        record(cnn, images, names=[])


def test_an_activation_that_was_not_recorded_is_a_key_error_with_the_nearest(model, tokens):
    activations = record(model, tokens, names=PATTERNS)
    with pytest.raises(KeyError, match=r"'blocks.2.attn.hook_pattern' was not recorded; did you mean blocks\.1\.attn"):
        activations["blocks.2.attn.hook_pattern"]
    assert "blocks.2.attn.hook_pattern" not in activations


def test_activations_print_names_shapes_and_axes(model, tokens):
    text = repr(record(model, tokens, names=["hook_embed", PATTERNS]))
    assert text.splitlines()[0] == "Activations of 3 points"
    assert "  hook_embed                  float32 [2, 9, 12]  (batch pos d_model)" in text
    assert "  blocks.1.attn.hook_pattern  float32 [2, 3, 9, 9]  (batch head dest src)" in text


def test_a_module_that_runs_twice_gives_numbered_values():
    activations = record(Reuses(), torch.ones(1, 2), names=["twice"])
    assert list(activations) == ["twice#0", "twice#1"]
    assert activations["twice#0"].tolist() == [[2.0, 2.0]]
    assert activations["twice#1"].tolist() == [[4.0, 4.0]]
    assert list(record(Reuses(), torch.ones(1, 2), names="twice#0")) == ["twice#0"]
    assert list(record(Reuses(), torch.ones(1, 2), names="twice#1")) == ["twice#1"]
    with pytest.raises(KeyError, match="did you mean twice#"):
        activations["twice"]


def test_a_module_that_returns_several_tensors_gives_indexed_values():
    model = Reuses()
    activations = record(model, torch.ones(1, 2), names="lstm")
    output, (_, cell) = activations.output
    assert list(activations) == ["lstm[0]", "lstm[1][0]", "lstm[1][1]"]
    assert torch.equal(activations["lstm[0]"], output)
    assert torch.equal(activations["lstm[1][1]"], cell)
    assert list(record(model, torch.ones(1, 2), names="lstm[1]")) == ["lstm[1][0]", "lstm[1][1]"]


def test_what_never_runs_is_an_error_by_name_and_listed_by_glob():
    with pytest.raises(InputError, match="nothing was recorded at 'unused': the model did not run"):
        record(Reuses(), torch.ones(1, 2), names="unused")
    with pytest.raises(InputError, match="nothing was recorded at 'twice#2'"):
        record(Reuses(), torch.ones(1, 2), names="twice#2")
    activations = record(Reuses(), torch.ones(1, 2))
    assert activations.silent == ("unused",)
    assert "1 points that no value passed" in repr(activations)


def test_parametrised_layers_count_as_one_module():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.ReLU())
    assert list(record(model, torch.ones(1, 2))) == ["0", "1"]


def test_a_module_known_under_two_names_is_found_under_both():
    shared = nn.Linear(2, 2)
    model = nn.ModuleDict({"a": shared, "b": shared})
    model.forward = lambda x: model["b"](x)
    assert list(record(model, torch.ones(1, 2), names="b")) == ["b"]


# --- what is kept of it ----------------------------------------------------------------------------------------------


def test_positions_select_destinations_of_patterns_and_places_elsewhere(model, tokens):
    whole = record(model, tokens)
    cases: list[tuple[Any, list[int]]] = [(-1, [8]), (slice(2, 5), [2, 3, 4]), ([0, 7], [0, 7]), ((3, 1), [3, 1])]
    for positions, index in [*cases, (torch.tensor([3, 1]), [3, 1])]:
        some = record(model, tokens, positions=positions)
        assert torch.equal(some["blocks.1.attn.hook_pattern"], whole["blocks.1.attn.hook_pattern"][:, :, index])
        assert torch.equal(some["blocks.0.attn.hook_z"], whole["blocks.0.attn.hook_z"][:, index])
        assert torch.equal(some["ln_final.hook_scale"], whole["ln_final.hook_scale"][:, index])


def test_positions_are_axis_one_of_foreign_modules_or_the_axis_that_is_called_so(cnn, images):
    whole = record(cnn, images)["2"]
    assert torch.equal(record(cnn, images, names="2", positions=[3])["2"], whole[:, [3]])
    rows = record(cnn, images, names="2", positions=[1], axes={"2": "batch unit pos x"})
    assert torch.equal(rows["2"], whole[:, :, [1]])
    assert rows.axes["2"] == ("batch", "unit", "pos", "x")


def test_positions_that_cannot_be_are_refused(model, tokens, cnn, images):
    with pytest.raises(InputError, match="has positions 0 to 8, there is no position 9"):
        record(model, tokens, positions=9)
    with pytest.raises(InputError, match="positions must be whole numbers"):
        record(model, tokens, positions=torch.tensor([1.5]))
    with pytest.raises(InputError, match=r"2 has axes \(batch unit y x\) and so no positions"):
        record(cnn, images, names="2", positions=0, axes={"*": "batch unit y x"})
    with pytest.raises(InputError, match=r"2 should have axes \(batch pos\), its value is \[5, 6, 2, 2\]"):
        record(cnn, images, names="2", positions=0, axes={"2": "batch pos"})
    with pytest.raises(InputError, match="axes has 'nine', which is not in this model"):
        record(cnn, images, names="2", axes={"nine": "batch pos"})


def test_selected_positions_do_not_hold_the_rest_in_memory(model, tokens):
    for value in record(model, tokens, positions=slice(0, 1)).values():
        assert value.untyped_storage().nbytes() <= value.nbytes


def test_a_reduction_sees_each_value_and_only_its_result_is_kept(model, tokens):
    whole = record(model, tokens)
    mean = record(model, tokens, names=PATTERNS, reduce=lambda pattern: pattern.mean(0))
    torch.testing.assert_close(mean[f"{PATTERNS.replace('*', '1')}"], whole["blocks.1.attn.hook_pattern"].mean(0))
    assert mean.axes["blocks.1.attn.hook_pattern"] is None
    view = record(model, tokens, reduce={"*hook_z": lambda z: z[:, -1]})
    assert torch.equal(view["blocks.0.attn.hook_z"], whole["blocks.0.attn.hook_z"][:, -1])
    assert view["blocks.0.attn.hook_z"].untyped_storage().nbytes() == view["blocks.0.attn.hook_z"].nbytes
    assert torch.equal(view["blocks.0.attn.hook_q"], whole["blocks.0.attn.hook_q"])


def test_reductions_that_cannot_be_are_refused(model, tokens):
    with pytest.raises(InputError, match=r"reduce has '.*hook_zz', which is not recorded; did you mean"):
        record(model, tokens, reduce={"*hook_zz": torch.mean})
    with pytest.raises(InputError, match="the reduction of hook_embed must return a tensor, got float"):
        record(model, tokens, names="hook_embed", reduce=returns_a_number)


def test_values_are_cast_and_moved(model, tokens):
    whole = record(model, tokens)
    halves = record(model, tokens, dtype=torch.float16, device="cpu")
    assert {(value.dtype, value.device.type) for value in halves.values()} == {(torch.float16, "cpu")}
    assert all(torch.equal(value, whole[name].half().cpu()) for name, value in halves.items())
    assert torch.equal(record(model, tokens, device="cpu")["hook_embed"], whole["hook_embed"].cpu())
    assert record(model, tokens, device="meta")["hook_embed"].device.type == "meta"


def test_whole_numbers_are_not_cast():
    activations = record(nn.Sequential(nn.Identity()), torch.tensor([[1, 2]]), dtype=torch.float16)
    assert activations["0"].dtype == torch.int64


def test_options_that_cannot_be_are_refused(model, tokens):
    with pytest.raises(InputError, match="no device 'moon' here"):
        record(model, tokens, device="moon")
    with pytest.raises(InputError, match=r"dtype must be a floating-point torch.dtype.*torch.int64"):
        record(model, tokens, dtype=torch.int64)
    with torch.inference_mode(), pytest.raises(InputError, match="grad=True cannot work inside"):
        record(model, tokens, grad=True)
    with pytest.raises(InputError, match="lazy parameters"):
        record(nn.Sequential(nn.LazyLinear(2)), torch.ones(1, 2))


def test_a_sink_gets_every_value_and_nothing_is_stored(model, tokens):
    whole, got = record(model, tokens), {}
    activations = record(model, tokens, sink=lambda name, value: got.update({name: value}), positions=[2])
    assert len(activations) == 0
    assert list(got) == list(whole)
    assert torch.equal(got["blocks.1.hook_resid_post"], whole["blocks.1.hook_resid_post"][:, [2]])
    torch.testing.assert_close(activations.output, whole.output)


def test_a_sink_wants_the_run_named_of_a_module_that_runs_twice():
    got: dict[str, torch.Tensor] = {}
    with pytest.raises(InputError, match="twice runs several times: name the run for the sink, twice#1"):
        record(Reuses(), torch.ones(1, 2), names="twice", sink=got.__setitem__)
    record(Reuses(), torch.ones(1, 2), names="twice#1", sink=got.__setitem__)
    assert got["twice#1"].tolist() == [[4.0, 4.0]]


# --- memory that somebody writes to ----------------------------------------------------------------------------------


def test_what_was_recorded_does_not_change_when_parameters_and_inputs_do(model, tokens, cnn, images):
    activations = record(model, tokens)
    kept = {name: value.clone() for name, value in activations.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(activations[name], value) for name, value in kept.items())
    passed_on = record(nn.Sequential(nn.Identity()), images)
    before = images.clone()
    images.zero_()
    assert torch.equal(passed_on["0"], before)


class WritesAfterwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.point = HookPoint("batch unit")

    def forward(self, x):
        x = self.point(self.inner(x))
        x += 1.0
        return x


def test_a_model_that_writes_into_a_hook_point_is_told_so_and_a_plain_module_is_copied():
    model = WritesAfterwards()
    with pytest.raises(InputError, match="the model wrote into the value of point after it passed"):
        record(model, torch.ones(1, 2))
    inner = record(model, torch.ones(1, 2), names="inner")
    torch.testing.assert_close(inner["inner"], inner.output - 1.0)


class WritesToTheSource(nn.Module):
    """What passes `same` is memory that the model holds under another name, and writes to."""

    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        x = x * 2
        kept = self.same(x)
        x += 1.0
        return kept, x


def test_a_value_that_the_model_holds_elsewhere_is_copied():
    assert record(WritesToTheSource(), torch.ones(1, 2))["same"].tolist() == [[2.0, 2.0]]


# --- gradients -------------------------------------------------------------------------------------------------------


def test_gradients_reach_recorded_values_of_a_transformer(model, tokens):
    activations = record(model, tokens, grad=True)
    pattern = activations["blocks.1.attn.hook_pattern"]
    (gradient,) = torch.autograd.grad(activations.output[0, -1, 0], pattern)
    assert float(gradient[0, :, -1].abs().min()) > 0
    assert float(gradient[1].abs().max()) == 0.0  # another sequence
    assert not record(model, tokens).output.requires_grad


def test_gradients_reach_recorded_values_that_the_model_later_overwrites(cnn, images):
    activations = record(cnn, images, grad=True)
    gradients = torch.autograd.grad(activations.output.sum(), [activations["0"], activations["1"]])
    reference = images
    values = []
    for layer in cnn:
        reference = layer(reference).clone() if not isinstance(layer, nn.ReLU) else reference.relu()
        values.append(reference)
    expected = torch.autograd.grad(reference.sum(), values[:2])
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(activations["0"], values[0])


# --- hooks go away ---------------------------------------------------------------------------------------------------


def test_no_hooks_remain(model, tokens):
    record(model, tokens)
    with intervene(model, {PATTERNS: torch.zeros_like}):
        assert hooks_on(model) == 4  # two points, and the model's start and end
        model(tokens)
    assert hooks_on(model) == 0


def test_no_hooks_remain_after_an_exception_anywhere(model, tokens):
    def fails(value):
        raise ZeroDivisionError

    with pytest.raises(ValueError, match="10 tokens, the model's context holds 9"):
        record(model, tokens[:, [0] * 10])
    with pytest.raises(ZeroDivisionError):
        record(model, tokens, reduce=fails)
    with pytest.raises(ZeroDivisionError) as error, intervene(model, {"hook_embed": fails}):
        model(tokens)
    assert error.value.__notes__ == ["(in the intervention on hook_embed)"]
    with suppress(KeyboardInterrupt), intervene(model, {"hook_embed": torch.zeros_like}):
        raise KeyboardInterrupt
    assert hooks_on(model) == 0


def test_another_thread_sees_no_intervention_and_records_nothing_here(model, tokens):
    plain, answers = model(tokens), []
    with intervene(model, {"hook_embed": torch.zeros_like}):
        thread = threading.Thread(target=lambda: answers.append(model(tokens)))
        thread.start()
        thread.join()
        changed = model(tokens)
    torch.testing.assert_close(answers[0], plain)
    assert float((changed - plain).detach().abs().max()) > 0.1


def test_what_another_thread_runs_meanwhile_is_not_recorded(model, tokens):
    plain = record(model, tokens)

    def run_elsewhere(value):
        thread = threading.Thread(target=lambda: model(tokens.flip(1)))
        thread.start()
        thread.join()
        return value

    activations = record(model, tokens, reduce={"hook_embed": run_elsewhere})
    assert list(activations) == list(plain)
    torch.testing.assert_close(dict(activations), dict(plain))
