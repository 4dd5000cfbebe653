"""Word vectors: what they are by definition, that like words are alike, and what a text's features are made of."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from charrnn.errors import UsageError
from charrnn.tasks.classifier import kernels, words
from charrnn.tasks.classifier.tokens import TOKEN, code_points
from charrnn.tasks.classifier.words import WordVectors

ANIMALS, TOOLS = ["cat", "dog", "naïve owl", "馬"], ["saw", "drill", "hammer", "wrench"]


def make_lines(number: int = 400) -> list[str]:
    draw = random.Random(0)
    frames = ["the {} eats and sleeps", "a {} runs home", "use the {} on wood", "my {} cuts steel"]
    return [
        frames[kind + draw.randrange(2)].format(draw.choice((ANIMALS, TOOLS)[kind // 2]))
        for kind in (draw.choice((0, 2)) for _ in range(number))
    ]


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    return WordVectors.fit(make_lines())


def hashes_of(text: str) -> np.ndarray:  # type: ignore[type-arg]
    return kernels.word_hashes(*code_points([text]))[1]  # type: ignore[no-any-return]


def vector_of(vectors: WordVectors, word: str) -> torch.Tensor:
    (place,) = np.flatnonzero(vectors.hashes == hashes_of(word)[0])
    return vectors.vectors[int(place)]


@settings(max_examples=30)
@given(st.lists(st.text("ab.B \n日é", max_size=12), max_size=5))
def test_hashes_tell_words_apart_and_nothing_else(texts: list[str]) -> None:
    offsets, hashes = kernels.word_hashes(*code_points(texts))
    tokens = [TOKEN.findall(text.lower()) for text in texts]
    assert np.diff(offsets).tolist() == [len(own) for own in tokens]
    name_of: dict[int, str] = {}
    for token, code in zip(itertools.chain(*tokens), hashes.tolist(), strict=True):
        assert name_of.setdefault(code, token) == token
    assert len(set(name_of.values())) == len(name_of)


def test_words_are_counted_near_each_other() -> None:
    draw = np.random.default_rng(0)
    ids = draw.integers(-1, 5, 40).astype(np.int32)
    offsets = np.array([0, 7, 7, 20, 40])
    expected: Counter[tuple[int, int]] = Counter()
    for start, end in itertools.pairwise(offsets):
        for i, j in itertools.permutations(range(start, end), 2):
            if abs(i - j) <= 3 and ids[i] >= 0 <= ids[j] < 4:
                expected[int(ids[i]), int(ids[j])] += 1 / abs(i - j)  # type: ignore[assignment]
    found = kernels.cooccurrences(ids, offsets, 5, 4, 3)
    assert found == pytest.approx(np.array([[expected[i, j] for j in range(4)] for i in range(5)]))


def test_words_among_like_words_are_alike(vectors: WordVectors) -> None:
    assert_close(vectors.vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-3, rtol=0)
    alike = vector_of(vectors, "cat") @ vector_of(vectors, "dog")
    assert alike > 0.5 > vector_of(vectors, "cat") @ vector_of(vectors, "hammer")


def test_features_are_made_of_known_words(vectors: WordVectors) -> None:
    text = "Unknown the dog, my hammer eats wood and steel"
    known = [token for token in TOKEN.findall(text.lower()) if hashes_of(token)[0] in vectors.hashes]
    assert known == ["the", "dog", "my", "hammer", "eats", "wood", "and", "steel"]
    found = vectors.features(*code_points(["", text, "nothing known"])).reshape(3, 3, -1)
    assert not found[0].any()
    assert not found[2].any()
    rarity = dict(zip(vectors.hashes.tolist(), vectors.rarity.tolist(), strict=True))
    each = torch.stack([vector_of(vectors, word) for word in known])
    weights = torch.tensor([rarity[int(hashes_of(word)[0])] for word in known])
    sums = (weights[:, None] * each).sum(0), each[:2].sum(0), each[2:6].sum(0)
    for features, expected in zip(found[1], sums, strict=True):
        assert_close(features, words.NORM * expected / expected.norm())


def test_a_text_has_the_same_features_among_others(vectors: WordVectors) -> None:
    lines = [*make_lines(20), "", "!?"]
    together = vectors.features(*code_points(lines))
    assert_close(together, torch.cat([vectors.features(*code_points([line])) for line in lines]))


def test_what_is_saved_is_what_was(vectors: WordVectors) -> None:
    again = WordVectors.from_tensors(vectors.tensors())
    assert again is not None
    lines = code_points(make_lines(20))
    assert torch.equal(again.features(*lines), vectors.features(*lines))
    assert WordVectors.from_tensors({}) is None
    with pytest.raises((KeyError, ValueError)):
        WordVectors.from_tensors(dict(itertools.islice(vectors.tensors().items(), 2)))


@pytest.mark.parametrize("lines", [[], [""], ["one two three", "four five six"], ["one", "two", "three"] * 3])
def test_too_little_text_is_told(lines: list[str]) -> None:
    with pytest.raises(UsageError, match="too little text without labels"):
        WordVectors.fit(lines)


@pytest.mark.parametrize("seed", range(40))
def test_words_that_hardly_have_neighbours_are_no_obstacle(seed: int) -> None:
    """Torch finds no eigenvectors of some of these; which ones depends on the processor and its number of threads."""
    draw = random.Random(seed)
    lines = [f"w{i}" for i in range(300)] * 3
    lines += [f"h{draw.randrange(30)} w{int(300 * draw.random() ** 3)}" for _ in range(75)]
    assert WordVectors.fit(lines).vectors.isfinite().all()


def test_reading_ends_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MAX_CHARS", 1000)
    assert sum(map(len, words.limited(itertools.repeat("the same line again and again")))) == 1000


@pytest.mark.parametrize("lines", [["abc"] * 20, ["abcdefghij" * 4, "xyz"], ["ab", "", "cdefgh", "ijkl" * 9]])
def test_batches_hold_the_first_characters_each_once(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("MAX_CHARS", 30), ("CHARS_AT_ONCE", 8), ("LINES_AT_ONCE", 3)):
        monkeypatch.setattr(words, name, number)
    batches = list(words.batches(words.limited(lines)))
    assert "".join("".join(batch) for batch in batches) == "".join(lines)[:30]
    assert all(len(batch) <= 3 and sum(map(len, batch[:-1])) < 8 for batch in batches)
