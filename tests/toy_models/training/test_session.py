"""A step of ours is the step of a plain PyTorch loop; a restored session goes on bit for bit."""

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from tests.small_runs import TARGET, TASK, small_run
from toy_models.errors import InputError
from toy_models.task_config import TextConfig
from toy_models.tasks import Batch, LossEstimate, make_task
from toy_models.text import TextTask
from toy_models.train_config import RunConfig
from toy_models.training import Target, TrainingDiverged
from toy_models.training.seeds import generator_for
from toy_models.training.session import Session, Update
from toy_models.transformer import Transformer

CPU = torch.device("cpu")


def session_of(config: RunConfig, target: Target = TARGET) -> Session:
    return Session(config, make_task(config.task), target, CPU)


def weights_of(session: Session) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in session.model.parameters()]


@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_steps_are_those_of_a_plain_loop(grad_clip):
    """Plain AdamW on plain gradients, clipped by hand, with warm-up and cosine decay by hand."""
    config = small_run(grad_clip=grad_clip, steps=8, warmup_steps=2, seed=3)
    session = session_of(config)
    session.model.double()
    twin = Transformer(config.model, generator_for(3, "weights")).double()
    matrices = [p for n, p in twin.named_parameters() if n.split(".")[-1].startswith("W_")]
    others = [p for n, p in twin.named_parameters() if not n.split(".")[-1].startswith("W_")]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), foreach=False)
    task, data = make_task(TASK), generator_for(3, "data")
    for done in range(8):
        falling = 0.1 + 0.9 * (1 + math.cos(math.pi * (done - 2) / 5)) / 2
        rate = 1e-2 * ((done + 1) / 2 if done < 2 else falling)
        for group in optimizer.param_groups:
            group["lr"] = rate
        tokens = task.sample(6, data).tokens
        optimizer.zero_grad()
        log_probs = twin(tokens).log_softmax(-1)[:, :-1]
        loss = -log_probs.gather(2, tokens[:, 1:, None]).mean()
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in twin.parameters() if p.grad is not None]).norm()
        if grad_clip is not None:
            assert norm > grad_clip, "the test must clip"
            for p in twin.parameters():
                p.grad *= grad_clip / (norm + 1e-6)  # as torch does it
        optimizer.step()
        update = session.advance()
        assert update.loss.item() == pytest.approx(loss.item(), rel=1e-9)
        assert update.grad_norm.item() == pytest.approx(norm.item(), rel=1e-9)
        assert update.learning_rate == pytest.approx(rate)
    for ours, theirs in zip(session.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_the_seed_decides_weights_data_and_held_out_sample():
    first, same, other = (session_of(small_run(seed=seed, eval_sequences=6)) for seed in (1, 1, 2))
    assert torch.equal(first.model.W_E, same.model.W_E)
    assert not torch.equal(first.model.W_E, other.model.W_E)
    assert torch.equal(first.held_out.tokens, same.held_out.tokens)
    assert not torch.equal(first.held_out.tokens, other.held_out.tokens)
    batches = [session.advance().batch.tokens for session in (first, same, other)]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], first.held_out.tokens)


def test_nothing_is_drawn_from_the_default_generator():
    before = torch.get_rng_state()
    session = session_of(small_run())
    session.record(session.advance())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_record_says_what_happened_before_and_after_the_update():
    session = session_of(small_run(eval_every=1))
    start = session.record(None)
    assert set(start) == {"step", "tokens", "seconds", "eval_loss", "eval_predictable_loss", "gap_closed"}
    assert (start["step"], start["tokens"]) == (0, 0)
    update = session.advance()
    record = session.record(update)
    assert record["step"] == 1
    assert record["tokens"] == 6 * 24
    assert record["loss"] == pytest.approx(update.loss.item(), rel=1e-6)
    each = F.cross_entropy(update.logits[:, :-1].transpose(1, 2), update.batch.tokens[:, 1:], reduction="none")
    assert record["predictable_loss"] == pytest.approx(each[update.batch.predictable[:, 1:]].mean().item(), rel=1e-6)
    assert record["learning_rate"] == pytest.approx(1e-2 / 4)
    assert record["grad_norm"] == pytest.approx(update.grad_norm.item())
    held_out = session.held_out
    logits = session.model(held_out.tokens)
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), held_out.tokens[:, 1:], reduction="none")
    assert record["eval_loss"] == pytest.approx(each.mean().item(), rel=1e-6)
    predictable = each[held_out.predictable[:, 1:]].mean().item()
    assert record["eval_predictable_loss"] == pytest.approx(predictable, rel=1e-6)
    chance, optimum = TARGET.chance, 0.135
    assert record["gap_closed"] == pytest.approx((chance - predictable) / (chance - optimum), rel=1e-6)
    assert (session.losses.all, session.losses.predictable) == (record["eval_loss"], record["eval_predictable_loss"])


def test_the_held_out_sample_is_measured_only_where_due():
    session = session_of(small_run(eval_every=2))
    session.record(None)
    assert "eval_loss" not in session.record(session.advance())
    assert "eval_loss" in session.record(session.advance())


