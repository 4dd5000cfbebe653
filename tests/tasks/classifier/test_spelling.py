"""Spelling: the nearest words by their definition, readings of spoiled texts, and what stands as it stood."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.tasks.classifier import spelling as spelling_module
from charrnn.tasks.classifier import spelling_kernels
from charrnn.tasks.classifier.spelling import NEW_FOLLOWERS, UNKNOWN_COST, Spelling
from charrnn.tasks.classifier.spelling_kernels import (
    LONGEST,
    MOST_DELETIONS,
    NEAREST,
    SLIP,
    WORDS_AT_ONCE,
    WRONG,
    max_edits,
)
from charrnn.tasks.classifier.tokens import code_points, words_of
from charrnn.tasks.classifier.word_counts import WordCounts

TEXTS = 30 * ["What does the bureau stand for?", "When was the Bureau founded?", "in 1984 , they stand here"]
BEGINNING = ""


def spelling_of(texts: Sequence[str], other: Sequence[str] | None = None) -> Spelling:
    counts = WordCounts.of(texts)
    return Spelling(counts if other is None else counts.beside(WordCounts.of(other)))


SPELLING = spelling_of(TEXTS)


def corrected(text: str, spelling: Spelling = SPELLING) -> str:
    points, starts = spelling.correct(*code_points([text]))
    assert starts.tolist() == [0, len(points)]
    return points.astype("<u4").tobytes().decode("utf-32-le")


def typing_cost(typed: str, meant: str) -> float:
    """Least sum of the mistakes that make one of the other, none on top of another."""
    if not typed or not meant:
        return WRONG * len(typed) + SLIP * len(meant)
    ways = [
        typing_cost(typed[1:], meant[1:]) + (0 if typed[0] == meant[0] else WRONG),
        WRONG + typing_cost(typed[1:], meant),
        SLIP + typing_cost(typed, meant[1:]),
    ]
    if typed[:2] == meant[1::-1] and len(typed) > 1:
        ways.append(SLIP + typing_cost(typed[2:], meant[2:]))
    return min(ways)


def rests(word: str, most: int) -> set[str]:
    """What is left of a word without so many letters or fewer."""
    most = min(most, max_edits(len(word)))
    return {"".join(kept) for left in range(most + 1) for kept in itertools.combinations(word, len(word) - left)}


def near(letters: str, typed: str, most: int, known: Sequence[str]) -> list[tuple[float, str]]:
    """All words that have such a rest in common with `letters`, and what it costs to type them so."""
    own = rests(letters, most)
    return [
        (typing_cost(typed, word), word)
        for word in known
        if word != typed and max_edits(len(word)) and own & rests(word, 2)
    ]


words = st.text("abc", min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(words, st.sampled_from([1, 10, 300]), min_size=1, max_size=30), words, st.integers(0, 2))
@example({"abca": 1, "abcb": 1, "abcc": 1, "abcd": 1, "abce": 300}, "abc", 1)
def test_the_nearest_words_are_those_that_cost_least(known: dict[str, int], query: str, most: int) -> None:
    spelling = spelling_of([count * f"{word} " for word, count in known.items()])
    scratch = np.empty(MOST_DELETIONS, np.int64), np.empty((3, LONGEST + 3))
    points = np.frombuffer(query.encode("utf-32-le"), dtype=np.uint32)
    found, costs = np.empty(NEAREST, np.int64), np.empty(NEAREST)
    count = spelling_kernels.nearest(points, points, most, spelling._known, scratch, found, costs)
    expected = {word: cost for cost, word in near(query, query, most, sorted(known))}

    def sums(costs: dict[str, float]) -> list[float]:
        return sorted(cost - math.log(known[word] / sum(known.values())) for word, cost in costs.items())

    chosen = dict(zip((spelling.counts.words[i] for i in found[:count]), costs[:count].tolist(), strict=True))
    assert chosen == {word: expected[word] for word in chosen}
    assert sums(chosen) == pytest.approx(sums(expected)[:NEAREST])


class Model:
    """What words cost after each other, by definition."""

    def __init__(self, texts: Sequence[str]) -> None:
        read = [words_of(text) for text in texts]
        self.counts = Counter(itertools.chain(*read))
        self.pairs = Counter(pair for words in read for pair in itertools.pairwise([BEGINNING, *words]))
        self.unknown = UNKNOWN_COST + max(map(self.anywhere, self.counts))

    def anywhere(self, word: str) -> float:
        return -math.log(self.counts[word] / self.counts.total())

    def after(self, before: str | None, word: str) -> float:
        followers = {second: count for (first, second), count in self.pairs.items() if first == before}
        if not followers:
            return self.anywhere(word)
        new = NEW_FOLLOWERS * len(followers)
        share = (followers.get(word, 0) + new * math.exp(-self.anywhere(word))) / (sum(followers.values()) + new)
        return -math.log(share)

    def readings(self, text: Sequence[str], before: str | None = BEGINNING) -> list[tuple[float, str]]:
        """All ways to read words, and what each costs."""
        return [
            (cost + self.sum_of(before, read) + rest, " ".join([*read, *([more] if more else [])]))
            for count, cost, read in (self.ways(text) if text else ())
            for rest, more in self.readings(text[count:], read[-1] if read[-1] in self.counts else None)
        ] or [(0.0, "")]

    def sum_of(self, before: str | None, read: Sequence[str]) -> float:
        if read[-1] not in self.counts:
            return self.unknown
        return sum(self.after(first, second) for first, second in itertools.pairwise([before, *read]))

    def ways(self, text: Sequence[str]) -> list[tuple[int, float, list[str]]]:
        """To read the first words: how many they are, what the mistakes cost, and what is read."""
        one, known = text[0], list(self.counts)
        ways = [(1, 0.0, [one])]
        ways += [(1, cost, [word]) for cost, word in near(one, one, 1 if one in self.counts else 2, known)]
        pairs = []  # how many words, what it costs that there are not two, and which two
        if one not in self.counts:
            pairs += [(1, SLIP, one[:i], one[i:]) for i in range(1, len(one))]
            pairs += [(1, WRONG, one[:i], one[i + 1 :]) for i in range(1, len(one) - 1)]
        for count in (2, 3):
            here, middle = text[:count], "".join(text[1 : count - 1])
            if len(here) < count or len(middle) > 1 or all(word in self.counts for word in here):
                continue
            joined, typed = here[0] + here[-1], " ".join(here) if count == 2 else "".join(here)
            if joined in self.counts:
                ways.append((count, WRONG, [joined]))
            else:
                ways += [(count, cost, [word]) for cost, word in near(joined, typed, 2, known)]
            if count == 2:
                splits = (len(one) - 1, len(one) + 1)
                pairs += [(2, SLIP, joined[:i], joined[i:]) for i in splits if 0 < i < len(joined)]
        for count, cost, *both in pairs:
            if not any(word in self.counts for word in both):
                continue
            meant = [[(0.0, word)] if word in self.counts else near(word, word, 1, known) for word in both]
            ways += [
                (count, cost + first + second, [w1, w2]) for (first, w1), (second, w2) in itertools.product(*meant)
            ]
        return ways


@settings(max_examples=150, deadline=None)
@given(st.data(), st.lists(words, min_size=1, max_size=NEAREST, unique=True), st.lists(words, min_size=1, max_size=4))
def test_a_text_is_read_in_the_way_that_costs_least(data: st.DataObject, known: list[str], text: list[str]) -> None:
    some = st.lists(st.sampled_from(known), min_size=1, max_size=6).map(" ".join)
    texts = data.draw(st.lists(some, min_size=1, max_size=4))
    model = Model(texts)
    found = corrected(" ".join(text), spelling_of(texts))
    if all(word in model.counts for word in text):
        assert found == f" {' '.join(text)} "
        return
    every = model.readings(text)
    least = min(cost for cost, _ in every)
    assert found in {f" {said} " for cost, said in every if cost <= least + 1e-4}


def test_neighbours_tell_which_word_was_meant() -> None:
    spelling = spelling_of(30 * ["a hot day", "the hat box"])
    assert corrected("a hxt day", spelling) == " a hot day "
    assert corrected("the hxt box", spelling) == " the hat box "
    assert corrected("hxt day", spelling) == " hot day "
    assert corrected("hxt box", spelling) == " hat box "


def test_what_is_known_may_be_a_mistake_beside_what_is_not() -> None:
    spelling = spelling_of(100 * ["it came from here to there", "fill in the form now"])
    assert corrected("it caem form here to there", spelling) == " it came from here to there "
    assert corrected("fill in teh form now", spelling) == " fill in the form now "
    assert corrected("it came form here to there", spelling) == " it came form here to there "


def test_texts_are_read_to_their_ends_however_long_they_are() -> None:
    times = WORDS_AT_ONCE // 2
    text, meant = times * "whta doees teh buraeu stnd forr Xyzzy ", times * "what does the bureau stand for Xyzzy "
    assert corrected(text) == f" {meant.lower()}"
    assert SPELLING.corrected([text]) == [meant]
    spelling = spelling_of(30 * ["a hot day", "the hat box"])
    for before, last in (("a", "hot"), ("the", "hat")):
        for first in ("box", "xyzzy"):
            beginning = f"{first} {(WORDS_AT_ONCE - 2) * 'day '}{before}"
            assert corrected(f"{beginning} hxt", spelling) == f" {beginning} {last} "


def test_words_of_text_without_labels_are_known_too() -> None:
    """So they are no mistakes, and their own mistakes are mended."""
    spelling = spelling_of(TEXTS, ["Bureaus were funded in Zanzibar"])
    assert set(spelling.counts.words) == {*SPELLING.counts.words, "bureaus", "were", "funded", "zanzibar"}
    assert corrected("bureaus founded in znazibar", spelling) == " bureaus founded in zanzibar "
    assert corrected("bureaus founded in znazibar") == " bureau founded in znazibar "


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
    """Two wrong letters cost more than a new word, unless the word is frequent."""
    assert corrected("the foundxdx", spelling_of(["the founded"])) == " the foundxdx "
    assert corrected("the foundex", spelling_of(["the founded"])) == " the founded "
    assert corrected("the foundxdx", spelling_of([*1000 * ["the founded"], "rare"])) == " the founded "


def test_beside_a_missing_space_either_word_may_have_a_mistake() -> None:
    """Two mistakes: these words are frequent enough."""
    spelling = spelling_of(1000 * ["what does the bureau"])
    assert corrected("whtadoes thebureua", spelling) == " what does the bureau "


@settings(max_examples=40)
@given(st.lists(st.text("whatdoes ?8,\n日", max_size=20), max_size=6))
def test_each_text_is_read_alone(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spelling_module, "POINTS_EACH", 10)
        patch.setattr(torch, "get_num_threads", lambda: 3)
        points, starts = SPELLING.correct(*code_points(texts))
    together = [points[start:end].tolist() for start, end in itertools.pairwise(starts)]
    alone = [SPELLING.correct(*code_points([text]))[0].tolist() for text in texts]
    assert together == alone


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Waht  does the BURAEU\tstand for?", "What  does the BUREAU\tstand for?"),
        ("When Was,thebureau founded?", "When Was,the bureau founded?"),
        ("stand;here", "stand here"),
        ("stANd teh bUreau", "stANd the bUreau"),
        ("DOESTHE Bur;au stand fo r  it?", "DOES THE Bureau stand for  it?"),
        ("In 1985,stand  xyzzy, here\n", "In 1985,stand  xyzzy, here\n"),
    ],
)
def test_what_is_known_stands_as_it_stood(text: str, meant: str) -> None:
    assert SPELLING.corrected([text, "", text]) == [meant, "", meant]


def test_letters_that_do_not_come_back_from_capitals_stay_small() -> None:
    assert spelling_of(30 * ["die straße"]).corrected(["DIE STRAE"]) == ["DIE straße"]


@settings(max_examples=300)
@given(st.lists(st.text("teh wasT ;8,\nß日", max_size=24), max_size=4), st.lists(words, max_size=12))
def test_the_texts_have_the_words_that_are_read(texts: list[str], known: list[str]) -> None:
    spelling = spelling_of([*TEXTS, " ".join(known), "was the theses ", "what s"])
    found = spelling.corrected(texts)
    for ours, theirs in zip(code_points(found), spelling.correct(*code_points(texts)), strict=True):
        assert ours.tolist() == theirs.tolist()
    for text, corrected in zip(texts, found, strict=True):
        if set(words_of(text)) <= set(spelling.counts.words):
            assert corrected == text
