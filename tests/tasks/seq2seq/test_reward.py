"""Learning by rewards: draws are what the network says, the gradient is that of the expected risk."""

import itertools
import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from charrnn.tasks.seq2seq import metrics, reward
from charrnn.tasks.seq2seq.inputs import Batch, Encoded
from charrnn.tasks.seq2seq.metrics import rouge_figures, words
from charrnn.tasks.seq2seq.model import Seq2Seq, make_network
from charrnn.tasks.seq2seq.objective import ObjectiveConfig, Seq2SeqObjective
from charrnn.tasks.seq2seq.reward import RewardObjective, draw, overlap

RIGHT = ["CC", "BB"]
TEXTS = st.lists(st.sampled_from("abc"), max_size=8)


@given(TEXTS, TEXTS)
def test_an_overlap_is_a_share_that_is_all_of_a_text_and_itself_alone(a: list[str], b: list[str]) -> None:
    assert 0 <= overlap(a, b) == overlap(b, a) <= 1
    assert (overlap(a, b) == 1) == (a == b != [])
    assert (overlap(a, b) == 0) == (not set(a) & set(b))


def test_an_overlap_is_of_words_pairs_and_the_longest_row() -> None:
    shares = 2 * 3 / 7, 2 * 1 / 5, 2 * 3 / 7  # a, b and d of four and three; a b of three and two; a b d
    assert overlap(["a", "b", "c", "d"], ["a", "b", "d"]) == pytest.approx(sum(shares) / 3)
    assert words("Don't, 日本x") == ["Don", "'", "t", ",", "日", "本", "x"]


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=8), TEXTS)
def test_an_overlap_is_the_mean_of_what_others_call_rouge(target: list[str], said: list[str]) -> None:
    figures = rouge_figures([" ".join(target)], [" ".join(said)])
    assert 100 * overlap(target, said) == pytest.approx(sum(figures.values()) / 3)


