"""Beam search finds what trying everything finds, and no neighbour, width or stop changes what is right."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.tasks.seq2seq import search as module
from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.network import Seq2SeqConfig
from charrnn.tasks.seq2seq.search import Hypothesis, SearchConfig, search

VOCAB, END = 5, 0
LENGTHS = [7, 3, 1, 5, 2, 6]


@pytest.fixture(scope="module", params=[(True, 1), (False, 1), (True, 2)], ids=["copy", "no copy", "two members"])
def network(request: pytest.FixtureRequest) -> Ensemble:
    torch.manual_seed(3)
    copy, members = request.param
    shape = {"hidden_size": 8, "encoder_layers": 2, "decoder_layers": 2, "num_heads": 2, "lexicon": 2}
    network = Ensemble(Seq2SeqConfig(**shape, copy=copy, members=members), (VOCAB, VOCAB), (VOCAB, VOCAB), shared=True)
    for member in network.networks:
        member.decoder.lexicon_ids.random_(VOCAB)
        member.decoder.lexicon_probabilities.uniform_(0.1, 0.4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network.eval()


def sources() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(1, VOCAB, (max(LENGTHS), len(LENGTHS)), generator=draw), torch.tensor(LENGTHS)


@torch.no_grad()
def run(network: Ensemble, source: Tensor, lengths: Tensor, num_best: int = 1, **settings: Any) -> Any:
    settings = {"max_ratio": 1.0, "max_extra": 3, **settings}
    return search(network, source, lengths, END, SearchConfig(**settings), num_best)


@torch.no_grad()
def nats_of(network: Ensemble, source: Tensor, lengths: Tensor, ids: tuple[int, ...]) -> float:
    inputs, targets = torch.tensor([[END, *ids]]).T, torch.tensor([[*ids, END]]).T
    return network.nats(network(source, lengths, inputs), targets).sum().item()


@torch.no_grad()
def greedy(network: Ensemble, source: Tensor, lengths: Tensor, limit: int) -> tuple[int, ...]:
    memories, states = network.read(source, lengths), network.initial_states(1)
    ids: list[int] = []
    last = END
    while len(ids) < limit - 1:
        probabilities, states = network.step(torch.tensor([[last]]), states, memories)
        last = int(probabilities.argmax())
        if last == END:
            break
        ids.append(last)
    return tuple(ids)


def one(source: Tensor, lengths: Tensor, lane: int) -> tuple[Tensor, Tensor]:
    return source[: lengths[lane], lane : lane + 1], lengths[lane : lane + 1]


def test_a_beam_of_one_takes_the_likeliest_entry_each_time(network: Ensemble) -> None:
    source, lengths = sources()
    found = run(network, source, lengths, beam=1)
    for lane, length in enumerate(LENGTHS):
        assert found[lane][0].ids == greedy(network, *one(source, lengths, lane), length + 3)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.0])
def test_a_beam_that_holds_everything_finds_the_best_of_all(network: Ensemble, length_penalty: float) -> None:
    source, lengths = one(*sources(), 2)
    every = []
    for number in range(4):
        for ids in itertools.product(range(1, VOCAB), repeat=number):
            nats = nats_of(network, source, lengths, ids)
            every.append(Hypothesis(ids, nats, -nats / (number + 1) ** length_penalty))
    every.sort(key=lambda hypothesis: -hypothesis.score)
    (found,) = run(network, source, lengths, 6, beam=400, length_penalty=length_penalty)
    assert [each.ids for each in found] == [each.ids for each in every[:6]]
    assert [each.score for each in found] == pytest.approx([each.score for each in every[:6]], rel=1e-3)
    assert [each.nats for each in found] == pytest.approx([each.nats for each in every[:6]], rel=1e-3)


@pytest.mark.parametrize("settings", [{"beam": 1}, {"beam": 4}, {"beam": 3, "no_repeat_ngram": 2}], ids=str)
def test_neighbours_change_nothing(network: Ensemble, settings: dict[str, Any]) -> None:
    source, lengths = sources()
    together = run(network, source, lengths, **settings)
    for lane in range(len(LENGTHS)):
        (alone,) = run(network, *one(source, lengths, lane), **settings)
        assert [each.ids for each in alone] == [each.ids for each in together[lane]]
        assert [each.score for each in alone] == pytest.approx([each.score for each in together[lane]], rel=1e-3)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.5])
@pytest.mark.parametrize("num_best", [1, 3])
def test_stopping_early_cuts_nothing_better_off(
    network: Ensemble, num_best: int, length_penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"beam": 6, "length_penalty": length_penalty}
    early = run(network, *sources(), num_best, **settings)

    def never(log_p: Tensor, *rest: Any) -> Tensor:
        return torch.where(log_p.isfinite(), torch.inf, -torch.inf)

    monkeypatch.setattr(module, "_best_possible", never)
    for late, hypotheses in zip(run(network, *sources(), num_best, **settings), early, strict=True):
        assert [each.ids for each in late] == [each.ids for each in hypotheses]
        assert [each.score for each in late] == pytest.approx([each.score for each in hypotheses], rel=1e-3)


def test_the_score_of_a_hypothesis_is_that_of_the_network(network: Ensemble) -> None:
    source, lengths = sources()
    for lane, hypotheses in enumerate(run(network, source, lengths, 4, beam=4, length_penalty=0.5)):
        assert hypotheses == sorted(hypotheses, key=lambda each: -each.score)
        for each in hypotheses:
            nats = nats_of(network, *one(source, lengths, lane), each.ids)
            assert each.nats == pytest.approx(nats, rel=1e-3)
            assert each.score == pytest.approx(-nats / (len(each.ids) + 1) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_ngram_comes_twice_where_that_is_asked_for(network: Ensemble, size: int) -> None:
    hypotheses = run(network, *sources(), 3, beam=3, no_repeat_ngram=size, max_extra=20)
    for each in itertools.chain(*hypotheses):
        grams = [each.ids[i : i + size] for i in range(len(each.ids) - size + 1)]
        assert len(set(grams)) == len(grams)


def test_a_search_ends_where_the_longest_target_to_the_power_is_beyond_numbers(network: Ensemble) -> None:
    most, source, lengths = 10_000, *sources()
    assert torch.tensor([most]) ** 10.0 == math.inf
    lanes = [lane for lane in range(len(LENGTHS)) if len(greedy(network, *one(source, lengths, lane), 50)) < 40]
    assert lanes
    for lane in lanes:
        alone = one(source, lengths, lane)
        ((found,),) = run(network, *alone, beam=1, length_penalty=10.0, max_extra=most)
        assert found.ids == greedy(network, *alone, 50)


def test_a_target_is_no_longer_than_its_source_allows(network: Ensemble) -> None:
    source, lengths = sources()
    config = SearchConfig(max_ratio=0.5, max_extra=1)
    assert config.limits(lengths).tolist() == [length // 2 + 1 for length in LENGTHS]
    for lane, hypotheses in enumerate(run(network, source, lengths, 2, beam=2, max_ratio=0.5, max_extra=1)):
        assert all(len(each.ids) <= LENGTHS[lane] // 2 for each in hypotheses)


def test_what_cannot_be_searched_is_said(network: Ensemble) -> None:
    wrong: list[dict[str, float]] = [{"beam": 0}, {"length_penalty": -1.0}, {"length_penalty": 11.0}]
    wrong += [{"length_penalty": math.nan}, {"no_repeat_ngram": 0}, {"max_ratio": -1.0}, {"max_ratio": math.inf}]
    for settings in wrong:
        with pytest.raises(UsageError):
            replace(SearchConfig(), **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="beam"):
        run(network, *sources(), 3, beam=2)


def test_what_is_left_open_suits_a_joint_model() -> None:
    for weight, width, power in ((None, 5, 1.0), (0.0, 5, 1.0), (0.5, 10, 0.0)):
        config = SearchConfig(joint_weight=weight)
        assert (config.width, config.length_power) == (width, power)
        asked = SearchConfig(joint_weight=weight, beam=3, length_penalty=0.6)
        assert (asked.width, asked.length_power) == (3, 0.6)
