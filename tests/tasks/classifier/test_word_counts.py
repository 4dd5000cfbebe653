"""Counts of words and of pairs of neighbours: by their definition, bounded, joined, and as they are saved."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.tasks.classifier import word_counts
from charrnn.tasks.classifier.tokens import words_of
from charrnn.tasks.classifier.word_counts import OWN, WordCounts

BEGINNING = "the beginning"
texts = st.lists(st.text("abBİ, ;\n日", max_size=16), max_size=8)


def words_in(counts: WordCounts) -> dict[str, float]:
    return dict(zip(counts.words, counts.counts.tolist(), strict=True))


def pairs_in(counts: WordCounts) -> dict[tuple[str, str], float]:
    firsts, number = [*counts.words, BEGINNING], len(counts.words) + 1
    pairs = zip(counts.pairs.tolist(), counts.pair_counts.tolist(), strict=True)
    return {(firsts[pair // number], counts.words[pair % number]): count for pair, count in pairs}


@given(texts)
def test_words_and_pairs_of_neighbours_are_counted(texts: list[str]) -> None:
    counts = WordCounts.of(texts)
    read = [words_of(text) for text in texts]
    assert words_in(counts) == Counter(itertools.chain(*read))
    assert pairs_in(counts) == Counter(pair for words in read for pair in itertools.pairwise([BEGINNING, *words]))


@given(texts.filter(lambda texts: any(map(words_of, texts))), texts)
def test_those_of_other_text_count_a_third_as_much_at_most(texts: list[str], others: list[str]) -> None:
    own, other = WordCounts.of(texts), WordCounts.of(others)
    both = own.beside(other)
    weight = min(1, own.counts.sum() / (OWN * max(other.counts.sum(), 1)))
    for part in (words_in, pairs_in):
        expected = Counter(part(own))  # type: ignore[arg-type]
        expected.update({key: weight * count for key, count in part(other).items()})
        assert part(both) == pytest.approx(expected, rel=1e-5)


def test_the_most_frequent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["The a b", "the A", "the c"]
    monkeypatch.setattr(word_counts, "MAX_PAIRS", 2)
    counts = WordCounts.of(texts)
    assert words_in(counts) == {"the": 3, "a": 2, "b": 1, "c": 1}
    assert pairs_in(counts) == {(BEGINNING, "the"): 3, ("the", "a"): 2}
    monkeypatch.setattr(word_counts, "MAX_WORDS", 2)
    counts = WordCounts.of(texts)
    assert words_in(counts) == {"the": 3, "a": 2}
    both = counts.beside(WordCounts.of(60 * ["c the"]))
    assert words_in(both) == pytest.approx({"the": 3 + 5 / OWN / 2, "a": 2})
    assert pairs_in(both) == {(BEGINNING, "the"): 3, ("the", "a"): 2}  # nothing of a word that was left out


def test_they_are_saved_and_what_is_damaged_is_told() -> None:
    counts = WordCounts.of(["What does it stand for?", "It stands, i̇ \ud83d", ""])
    tensors = counts.tensors()
    loaded = WordCounts.from_tensors(tensors)
    assert loaded is not None
    assert (words_in(loaded), pairs_in(loaded)) == (words_in(counts), pairs_in(counts))
    assert WordCounts.from_tensors({}) is None
    for name, wrong in {
        "starts": tensors["spelling.starts"][:-1],
        "points": tensors["spelling.points"][:-1],
        "counts": torch.zeros_like(tensors["spelling.counts"]),
        "pairs": tensors["spelling.pairs"].flip(0),
        "pair_counts": tensors["spelling.pair_counts"][1:],
    }.items():
        with pytest.raises(ValueError, match="spelling"):
            WordCounts.from_tensors(tensors | {f"spelling.{name}": wrong})
    too_large = {"spelling.pairs": tensors["spelling.pairs"] + (len(counts.words) + 1) ** 2}
    with pytest.raises(ValueError, match="spelling"):
        WordCounts.from_tensors(tensors | too_large)
    with pytest.raises(KeyError):
        WordCounts.from_tensors({name: tensor for name, tensor in tensors.items() if name != "spelling.counts"})