@pytest.fixture
def objective(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> RewardObjective:
    """The risk alone, of two sources, of a network that is not sure of anything, and draws of three entries at most."""
    monkeypatch.setattr(reward, "LIKELIHOOD", 0.0)
    monkeypatch.setattr(reward, "EXTRA", 0)
    monkeypatch.setattr(metrics, "WORD", re.compile("."))
    torch.manual_seed(3)
    network = make_network(replace(model.network.config, token_dropout=0.0), model.sides)
    with torch.no_grad():
        decoder = network.networks[0].decoder
        decoder.embedding.weight.mul_(0.3)
        decoder.bias[decoder.seen_size :] = -20.0  # entries never seen are not drawn
    pairs = Encoded(model.sides.source.encode(["ab", "cé"]), model.sides.target.encode(RIGHT))
    writer = Seq2Seq(network, model.sides, replace(model.search, joint_weight=0.0))
    objective = RewardObjective(writer, pairs, pairs, ObjectiveConfig(), batch_size=2, seed=0, precision="fp32")
    network.train()
    return objective


def all_targets(objective: RewardObjective) -> Tensor:
    """Every target (3, K) that can be drawn: up to its end, or three entries without one."""
    end, entries = objective.end_id, range(objective.writer.sides.target.vocab.seen_size)
    rows = itertools.product(entries, repeat=3)
    return torch.tensor([row for row in rows if all(b == end for a, b in itertools.pairwise(row) if a == end)]).T


def of_all(objective: RewardObjective) -> tuple[Batch, Tensor, Tensor]:
    """Both sources, and of all their targets (3, K) the probabilities and rewards."""
    batch, targets = Batch.of(objective.train, [0, 1], objective.device), all_targets(objective)
    (network,) = objective.model.networks
    nats, _ = objective._nats_of(network, batch, targets[:, None].expand(-1, 2, -1))
    rewards = [[overlap(right, objective._words(row)) for row in targets.T.tolist()] for right in map(words, RIGHT)]
    return batch, (-nats[..., 1:].sum(0)).exp(), torch.tensor(rewards)


@pytest.mark.parametrize(("copies", "number"), [(1, 20_000), (10_000, 2)])
def test_draws_are_as_frequent_as_the_network_finds_them_likely(
    objective: RewardObjective, copies: int, number: int
) -> None:
    """Many of a source, or few of many sources, of which those that have ended are left out."""
    _, probabilities, _ = of_all(objective)
    assert_close(probabilities.sum(1), torch.ones(2))
    batch = Batch.of(objective.train, [0] * copies + [1] * copies, objective.device)
    drawn = draw(objective.model, batch, number, objective.end_id).view(-1, 2, copies * number)
    same = (drawn[..., None] == all_targets(objective)[:, None, None]).all(0)  # (2, draws, K)
    assert (same.sum(-1) == 1).all()  # nothing follows an end
    assert_close(same.float().mean(1), probabilities, rtol=0, atol=0.015)
    assert objective.model.training


def test_leaving_out_sources_that_have_ended_changes_no_draw(model: Seq2Seq, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that writes one thing for one source, and another for another."""
    words = ["a", "bca", "cb", "abcab", "ccab", "bb"]
    pairs = Encoded(model.sides.source.encode(words), model.sides.target.encode(list(map(str.upper, words))))
    batch = Batch.of(pairs, range(len(words)), model.network.device)
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, 0.5))
    drawn = []
    for compaction in (1, 10**6):  # when all have ended, and whenever one has
        monkeypatch.setattr(reward, "COMPACTION", compaction)
        drawn.append(draw(model.network, batch, 2, model.sides.target.vocab.start_id))
    assert torch.equal(*drawn)
    assert len({model.sides.target.decode(lane.tolist()) for lane in drawn[0][..., 0].T}) > 3


def test_the_gradient_is_that_of_the_expected_risk(objective: RewardObjective) -> None:
    _, probabilities, rewards = of_all(objective)
    risk = 1 - (probabilities * rewards).sum(1).mean()
    weights = list(objective.model.parameters())
    expected = torch.autograd.grad(risk, weights, allow_unused=True)
    values, sums = [], [torch.zeros_like(weight) for weight in weights]
    for _ in range(400):
        loss = objective.next_loss()
        values.append(loss.item())
        for total, gradient in zip(sums, torch.autograd.grad(loss, weights, allow_unused=True), strict=True):
            total += 0 if gradient is None else gradient / 400
    assert sum(values) / 400 == pytest.approx(risk.item(), abs=0.03)
    ours, theirs = (
        torch.cat([(torch.zeros_like(weight) if each is None else each).flatten() for weight, each in each_weight])
        for each_weight in (zip(weights, sums, strict=True), zip(weights, expected, strict=True))
    )
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.95
    assert ours.norm() / theirs.norm() == pytest.approx(1, abs=0.2)


def test_where_all_draws_are_alike_the_targets_are_still_learned(objective: RewardObjective) -> None:
    """The gradient has the likelihood's part, that of a run without rewards."""
    likelihood = Seq2SeqObjective(
        objective.model,
        objective.train,
        objective.val,
        ObjectiveConfig(label_smoothing=0.0),
        batch_size=2,
        seed=0,
        precision="fp32",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward, "LIKELIHOOD", 1.0)
        patch.setattr(reward, "draw", lambda *_: all_targets(objective)[:, :1, None].expand(-1, 2, reward.DRAWS))
        objective.next_loss().backward()
    ours = {name: weight.grad for name, weight in objective.model.named_parameters()}
    objective.model.zero_grad(set_to_none=True)
    likelihood.next_loss().backward()
    for name, weight in objective.model.named_parameters():
        assert_close(ours[name], weight.grad, msg=name)


def test_validation_is_the_risk_of_what_is_written(objective: RewardObjective) -> None:
    written = objective.writer.translate(["ab", "cé"])
    overlaps = [overlap(words(right), words(each.text)) for right, each in zip(RIGHT, written, strict=True)]
    objective.model.train()
    assert objective.validate() == pytest.approx(1 - sum(overlaps) / 2)
    assert objective.model.training
