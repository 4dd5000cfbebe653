"""The network: both directions see the whole text, padding and windows change nothing."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.network.config import CELLS
from charrnn.network.model import State, reverse
from charrnn.network.ngrams import NGramsBefore
from charrnn.tasks.classifier.network import DROPOUTS, ClassifierConfig, ClassifierNetwork, Inputs, Reader, View

SIZES = {"char": (40, 30), "subword": (60, 60)}
LENGTHS = [13, 7, 1, 10]


@pytest.fixture(params=[*CELLS, "lstm with n-grams"])
def network(request: pytest.FixtureRequest) -> ClassifierNetwork:
    cell, _, ngrams = request.param.partition(" ")
    torch.manual_seed(0)
    codes = torch.arange(1, 33 * 33) if ngrams else torch.empty(0)  # of all pairs
    config = ClassifierConfig(
        "both",
        cell,
        num_readers=2,
        char_width=12,
        char_layers=2,
        subword_width=8,
        subword_layers=1,
        char_ngrams=len(codes),
        **DROPOUTS,
    )
    network = ClassifierNetwork(config, SIZES, 3)
    for module in network.modules():
        if isinstance(module, NGramsBefore):
            module.codes.copy_(codes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network.eval()


def texts(lengths: list[int]) -> Inputs:
    draw = torch.Generator().manual_seed(1)
    longest = max(lengths)
    return [
        (torch.randint(0, size, (longest, len(lengths)), generator=draw), torch.tensor(lengths))
        for size, _ in SIZES.values()
    ]


def alone(inputs: Inputs, lane: int) -> Inputs:
    return [(ids[: lengths[lane], lane : lane + 1], lengths[lane : lane + 1]) for ids, lengths in inputs]


@torch.no_grad()
def test_a_text_gives_the_same_alone_and_in_a_batch(network: ClassifierNetwork) -> None:
    inputs = texts(LENGTHS)
    together = network(inputs)
    for lane in range(len(LENGTHS)):
        assert_close(network(alone(inputs, lane))[0], together[lane], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_the_padding_is_does_not_matter(network: ClassifierNetwork) -> None:
    inputs = texts(LENGTHS)
    other = []
    for ids, lengths in inputs:
        past = torch.arange(len(ids))[:, None] >= lengths
        other.append((torch.cat([ids.masked_fill(past, 5), torch.full((4, len(LENGTHS)), 7)]), lengths))
    assert_close(network(other), network(inputs), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 5, 12, 13])
def test_a_long_text_in_windows_is_the_text_as_a_whole(network: ClassifierNetwork, window: int) -> None:
    inputs = texts([13])
    assert_close(network(inputs, window=window), network(inputs), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_features_know_what_is_before_and_after_them(network: ClassifierNetwork) -> None:
    view = cast(View, cast(Reader, network.readers[0]).views["char"])
    (ids, lengths), _ = texts([13])
    changed = ids.clone()
    changed[6] = (ids[6] + 1) % 30
    differs = (view(ids, lengths) != view(changed, lengths)).view(13, 2, -1).any(-1)
    assert differs[:, 0].tolist() == [place >= 6 for place in range(13)]
    assert differs[:, 1].tolist() == [place <= 6 for place in range(13)]


def test_every_weight_is_used(network: ClassifierNetwork) -> None:
    network(texts(LENGTHS)).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_hidden_tokens_and_dropout_are_for_training_only(network: ClassifierNetwork) -> None:
    inputs = texts(LENGTHS)
    assert torch.equal(network(inputs), network(inputs))
    network.train()
    assert not torch.equal(network(inputs), network(inputs))


@torch.no_grad()
def test_a_token_that_is_hidden_is_hidden_from_both_directions(
    network: ClassifierNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = cast(View, cast(Reader, network.readers[0]).views["char"])
    masks = []
    for encoder in (view.forwards, view.backwards):

        def features(ids: Tensor, state: State, mask: Tensor, read: Callable[..., Any] = encoder.features) -> Any:
            masks.append(mask)
            return read(ids, state, mask)

        monkeypatch.setattr(encoder, "features", features)
    view.token_dropout = 0.5
    ids, lengths = texts(LENGTHS)[0]
    view.train()(ids, lengths)
    assert_close(reverse(masks[1], lengths), masks[0], rtol=0, atol=0)
    assert set(masks[0].unique().tolist()) == {0.0, 1.0}


def test_reversing_twice_changes_nothing() -> None:
    x, lengths = torch.randn(6, 3, 2), torch.tensor([6, 1, 4])
    turned: Tensor = reverse(x, lengths)
    assert torch.equal(reverse(turned, lengths), x)
    assert torch.equal(turned[:4, 2], x[:4, 2].flip(0))
    assert torch.equal(turned[4:, 2], x[4:, 2])


def test_what_suits_the_texts_leaves_alone_what_was_chosen() -> None:
    names, sentences = ["Ivanov", "O Neill", "Smith"], ["what is a name ?", "who is it"]
    single, several = ClassifierConfig().suited(names), ClassifierConfig().suited(sentences)
    assert (single.view_names, several.view_names) == (("char",), ("subword",))
    assert single.num_readers is not None
    assert several.num_readers is not None
    assert single.num_readers < several.num_readers
    for texts in (names, sentences):
        rates = {"dropout": 0.0, "pooled_dropout": 0.1, "token_dropout": 0.0}
        shapes = {"char_width": 48, "char_layers": 3, "subword_width": 32, "subword_layers": 2}
        ngrams = {"char_ngrams": 5, "subword_ngrams": 0}
        chosen = ClassifierConfig("subword", "gru", num_readers=2, subword_vocab_size=300, **shapes, **ngrams, **rates)
        assert chosen.suited(texts) == chosen


def test_the_more_texts_the_less_dropout() -> None:
    few, some, many = (ClassifierConfig().suited(["Ivanov"] * number) for number in (10, 1000, 64_000))
    assert few == some
    for name in DROPOUTS:
        assert getattr(many, name) == pytest.approx(getattr(few, name) / 4)