def test_emergence_is_the_first_measured_step_and_the_margin_stops():
    reached = Target(chance=100.0, optimum=LossEstimate(2.0, 0.0, 1))
    session = session_of(small_run(stop_margin=50.0, eval_every=1), reached)
    session.step = 7
    session.record(None)
    assert (session.emerged_step, session.stopped_early, session.finished) == (7, True, True)
    session.step = 8
    session.record(None)
    assert session.emerged_step == 7


def test_without_a_margin_nothing_stops_before_the_last_step():
    session = session_of(small_run(eval_every=1), Target(chance=100.0, optimum=LossEstimate(2.0, 0.0, 1)))
    session.record(None)
    assert not session.stopped_early
    session.step = 24
    assert session.finished


def restored(session: Session) -> Session:
    """A new session with the state of another, by way of JSON for what is not a tensor."""
    state = session.state()
    tensors = {k: v.clone() for k, v in state.items() if isinstance(v, torch.Tensor)}
    values = json.loads(json.dumps({k: v for k, v in state.items() if k not in tensors}))
    new = session_of(session.config, session.target)
    new.restore(session.model, {**tensors, **values})
    return new


def test_a_restored_session_goes_on_bit_for_bit():
    session = session_of(small_run())
    session.record(None)
    for _ in range(5):
        session.advance()
    session.emerged_step = 3
    new = restored(session)
    assert (new.step, new.emerged_step, new.stopped_early) == (5, 3, False)
    assert new.losses == session.losses
    assert new.seconds == pytest.approx(session.seconds, abs=0.5)
    for _ in range(5):
        ours, theirs = new.advance(), session.advance()
        assert torch.equal(ours.batch.tokens, theirs.batch.tokens)
        assert torch.equal(ours.loss, theirs.loss)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(new), weights_of(session), strict=True))


def test_the_state_of_another_run_is_refused():
    session = session_of(small_run())
    session.record(None)
    state = session.state()
    with pytest.raises(InputError, match="other sequences than when this run began; has its text changed"):
        session_of(small_run(seed=9)).restore(session.model, state)
    with pytest.raises(InputError, match="not the state of a training run"):
        session_of(small_run()).restore(session.model, {k: v for k, v in state.items() if k != "seconds"})
    with pytest.raises(InputError, match="not the state of a training run"):
        session_of(small_run()).restore(session.model, {**state, "data_generator": torch.zeros(3).byte()})
    wider = Transformer(replace(session.config.model, n_ctx=99))
    with pytest.raises(InputError, match="another config than the run's"):
        session_of(small_run()).restore(wider, state)


def test_a_loss_that_is_nan_stops_before_it_spoils_the_weights():
    session = session_of(small_run())
    session.advance()
    with torch.no_grad():
        session.model.unembed.b_U[3] = torch.inf
    before = weights_of(session)
    with pytest.raises(TrainingDiverged, match=r"the loss became (nan|inf) after 1 updates: lower learning_rate"):
        session.advance()
    assert session.step == 1
    assert all(torch.equal(a, b) for a, b in zip(weights_of(session), before, strict=True))


def test_a_gradient_that_overflows_is_found_although_the_loss_is_finite():
    session = session_of(small_run())
    session.model.embed.W_E.register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(TrainingDiverged, match=r"the gradient became (nan|inf) after 0 updates") as raised:
        session.advance()
    assert raised.value.step == 0


def test_on_a_gpu_nan_is_found_when_metrics_are_written_and_before_a_checkpoint():
    """There the loss is not waited for at each step."""
    session = session_of(small_run())
    tokens = session.held_out.tokens[:6]
    nan = torch.tensor(torch.nan)
    update = Update(Batch(tokens, tokens > 0), session.model(tokens).detach(), nan, torch.tensor(1.0), 0.1)
    with pytest.raises(TrainingDiverged, match="the loss became nan"):
        session.record(update)
    session.check_weights()
    with torch.no_grad():
        session.model.pos_embed.W_pos[0, 0] = torch.nan
    with pytest.raises(TrainingDiverged, match=r"pos_embed\.W_pos became nan"):
        session.check_weights()
    with pytest.raises(TrainingDiverged, match="the held-out loss became nan"):
        session.evaluate()


def test_text_is_held_out_by_file(tmp_path):
    for name in "abcdefghij":
        (tmp_path / f"{name}.txt").write_text(name * 50)
    task = make_task(TextConfig(paths=(str(tmp_path),), tokenizer="bytes", n_ctx=24, held_out=0.2))
    assert isinstance(task, TextTask)
    model = replace(small_run().model, d_vocab=257)
    session = Session(RunConfig(model, task.config, small_run().train), task, Target(5.0, None), CPU)
    held_out = set(session.held_out.tokens[:, 1].tolist())
    trained = {token for _ in range(20) for token in session.advance().batch.tokens[:, 1].tolist()}
    assert held_out
    assert trained
    assert not held_out & trained
    assert "gap_closed" not in session.record(None)
