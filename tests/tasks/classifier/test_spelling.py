"""Spelling: the nearest word by its definition, readings of spoiled texts, and what is saved."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.tasks.classifier import spelling as spelling_module
from charrnn.tasks.classifier import spelling_kernels
from charrnn.tasks.classifier.spelling import OWN, UNKNOWN, Spelling, word_counts
from charrnn.tasks.classifier.spelling_kernels import EDIT, LONGEST, MOST_DELETIONS, max_edits
from charrnn.tasks.classifier.tokens import code_points, words_of

TEXTS = 30 * ["What does the bureau stand for?", "When was the Bureau founded?", "in 1984 , they stand here"]
SPELLING = Spelling.learn(TEXTS)


def corrected(text: str, spelling: Spelling = SPELLING) -> str:
    points, starts = spelling.correct(*code_points([text]))
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


@settings(max_examples=60)
@given(st.lists(words, min_size=1, max_size=12), words, st.integers(0, 2))
def test_the_nearest_word_is_the_one_that_costs_least(known: list[str], query: str, most: int) -> None:
    spelling = Spelling.learn([" ".join(known)])
    scratch = (np.empty(MOST_DELETIONS, np.int64), np.empty((3, LONGEST + 1), np.int64))
    points = np.frombuffer(query.encode("utf-32-le"), dtype=np.uint32)
    found, word = spelling_kernels.nearest(points, most, spelling._known, scratch)
    costs = {each: -math.log(known.count(each) / len(known)) for each in known}
    near = {each: apart(query, each) for each in known}
    allowed = [each for each in known if near[each] <= min(most, max_edits(len(query)), max_edits(len(each)))]
    if query in known:
        allowed = [query]
    if not allowed:
        assert (found, word) == (-1, -1)
        return
    chosen = known_words(spelling)[word]
    assert found == near[chosen]
    assert EDIT * found + costs[chosen] == pytest.approx(min(EDIT * near[each] + costs[each] for each in allowed))


def near(query: str, most: int, costs: dict[str, float]) -> list[tuple[float, str]]:
    """Known words with at most so many mistakes, and what each costs; a known word is only itself."""
    if query in costs:
        return [(costs[query], query)]
    most = min(most, max_edits(len(query)))
    found = [(apart(query, word), word) for word in costs]
    return [(EDIT * far + costs[word], word) for far, word in found if far <= min(most, max_edits(len(word)))]


def readings(text: list[str], costs: dict[str, float], unknown: float) -> list[tuple[float, str]]:
    """All ways to read words, and what each costs, by their definition."""
    if not text:
        return [(0.0, "")]
    one, ways = text[0], [(1, costs.get(text[0], unknown), text[0])]
    pairs = []  # words read, and the two words that they may stand for
    if one not in costs:
        ways += [(1, cost, word) for cost, word in near(one, 2, costs)]
        pairs += [(1, one[:i], one[j:]) for i in range(1, len(one)) for j in (i, i + 1) if j < len(one)]
    for count in (2, 3):
        ends, middle = text[:count], "".join(text[1 : count - 1])
        if len(ends) < count or len(middle) > 1 or all(word in costs for word in ends):
            continue
        joined = ends[0] + ends[-1]
        for cost, word in near(joined, 1, costs):
            ways.append((count, cost if word != joined else cost + EDIT, word))
        if count == 2:
            pairs += [(2, joined[:i], joined[i:]) for i in (len(one) - 1, len(one) + 1) if 0 < i < len(joined)]
    for count, left, right in pairs:
        for most in (0, 1):
            for cost, word in near(left, most, costs):
                for other_cost, other in near(right, 1 - most, costs):
                    ways.append((count, EDIT + cost + other_cost, f"{word} {other}"))
    return [
        (cost + rest, f"{said} {more}")
        for count, cost, said in ways
        for rest, more in readings(text[count:], costs, unknown)
    ]


@settings(max_examples=150)
@given(st.lists(words, min_size=1, max_size=30), st.lists(words, min_size=1, max_size=4))
def test_a_text_is_read_in_the_way_that_costs_least(known: list[str], text: list[str]) -> None:
    costs = {word: -math.log(known.count(word) / len(known)) for word in known}
    every = readings(text, costs, math.log(len(known)) + UNKNOWN)
    least = min(cost for cost, _ in every)
    found = corrected(" ".join(text), Spelling.learn([" ".join(known)]))
    assert found in {f" {said}" for cost, said in every if cost <= least + 1e-9}


def known_words(spelling: Spelling) -> list[str]:
    letters = spelling.points.astype("<u4").tobytes().decode("utf-32-le")
    return [letters[start:end] for start, end in zip(spelling.starts[:-1], spelling.starts[1:], strict=True)]


def test_the_words_are_those_of_the_texts() -> None:
    expected = {"what", "does", "the", "bureau", "stand", "for", "?", "when", "was", "founded"}
    expected |= {"in", "1984", ",", "they", "here"}
    assert sorted(known_words(SPELLING)) == sorted(expected)
    counts = dict(zip(known_words(SPELLING), SPELLING.counts.tolist(), strict=True))
    assert (counts["the"], counts["stand"], counts["here"]) == (60, 60, 30)


def test_words_of_text_without_labels_are_known_too() -> None:
    """So they are no mistakes, and their own mistakes are mended."""
    spelling = Spelling.learn(TEXTS, word_counts(["Bureaus were funded in Zanzibar"]))
    assert set(known_words(spelling)) == {*known_words(SPELLING), "bureaus", "were", "funded", "zanzibar"}
    assert corrected("bureaus founded in znazibar, and teh bureaus funded", spelling) == (
        " bureaus founded in zanzibar , and the bureaus funded "
    )
    assert corrected("bureaus founded in znazibar, and teh bureaus funded") == (
        " bureau founded in znazibar , and the bureau founded "
    )


@given(st.lists(words, min_size=1, max_size=20), st.lists(words, max_size=60))
def test_words_of_the_texts_count_for_more_in_sum(own: list[str], more: list[str]) -> None:
    spelling = Spelling.learn([" ".join(own)], word_counts([" ".join(more)]))
    counts = dict(zip(known_words(spelling), spelling.counts.tolist(), strict=True))
    assert counts.keys() == {*own, *more}
    (weight,) = {(counts[word] - more.count(word)) / own.count(word) for word in own}
    assert abs(weight * len(own) - OWN * len(more)) <= len(own) / 2 or weight == 1
    assert all(counts[word] == more.count(word) for word in counts.keys() - set(own))


def test_the_most_frequent_words_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spelling_module, "MAX_WORDS", 2)
    assert word_counts(["The a b", "the A", "the c"]) == {"the": 3, "a": 2}
    assert sorted(known_words(Spelling.learn(["the a b a"], {"b": 5, "c": 9}))) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("What does the bureau stand for?", " what does the bureau stand for ? "),
        ("whta doees teh buraeu stnd forr", " what does the bureau stand for "),
        ("what doesthe bureau", " what does the bureau "),  # a space is missing
        ("what doesxthe bureau", " what does the bureau "),  # it has become a letter
        ("what doe sthe bureau", " what does the bureau "),  # it has changed places with a letter
        ("what doest he bureau", " what does the bureau "),
        ("i nthe bureau", " in the bureau "),
        ("int he bureau", " in the bureau "),
        ("what does the bur au", " what does the bureau "),  # one stands for a letter
        ("what does the bur;au", " what does the bureau "),
        ("founded by Xyzzy", " founded by xyzzy "),  # nothing known is near
        ("in 1985", " in 1985 "),  # another number is no mistake
        ("", " "),
        ("bureua" + 40 * "x", f" bureua{40 * 'x'} "),  # too long for a word
    ],
)
def test_texts_are_read_as_they_were_meant(text: str, meant: str) -> None:
    assert corrected(text) == meant


def test_a_word_that_is_likelier_new_stays() -> None:
    """Two mistakes cost more than a new word, unless the word is frequent."""
    assert corrected("the foudned", Spelling.learn(["the founded"])) == " the founded "
    assert corrected("the fuodned", Spelling.learn(["the founded"])) == " the fuodned "
    assert corrected("the fuodned", SPELLING) == " the founded "


def test_beside_a_missing_space_either_word_may_have_a_mistake() -> None:
    """Two mistakes: these words are frequent enough."""
    spelling = Spelling.learn(1000 * ["what does the bureau"])
    assert corrected("whtadoes thebureua", spelling) == " what does the bureau "


@settings(max_examples=40)
@given(st.lists(st.text("whatdoes ?8,\n日", max_size=20), max_size=6))
def test_each_text_is_read_alone(texts: list[str]) -> None:
    points, starts = SPELLING.correct(*code_points(texts))
    together = [points[start:end].tolist() for start, end in itertools.pairwise(starts)]
    alone = [SPELLING.correct(*code_points([text]))[0].tolist() for text in texts]
    assert together == alone


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Waht  does the BURAEU\tstand for?", "What  does the BUREAU\tstand for?"),
        ("When Was,thebureau founded?", "When Was,the bureau founded?"),
        ("(When was", "When was"),  # a sign that is not known
        ("stand;here", "stand here"),
        ("stANd teh bUreau", "stANd the bUreau"),
        ("DOESTHE Bur;au stand fo r  it?", "DOES THE Bureau stand for  it?"),
        ("In 1985,stand  xyzzy, here\n", "In 1985,stand  xyzzy, here\n"),
    ],
)
def test_what_is_known_stands_as_it_stood(text: str, meant: str) -> None:
    assert SPELLING.corrected([text, "", text]) == [meant, "", meant]


def test_letters_that_do_not_come_back_from_capitals_stay_small() -> None:
    assert Spelling.learn(30 * ["die straße"]).corrected(["DIE STRAE"]) == ["DIE straße"]


@settings(max_examples=300)
@given(st.lists(st.text("teh wasT ;8,\nß日", max_size=24), max_size=4), st.lists(words, max_size=12))
def test_the_texts_have_the_words_that_are_read(texts: list[str], known: list[str]) -> None:
    spelling = Spelling.learn([*TEXTS, " ".join(known), "was the theses ", "what s"])
    found = spelling.corrected(texts)
    for ours, theirs in zip(code_points(found), spelling.correct(*code_points(texts)), strict=True):
        assert ours.tolist() == theirs.tolist()
    for text, corrected in zip(texts, found, strict=True):
        if set(words_of(text)) <= set(known_words(spelling)):
            assert corrected == text


def test_it_is_saved_and_what_is_damaged_is_told() -> None:
    tensors = SPELLING.tensors()
    loaded = Spelling.from_tensors(tensors)
    assert loaded is not None
    assert corrected("whta doees teh buraeu stnd forr", loaded) == " what does the bureau stand for "
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
