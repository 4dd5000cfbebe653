"""The network: all steps at once are one step after the other, padding and neighbours change nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.errors import UsageError
from charrnn.network.config import CELLS, Cell
from charrnn.network.ngrams import NGramsAround, code
from charrnn.tasks.seq2seq.data import Pair
from charrnn.tasks.seq2seq.inputs import Encoded, Sides, VocabConfig
from charrnn.tasks.seq2seq.network import (
    ENSEMBLE,
    ENSEMBLE_MINUTES,
    NARROW,
    SHORT_MINUTES,
    WIDE,
    Memory,
    Seq2SeqConfig,
    Seq2SeqNetwork,
)

SOURCE_LENGTHS, TARGET_LENGTHS = [9, 4, 1], [5, 7, 2]
VOCAB, SEEN = 30, 24


def make(cell: Cell = "mingru", copy: bool = True, lexicon: int = 2) -> Seq2SeqNetwork:
    torch.manual_seed(0)
    source = batch()[0][:5, 0].clamp(max=SEEN).tolist()
    codes = sorted(code(source[i : i + length], SEEN + 1) for length in (2, 3) for i in range(3))
    config = Seq2SeqConfig(
        cell,
        hidden_size=8,
        encoder_layers=3,
        num_heads=2,
        dropout=0.2,
        copy=copy,
        lexicon=lexicon,
        source_ngrams=len(codes),
    )
    network = Seq2SeqNetwork(config, (VOCAB, SEEN), (VOCAB, SEEN), shared=copy)
    assert network.encoder.around is not None
    network.encoder.around.codes.copy_(torch.tensor(codes))
    network.decoder.lexicon_ids.random_(SEEN)
    network.decoder.lexicon_probabilities.uniform_(0.1, 0.4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


KINDS = [*((cell, True, 2) for cell in CELLS), ("mingru", False, 2), ("mingru", False, 0), ("mingru", True, 0)]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0]} copy={kind[1]} lexicon={kind[2]}")
def network(request: pytest.FixtureRequest) -> Seq2SeqNetwork:
    return make(*request.param)


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    source, inputs, targets = (
        torch.randint(0, VOCAB, (max(lengths), 3), generator=draw)
        for lengths in (SOURCE_LENGTHS, TARGET_LENGTHS, TARGET_LENGTHS)
    )
    return source, torch.tensor(SOURCE_LENGTHS), inputs, targets


def nats(network: Seq2SeqNetwork, source: Tensor, lengths: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    return network.nats(*network(source, lengths, inputs), targets)


@torch.no_grad()
def test_a_pair_gives_the_same_alone_and_in_a_batch(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, targets = batch()
    together = nats(network, source, lengths, inputs, targets)
    for lane, (long, short) in enumerate(zip(SOURCE_LENGTHS, TARGET_LENGTHS, strict=True)):
        one = slice(lane, lane + 1)
        alone = nats(network, source[:long, one], lengths[one], inputs[:short, one], targets[:short, one])
        assert_close(alone[:, 0], together[:short, lane], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_the_padding_is_does_not_matter(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, targets = batch()
    past = torch.arange(len(source))[:, None] >= lengths
    other = torch.cat([source.masked_fill(past, 5), torch.full((4, 3), 7)])
    assert_close(
        nats(network, other, lengths, inputs, targets),
        nats(network, source, lengths, inputs, targets),
        rtol=1e-4,
        atol=1e-5,
    )


@torch.no_grad()
@pytest.mark.parametrize("hypotheses", [1, 3])
def test_steps_with_carried_state_are_all_steps_at_once(network: Seq2SeqNetwork, hypotheses: int) -> None:
    source, lengths, inputs, targets = batch()
    whole = nats(network, source, lengths, inputs, targets)
    memory = network.read(source, lengths)
    state = network.decoder.initial_state(3 * hypotheses)
    for t, (now, following) in enumerate(zip(inputs, targets, strict=True)):
        lanes = now.repeat_interleave(hypotheses)[None]
        features, state = network.decoder(lanes, state, memory)
        log_p = network.probabilities(network.decoder.outputs(features, memory), memory).log()
        for lane in range(3):
            chosen = log_p[lane * hypotheses : (lane + 1) * hypotheses, following[lane]]
            if following[lane] < SEEN:
                assert_close(-chosen, whole[t, lane].expand(hypotheses), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_probabilities_sum_to_one(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, _ = batch()
    outputs, memory = network(source, lengths, inputs[:1])
    every = torch.arange(VOCAB)
    total = sum(network.nats(outputs, memory, torch.full((1, 3), int(entry))).neg().exp() for entry in every)
    assert_close(torch.as_tensor(total), torch.ones(1, 3))
    assert (network.probabilities(outputs, memory).sum(-1) <= 1 + 1e-5).all()


@torch.no_grad()
def test_an_entry_never_seen_can_only_be_copied() -> None:
    network = make(copy=True)
    source, lengths, inputs, _ = batch()
    source = source.clamp(max=SEEN - 1)
    source[2, 0] = SEEN + 1
    outputs, memory = network(source, lengths, inputs[:1])
    found = network.probabilities(outputs, memory)[:, SEEN:] > 0
    assert found.nonzero().tolist() == [[0, 1]]


@torch.no_grad()
def test_the_encoder_knows_what_is_before_and_after(network: Seq2SeqNetwork) -> None:
    source, lengths, _, _ = batch()
    changed = source.clone()
    changed[6, 0] = (source[6, 0] + 1) % SEEN
    differs = (network.encoder(source, lengths) != network.encoder(changed, lengths)).any(-1)
    assert differs[:9, 0].all()
    assert not differs[:, 1:].any()


@torch.no_grad()
def test_a_target_step_knows_nothing_of_those_after_it(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, targets = batch()
    changed = inputs.clone()
    changed[3] = (inputs[3] + 1) % SEEN
    differs = nats(network, source, lengths, inputs, targets) != nats(network, source, lengths, changed, targets)
    assert not differs[:3].any()
    assert differs[3].all()


@torch.no_grad()
def test_a_memory_of_some_sources_is_theirs(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, _ = batch()
    memory: Memory = network.read(source, lengths)
    chosen = torch.tensor([2, 0])
    part = memory.select(chosen)
    state = network.decoder.initial_state
    features, _ = network.decoder(inputs, state(3), memory)
    some, _ = network.decoder(inputs[:, chosen], state(2), part)
    assert_close(some, features[:, chosen])
    whole = network.probabilities(network.decoder.outputs(features[:1], memory), memory)
    assert_close(network.probabilities(network.decoder.outputs(some[:1], part), part), whole[chosen])


@torch.no_grad()
def test_the_lexicon_favours_what_it_holds() -> None:
    network = make(copy=False)
    source, lengths, inputs, _ = batch()
    source = source.fill_(4)
    with_it = network.probabilities(*network(source, lengths, inputs[:1]))
    likely = network.decoder.lexicon_ids[4].tolist()
    network.decoder.lexicon_probabilities.zero_()
    ratio = with_it / network.probabilities(*network(source, lengths, inputs[:1]))
    others = [entry for entry in range(SEEN) if entry not in likely]
    assert (ratio[:, likely] > 1).all()
    assert_close(ratio[:, others], ratio[:, others[:1]].expand(-1, len(others)))  # among others nothing changes


def test_every_weight_is_used(network: Seq2SeqNetwork) -> None:
    nats(network, *batch()).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_dropout_is_for_training_only_and_smoothing_costs(network: Seq2SeqNetwork) -> None:
    source, lengths, inputs, targets = batch()
    assert torch.equal(nats(network, *batch()), nats(network, *batch()))
    outputs, memory = network(source, lengths, inputs)
    log_softmax = outputs.logits.log_softmax(-1)
    smoothed = network.nats(outputs, memory, targets, smoothing=0.1)
    assert_close(smoothed, 0.9 * network.nats(outputs, memory, targets) - 0.1 * log_softmax.mean(-1))
    network.train()
    assert not torch.equal(nats(network, *batch()), nats(network, *batch()))


PAIRS = 20 * [Pair("abc", "abd")]


def suited(config: Seq2SeqConfig, minutes: float | None, vocab: VocabConfig, times: int = 1) -> Seq2SeqConfig:
    """What suits the pairs, so many times over."""
    sides = Sides.suited(PAIRS, vocab)
    train = Encoded.of(PAIRS, sides, 10, 10)
    return config.suited(minutes, sides, Encoded(times * train.sources, times * train.targets))


def test_what_is_left_open_is_chosen_and_what_is_given_stays() -> None:
    chars, subwords = (suited(Seq2SeqConfig(), 3.0, VocabConfig(kind, kind)) for kind in ("char", "subword"))
    assert chars.hidden_size
    assert chars.copy
    assert chars.dropout is not None
    assert subwords.dropout is not None
    assert chars.dropout < subwords.dropout
    assert chars.source_ngrams == len(NGramsAround.lengths) * len("\nabc\n")
    assert subwords.source_ngrams == 0
    given = Seq2SeqConfig(hidden_size=8, members=3, copy=False, dropout=0.0, source_ngrams=3)
    assert suited(given, 30.0, VocabConfig("subword", "subword")) == given
    assert suited(replace(given, source_ngrams=0), 30.0, VocabConfig("char", "char")).source_ngrams == 0


def test_a_network_is_narrow_where_there_is_little_time_for_its_pairs() -> None:
    config, kind = Seq2SeqConfig(source_ngrams=0), VocabConfig("char", "char")
    much = 2 * SHORT_MINUTES
    few, many = (suited(config, much, kind, times).hidden_size for times in (1, 10_000))
    assert (suited(config, SHORT_MINUTES, kind).hidden_size, few, many) == (NARROW, WIDE, NARROW)


def test_where_there_is_more_time_than_one_network_can_use_there_are_more() -> None:
    kind = VocabConfig("char", "char")
    entries = sum(len(f"\n{text}\n") for pair in PAIRS for text in (pair.source, pair.target))
    enough = ENSEMBLE_MINUTES * entries / 1e6
    members = [suited(Seq2SeqConfig(), minutes, kind).members for minutes in (None, 0.9 * enough, 1.1 * enough)]
    assert members == [1, 1, ENSEMBLE]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cell": "transformer"}, "unknown cell"),
        ({"hidden_size": 10}, "multiple of num_heads"),
        ({"encoder_layers": 0}, "encoder_layers"),
        ({"members": 0}, "members"),
        ({"dropout": 1.0}, "dropout"),
        ({"lexicon": -1}, "lexicon"),
        ({"source_ngrams": -1}, "source_ngrams"),
    ],
)
def test_what_cannot_be_built_is_said(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Seq2SeqConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="share"):
        suited(Seq2SeqConfig(copy=True), None, VocabConfig("char", "char", shared=False))
