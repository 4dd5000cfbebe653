"""The linear model: features as they are defined, the optimum that they have, and what is saved of it."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from charrnn.tasks.classifier import kernels, linear
from charrnn.tasks.classifier.linear import LinearConfig, LinearModel, as_meant
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.tokens import TOKEN, code_points
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.classifier.words import WordVectors

Array = npt.NDArray[Any]

TEXTS = ["The cat sat.", "a dog ran", "the dog, a cat", "", "日本 naïve 😀", "cat cat cat", "!?"]
CONFIG = LinearConfig(min_chars=2, max_chars=3, pair_distance=3)
WORDS = WordVectors.fit(["the cat and the dog sat", "a dog ran and a cat sat"] * 3)


def features(text: str) -> tuple[Counter[str], ...]:
    """Those of each kind, by their definition."""
    words = TOKEN.findall(text.lower())
    characters: Counter[str] = Counter()
    for word in (f" {word} " for word in words):
        for n in range(CONFIG.min_chars, CONFIG.max_chars + 1):
            characters.update(word[i : i + n] for i in range(len(word) - n + 1))
    neighbours = [f"{one} {other}" for one, other in itertools.pairwise(words)]
    begun = ["", *words]
    pairs = [
        f"{begun[i]} {begun[j]}"
        for i in range(len(begun))
        for j in range(i + 1, min(i + CONFIG.pair_distance, len(words)) + 1)
    ]
    first, second = [*words, "", ""][:2]
    openings = [f"1 {first} {word}" for word in words[1:]]
    openings += [f"{opening} {word}" for word in words[2:] for opening in (f"2 {second}", f"{first} {second}")]
    return characters, Counter([*words, *neighbours]), Counter(pairs), Counter(openings)


def fit(texts: Sequence[str], belongs: Array, config: LinearConfig, **options: Any) -> LinearModel:
    """A model of texts, behind which copies of them may stand, read with the spelling that it has, if any."""
    return LinearModel.fit(*as_meant(texts, options.get("spelling")), belongs, config, **options)


def said(model: LinearModel, texts: list[str]) -> Tensor:
    """Scores of texts, read as the model reads them."""
    return model.scores(*as_meant(texts, model.spelling))


@settings(max_examples=20)
@given(st.lists(st.text("ab. \n日", max_size=12), min_size=1, max_size=5))
def test_features_have_their_weights(texts: list[str]) -> None:
    assume(any(map(TOKEN.findall, texts)))
    model = fit(texts, np.eye(2, dtype=bool)[[i % 2 for i in range(len(texts))]], CONFIG)
    found = [features(text) for text in texts]
    texts_with: list[Counter[str]] = [Counter() for _ in range(4)]
    for kinds in found:
        for kind in range(4):
            texts_with[kind].update(kinds[kind].keys())
    assert len(model.buckets) == sum(map(len, texts_with))
    offsets, numbers, values = model._features(*as_meant(texts, None))
    for i, kinds in enumerate(found):
        expected: list[float] = []
        for kind in range(4):
            weights = [
                (1 + math.log(count)) * (math.log((1 + len(texts)) / (1 + texts_with[kind][gram])) + 1)
                for gram, count in kinds[kind].items()
            ]
            expected += [weight / math.hypot(*weights) for weight in weights]
        mine = slice(offsets[i], offsets[i + 1])
        assert len(set(numbers[mine].tolist())) == len(expected)
        assert sorted(values[mine].tolist()) == pytest.approx(sorted(expected), rel=1e-4)


def test_training_reaches_the_optimum() -> None:
    """At the optimum of |w|²/2 + Σ cost·max(0, 1 − y·wx)² its gradient is zero."""
    draw = np.random.default_rng(0)
    x = (draw.random((60, 20)) * (draw.random((60, 20)) < 0.4)).astype(np.float32)
    belongs = draw.random((3, 60)) < 0.3
    rows = [np.flatnonzero(row) for row in x]
    offsets = np.cumsum([0, *map(len, rows)])
    features = np.concatenate(rows).astype(np.int32)
    values = np.concatenate([row[i] for row, i in zip(x, rows, strict=True)])
    own_costs = np.array([1.0, 2.0, 0.5])
    weights = kernels.train_svm(offsets, features, values, belongs, 1.0, own_costs, 20, 500, 1e-6, 0)
    x = np.concatenate([x, np.ones((60, 1), np.float32)], axis=1)
    for w, own, cost in zip(weights, belongs, own_costs, strict=True):
        y = np.where(own, 1.0, -1.0)
        costs = np.where(own, cost, 1.0)
        gradient = w - 2 * ((costs * y * np.maximum(1 - y * (x @ w), 0)) @ x)
        assert np.abs(gradient).max() < 1e-3


def test_copies_with_mistakes_are_learned_from_but_add_no_features() -> None:
    texts, belongs = ["a cat sat", "the dog ran", "a cow"], np.eye(2, dtype=bool)[[0, 1, 0]]
    noisy = ["a cta sat", "the dog", "owc", "acat sat", "dog ran fast", "a cat"]
    plain = fit(texts, belongs, CONFIG)
    model = fit([*texts, *noisy], belongs, CONFIG)
    assert model.buckets.tolist() == plain.buckets.tolist()
    assert model.idf.tolist() == plain.idf.tolist()

    def gradient(model: LinearModel, texts: list[str], classes: list[int]) -> Tensor:
        """Largest slope of what is at its least at the optimum, with these texts of these classes."""
        offsets, numbers, values = model._features(*as_meant(texts, None))
        x = torch.zeros(len(texts), len(model.buckets) + 1)
        x[:, -1] = 1
        for row, begin, end in zip(x, offsets, offsets[1:], strict=False):
            row[numbers[begin:end]] = torch.from_numpy(values[begin:end])
        w, y = torch.cat([model.weight, model.bias[None]]), 2 * torch.eye(2)[classes] - 1
        return (w - 2 * x.T @ (y * (1 - y * (x @ w)).clamp(min=0))).abs().max()

    assert gradient(plain, texts, [0, 1, 0]) < 0.02
    assert gradient(model, [*texts, *noisy], [0, 1, 0] * 3) < 0.02
    assert gradient(model, texts, [0, 1, 0]) > 0.2
    assert gradient(model, [*texts, *noisy], [0, 1, 0, 0, 0, 1, 0, 1, 1]) > 0.2


def test_pairs_may_be_as_far_apart_as_a_text_is_long() -> None:
    text = " ".join(f"w{i}" for i in range(300))
    model = fit([text, "a b"], np.eye(2, dtype=bool), replace(CONFIG, pair_distance=400, min_chars=3))
    offsets, numbers, _ = model._features(*as_meant([text, "a b"], None))
    assert offsets[1] > 300 * 301 / 2  # all pairs, the beginning with each word among them
    assert sorted(numbers[: offsets[1]]) == sorted(set(numbers[: offsets[1]].tolist()))


def test_a_text_has_an_opening_however_long_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, belongs = [" ".join(f"w{i}" for i in range(60)), "a b"], np.eye(2, dtype=bool)
    number = {}
    for words in (0, 1, 2, 7, 1000):
        monkeypatch.setattr(linear, "OPENING_WORDS", words)
        number[words] = len(fit(texts, belongs, CONFIG).buckets)
    assert {words: count - number[0] for words, count in number.items()} == {
        **{0: 0, 1: 0, 2: 2},  # of the short text too
        7: 1 + 6 + 5 + 5,
        1000: 1 + 59 + 58 + 58,
    }
    plain = fit(texts, belongs, replace(CONFIG, openings=False))
    assert len(plain.buckets) == number[0]


def test_labels_are_learned_and_few_enough_features_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    belongs = np.array([["cat" in text, "dog" in text] for text in TEXTS])
    model = fit(TEXTS, belongs, CONFIG)
    assert ((said(model, TEXTS) > 0).numpy() == belongs).all()
    monkeypatch.setattr(linear, "MAX_WEIGHTS", 20)
    small = fit(TEXTS, belongs, CONFIG)
    assert small.weight.shape == (10, 2)
    assert set(small.buckets.tolist()) < set(model.buckets.tolist())


def test_features_of_words_stand_behind_those_of_n_grams() -> None:
    belongs = np.array([["cat" in text, "dog" in text] for text in TEXTS])
    plain, informed = fit(TEXTS, belongs, CONFIG), fit(TEXTS, belongs, CONFIG, words=WORDS)
    offsets, features, values = plain._features(*as_meant(TEXTS, None))
    more_offsets, more_features, more_values = informed._features(*as_meant(TEXTS, None))
    dense = WORDS.features(*code_points(TEXTS)).numpy()
    for i, row in enumerate(dense):
        sparse, whole = slice(offsets[i], offsets[i + 1]), slice(more_offsets[i], more_offsets[i + 1])
        assert (more_features[whole] == [*features[sparse], *len(plain.idf) + np.arange(len(row))]).all()
        assert (more_values[whole] == [*values[sparse], *row]).all()
    assert ((said(informed, TEXTS) > 0).numpy() == belongs).all()


def test_what_words_mean_tells_of_words_that_training_did_not_hold() -> None:
    texts, belongs = ["a cat", "my dog"] * 5 + ["a saw", "my drill"] * 5, np.eye(2, dtype=bool)[[0] * 10 + [1] * 10]
    animals, tools = ["cat", "dog", "horse"], ["saw", "drill", "hammer"]
    lines = [f"the {word} eats and sleeps" for word in animals] + [f"use the {word} on wood" for word in tools]
    words = WordVectors.fit(3 * lines)
    model = fit(texts, belongs, CONFIG, words=words)
    assert said(model, ["horse", "hammer"]).argmax(1).tolist() == [0, 1]


def test_unknown_words_are_read_as_known_ones() -> None:
    belongs = np.eye(2, dtype=bool)[[0, 1, 1, 0, 0, 0, 1]]
    spelling = Spelling(WordCounts.of(TEXTS))
    plain = fit(TEXTS, belongs, CONFIG)
    model = fit(TEXTS, belongs, CONFIG, spelling=spelling)
    assert torch.equal(said(model, TEXTS), said(plain, TEXTS))
    assert torch.equal(said(model, ["teh catt", "thedog"]), said(plain, ["the cat", "the dog"]))
    again = LinearModel.from_tensors(CONFIG, model.tensors())
    assert torch.equal(said(again, ["teh catt"]), said(plain, ["the cat"]))
    assert not torch.equal(said(plain, ["teh catt"]), said(plain, ["the cat"]))


def test_balanced_training_hears_a_rare_label() -> None:
    texts = ["a b"] * 50 + ["a b c"] * 3 + ["a b c"] * 3
    belongs = np.array([[True, False]] * 53 + [[False, True]] * 3)
    for balanced in (False, True):
        scores = said(fit(texts, belongs, CONFIG, balanced=balanced), ["a b c"])[0]
        assert (scores[1] > scores[0]) == balanced


def test_what_is_saved_gives_the_same_scores() -> None:
    model = fit(TEXTS, np.eye(3, dtype=bool)[[0, 1, 1, 2, 0, 0, 2]], CONFIG)
    again = LinearModel.from_tensors(CONFIG, model.tensors())
    assert torch.equal(said(again, ["the cat", "unheard-of"]), said(model, ["the cat", "unheard-of"]))
    assert_close(said(model, TEXTS)[2], said(model, [TEXTS[2]])[0])
    informed = fit(TEXTS, np.eye(2, dtype=bool)[[0, 1, 1, 0, 0, 0, 1]], CONFIG, words=WORDS)
    again = LinearModel.from_tensors(CONFIG, informed.tensors())
    assert torch.equal(said(again, ["the cat", "unheard-of"]), said(informed, ["the cat", "unheard-of"]))
    with pytest.raises(ValueError, match="fit"):
        LinearModel.from_tensors(CONFIG, informed.tensors() | {"words.vectors": torch.ones(len(WORDS), 3).half()})
    for broken in ("buckets", "idf", "weight", "bias"):
        tensors = model.tensors()
        with pytest.raises((KeyError, ValueError)):
            LinearModel.from_tensors(CONFIG, tensors | {broken: tensors[broken][:1] - 1})
