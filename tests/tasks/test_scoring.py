"""Scores of texts and lines: every character once, whatever the chunks and the company."""

import json
import math
import random
from collections.abc import Callable
from dataclasses import astuple
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.dynamic import DynamicConfig
from charrnn.network.model import Network
from charrnn.tasks.language_model import model as module
from charrnn.tasks.language_model.model import LanguageModel, Score
from charrnn.text.vocab import Kind, build_vocab

TRAINED_ON = "Ein naïver Text – café, 日本 😀!\nNoch eine Zeile. " * 4
TEXTS = ["", "a", "\n", TRAINED_ON, "Unseen: Ж漢字 \x00\t", "naïve\n\n\n日本", "Ж" * 50]


@pytest.fixture(scope="module", params=["char", "byte", "subword"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(request.param)


@pytest.fixture(scope="module", params=["mingru", "lstm"])
def model_of_any_cell(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained("char", request.param)


def untrained(kind: Kind, cell: Cell = "mingru") -> LanguageModel:
    torch.manual_seed(0)
    vocab = build_vocab(kind, [TRAINED_ON], 280 if kind == "subword" else None)
    network = Network(NetworkConfig(cell=cell, hidden_size=16, num_layers=1), len(vocab), vocab.seen_size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return LanguageModel(network, vocab)


def naive_nats(model: LanguageModel, text: str) -> float:
    """After a line end, one entry after another, from probabilities of all entries."""
    network, vocab = model.network, model.vocab
    state, previous, nats = network.initial_state(1), vocab.start_id, 0.0
    with torch.no_grad():
        for entry in vocab.encode(text).tolist():
            logits, state = network(torch.tensor([[previous]]), state)
            probs = logits[0, 0].softmax(-1).tolist()
            seen, unseen = network.seen_size, network.vocab_size - network.seen_size
            nats -= math.log(probs[entry] if entry < seen else probs[seen] / unseen)
            previous = entry
    return nats


@pytest.mark.parametrize("text", TEXTS)
def test_a_score_is_the_sum_over_all_entries(text: str, model: LanguageModel) -> None:
    score = model.score(text)
    assert score.nats == pytest.approx(naive_nats(model, text), rel=1e-4)
    assert (score.chars, score.bytes) == (len(text), len(text.encode()))
    assert score.tokens == len(model.vocab.encode(text))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(TRAINED_ON)), max_size=5))
def test_chunks_do_not_matter(cuts: list[int], model: LanguageModel) -> None:
    edges = [0, *sorted(cuts), len(TRAINED_ON)]
    chunks = [TRAINED_ON[start:stop] for start, stop in pairwise(edges)]
    whole, parts = model.score(TRAINED_ON), model.score(iter(chunks))
    assert astuple(parts) == pytest.approx(astuple(whole), rel=1e-4)


def test_figures_follow_from_nats_and_counts() -> None:
    score = Score(nats=8 * math.log(2), tokens=2, chars=4, bytes=16)
    assert score.nats_per_char == pytest.approx(2 * math.log(2))
    assert score.bits_per_char == pytest.approx(2)
    assert score.bits_per_byte == pytest.approx(0.5)
    assert score.perplexity == pytest.approx(16)
    assert score.as_dict() == {
        **{"nats": score.nats, "tokens": 2, "chars": 4, "bytes": 16, "nats_per_char": score.nats_per_char},
        **{"bits_per_char": score.bits_per_char, "bits_per_byte": 0.5, "perplexity": score.perplexity},
    }


def test_an_empty_text_has_no_averages(model: LanguageModel) -> None:
    figures = model.score("").as_dict()
    assert figures == {
        **{"nats": 0.0, "tokens": 0, "chars": 0, "bytes": 0},
        **dict.fromkeys(["nats_per_char", "bits_per_char", "bits_per_byte", "perplexity"]),
    }
    json.dumps(figures, allow_nan=False)


def test_a_perplexity_beyond_all_numbers_is_still_one() -> None:
    assert math.isfinite(Score(nats=1e6, tokens=1, chars=1, bytes=1).perplexity)


# Dynamic


@pytest.mark.parametrize("text", TEXTS)
def test_the_dynamic_score_has_the_plain_one_beside_it(text: str, model: LanguageModel) -> None:
    plain, dynamic = model.score_dynamic(text, DynamicConfig(segment_len=5))
    assert astuple(plain) == pytest.approx(astuple(model.score(text)), rel=1e-4)
    assert (dynamic.tokens, dynamic.chars, dynamic.bytes) == (plain.tokens, plain.chars, plain.bytes)
    assert math.isfinite(dynamic.nats)


def test_a_dynamic_score_does_not_depend_on_chunks_and_leaves_the_model_alone(
    model_of_any_cell: LanguageModel,
) -> None:
    whole = model_of_any_cell.score_dynamic(TRAINED_ON)
    assert model_of_any_cell.score_dynamic(iter(TRAINED_ON)) == whole


def test_a_text_that_repeats_itself_scores_better_dynamically(model_of_any_cell: LanguageModel) -> None:
    plain, dynamic = model_of_any_cell.score_dynamic("Zeile naïv. " * 100)
    assert dynamic.nats < plain.nats


# Lines


LINES = ["", *TRAINED_ON.split("\n")[:3], "Ж漢", "", "x" * 700, "é", TRAINED_ON.replace("\n", " "), ""]


@pytest.mark.parametrize("budget", [1, 64, 1 << 14], ids="batches of {} entries".format)
@pytest.mark.parametrize("at_once", [1, 3, 2048], ids="{} lines read ahead".format)
def test_each_line_is_scored_as_if_alone(
    budget: int, at_once: int, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINE_BATCH_TOKENS", budget)
    monkeypatch.setattr(module, "LINES_AT_ONCE", at_once)
    together = list(model.score_lines(iter(LINES)))
    assert [astuple(score) for score in together] == [
        pytest.approx(astuple(model.score(line)), rel=1e-4) for line in LINES
    ]


def test_the_order_of_lines_does_not_matter(model_of_any_cell: LanguageModel) -> None:
    order = random.Random(0).sample(range(len(LINES)), len(LINES))
    straight = list(model_of_any_cell.score_lines(LINES))
    shuffled = list(model_of_any_cell.score_lines(LINES[i] for i in order))
    for place, i in enumerate(order):
        assert astuple(shuffled[place]) == pytest.approx(astuple(straight[i]), rel=1e-4)


def test_no_lines_are_no_scores(model: LanguageModel) -> None:
    assert list(model.score_lines([])) == []


def test_lines_are_read_as_they_are_needed(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_AT_ONCE", 4)
    read: list[int] = []
    scores = model.score_lines(str(read.append(i) or i) for i in range(100))  # type: ignore[func-returns-value]
    next(scores)
    assert len(read) == 4


@pytest.mark.parametrize("score", [LanguageModel.score, lambda model, text: next(model.score_lines([text]))])
def test_lone_surrogates_can_be_scored(score: Callable[[LanguageModel, str], Score], model: LanguageModel) -> None:
    assert math.isfinite(score(model, "a\ud800b").nats)
