"""Spelling: the nearest word by its definition, readings of spoiled texts, and what is saved."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.tasks.classifier import spelling_kernels
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.spelling_kernels import EDIT, LONGEST, MOST_LEAVINGS, mistakes
from charrnn.tasks.classifier.tokens import code_points

TEXTS = 30 * ["What does the bureau stand for?", "When was the Bureau founded?", "in 1984 , they stand here"]
SPELLING = Spelling.learn(TEXTS)


def mended(text: str, spelling: Spelling = SPELLING) -> str:
    points, starts = spelling.mend(*code_points([text]))
    assert starts.tolist() == [0, len(points)]
    return points.astype("<u4").tobytes().decode("utf-32-le")


def apart(one: str, other: str) -> int:
    """Letters to replace, drop, insert or swap with a neighbour, none twice."""
    if not one or not other:
        return len(one) + len(other)
    ways = [apart(one[1:], other[1:]) + (one[0] != other[0]), 1 + apart(one[1:], other), 1 + apart(one, other[1:])]
    if one[:2] == other[1::-1] and len(one) > 1:
        ways.append(1 + apart(one[2:], other[2:]))
    return min(ways)


words = st.text("abc", min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.lists(words, min_size=1, max_size=12), words, st.integers(0, 2))
def test_the_nearest_word_is_the_one_that_costs_least(known: list[str], query: str, most: int) -> None:
    spelling = Spelling.learn([" ".join(known)])
    scratch = (np.empty(MOST_LEAVINGS, np.int64), np.empty((3, LONGEST + 1), np.int64))
    points = np.frombuffer(query.encode("utf-32-le"), dtype=np.uint32)
    found, word = spelling_kernels.nearest(points, most, spelling._known, scratch)
    costs = {each: -math.log(known.count(each) / len(known)) for each in known}
    near = {each: apart(query, each) for each in known}
    allowed = [each for each in known if near[each] <= min(most, mistakes(len(query)), mistakes(len(each)))]
    if query in known:
        allowed = [query]
    if not allowed:
        assert (found, word) == (-1, -1)
        return
    chosen = known_words(spelling)[word]
    assert found == near[chosen]
    assert EDIT * found + costs[chosen] == pytest.approx(min(EDIT * near[each] + costs[each] for each in allowed))


def known_words(spelling: Spelling) -> list[str]:
    letters = spelling.points.astype("<u4").tobytes().decode("utf-32-le")
    return [letters[start:end] for start, end in zip(spelling.starts[:-1], spelling.starts[1:], strict=True)]


def test_the_words_are_those_of_the_texts() -> None:
    expected = {"what", "does", "the", "bureau", "stand", "for", "?", "when", "was", "founded"}
    expected |= {"in", "1984", ",", "they", "here"}
    assert sorted(known_words(SPELLING)) == sorted(expected)
    counts = dict(zip(known_words(SPELLING), SPELLING.counts.tolist(), strict=True))
    assert (counts["the"], counts["stand"], counts["here"]) == (60, 60, 30)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("What does the bureau stand for?", " what does the bureau stand for ? "),
        ("whta doees teh buraeu stnd forr", " what does the bureau stand for "),
        ("what doesthe bureau", " what does the bureau "),  # a space is missing
        ("what doesxthe bureau", " what does the bureau "),  # it has become a letter
        ("what doe sthe bureau", " what does the bureau "),  # it has changed places with a letter
        ("what doest he bureau", " what does the bureau "),
        ("what does the bur au", " what does the bureau "),  # one stands for a letter
        ("what does the bur;au", " what does the bureau "),
        ("founded by Xyzzy", " founded by xyzzy "),  # nothing known is near
        ("in 1985", " in 1985 "),  # another number is no mistake
        ("", " "),
        ("bureua" + 40 * "x", f" bureua{40 * 'x'} "),  # too long for a word
    ],
)
def test_texts_are_read_as_they_were_meant(text: str, meant: str) -> None:
    assert mended(text) == meant


def test_a_word_that_is_likelier_new_stays() -> None:
    """Two mistakes cost more than a new word, unless the word is frequent."""
    assert mended("the foudned", Spelling.learn(["the founded"])) == " the founded "
    assert mended("the fuodned", Spelling.learn(["the founded"])) == " the fuodned "
    assert mended("the fuodned", SPELLING) == " the founded "


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("whatdoes ?8,\n日", max_size=20), max_size=6))
def test_each_text_is_read_alone(texts: list[str]) -> None:
    points, starts = SPELLING.mend(*code_points(texts))
    together = [points[start:end].tolist() for start, end in itertools.pairwise(starts)]
    alone = [SPELLING.mend(*code_points([text]))[0].tolist() for text in texts]
    assert together == alone


def test_it_is_saved_and_what_is_damaged_is_told() -> None:
    tensors = SPELLING.tensors()
    loaded = Spelling.from_tensors(tensors)
    assert loaded is not None
    assert mended("whta doees teh buraeu stnd forr", loaded) == " what does the bureau stand for "
    assert Spelling.from_tensors({}) is None
    for name, wrong in {
        "starts": tensors["spelling.starts"][:-1],
        "points": tensors["spelling.points"][:-1],
        "counts": torch.zeros_like(tensors["spelling.counts"]),
    }.items():
        with pytest.raises(ValueError, match="spelling"):
            Spelling.from_tensors(tensors | {f"spelling.{name}": wrong})
    with pytest.raises(KeyError):
        Spelling.from_tensors({name: tensor for name, tensor in tensors.items() if name != "spelling.counts"})
