"""Self-training: which lines are drawn, and which of their texts have labels that are believed."""

from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from charrnn.tasks.classifier import self_training
from charrnn.tasks.classifier.self_training import enough_lines, some_lines, surely_labelled


def by_ending(texts: Sequence[str]) -> Tensor:
    """A classifier of three labels by the last letter: a and b tell two of them for sure, others nothing."""
    rows = {"a": [0.998, 0.001, 0.001], "b": [0.001, 0.998, 0.001]}
    return torch.tensor([rows.get(text[-1:].lower(), [1 / 3] * 3) for text in texts])


@given(st.lists(st.text("ab ", max_size=3), max_size=20), st.integers(0, 8))
def test_a_sample_is_of_the_lines(lines: list[str], size: int) -> None:
    sample = some_lines(lines, size, 0)
    assert len(sample) == min(size, len(lines))
    assert not Counter(sample) - Counter(lines)


def test_every_line_is_as_likely_drawn_as_the_others() -> None:
    drawn: Counter[str] = Counter()
    for seed in range(3000):
        drawn.update(some_lines("abcdefghij", 3, seed))
    assert drawn.total() == 9000
    assert all(abs(drawn[line] - 900) < 5 * 900**0.5 for line in "abcdefghij")


def test_lines_are_bounded() -> None:
    assert [len(line) for line in some_lines(["x" * 10_000] * 9, 2, 0)] == [self_training.MAX_CHARS] * 2


@given(st.integers(1, 10**6), st.integers(2, 10**4))
def test_few_texts_or_many_labels_take_fewer_lines(texts: int, labels: int) -> None:
    number = enough_lines(texts, labels)
    assert 0 < number <= 200_000
    assert number <= 10 * texts
    assert number * labels <= 20_000_000
    assert enough_lines(texts + 1, labels) >= number >= enough_lines(texts, labels + 1)


def test_a_word_has_the_label_of_its_company() -> None:
    lines = ["Una casa: «xyz», 12 qu4", "club pub xyz! uvw", "ein xyz uvw", "lava xyz", ""]
    texts, classes = surely_labelled(lines, by_ending, [9, 9, 9], words=True, known={"casa"})
    assert dict(zip(texts, classes, strict=True)) == {"xyz": 0, "una": 0, "club": 1, "pub": 1, "uvw": 1, "lava": 0}
    assert texts[0] == "xyz"  # the most frequent first


def test_words_keep_the_marks_of_their_letters() -> None:
    assert self_training._words("«हिन्दी», (की) l'été… 3x — !") == ["हिन्दी", "की", "l'été"]


def test_other_texts_are_whole_lines_as_they_stand() -> None:
    lines = ["Is it a Saga", "or a club", "nobody knows", "IS IT A SAGA", "or a club"]
    texts, classes = surely_labelled(lines, by_ending, [9, 1, 9], words=False, known={"is it a saga"})
    assert (texts, classes) == (["or a club"], [1])


@given(
    st.lists(st.text("abcA 1.", max_size=12), max_size=12),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.sets(st.text("abc", min_size=1, max_size=2), max_size=4),
    st.booleans(),
)
def test_what_is_chosen_is_new_bounded_and_each_once(
    lines: list[str], most: list[int], known: set[str], words: bool
) -> None:
    texts, classes = surely_labelled(lines, by_ending, most, words=words, known=known)
    assert len(texts) == len(set(texts)) == len(classes)
    assert not known & {text.lower() for text in texts}
    assert all(Counter(classes)[label] <= number for label, number in enumerate(most))
    everything = " ".join(lines).lower()
    assert all(text.lower() in everything for text in texts)
    with pytest.MonkeyPatch.context() as patch:  # all at once and bit by bit are the same
        patch.setattr(self_training, "TEXTS_AT_ONCE", 2)
        assert surely_labelled(lines, by_ending, most, words=words, known=known) == (texts, classes)
