"""Bytes to text that can be shown: any split gives the same, stop strings and limits hold exactly."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.generation.stream import TextStream

texts = st.text("abé", max_size=14)
cuts = st.lists(st.integers(0, 60), max_size=8)
parts = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 5)), max_size=3)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def shown(pieces: list[bytes], max_chars: int, stop: list[str]) -> tuple[str, str | None]:
    stream = TextStream(max_chars, stop)
    text = "".join(map(stream.feed, pieces)) + stream.close()
    return text, stream.finish_reason


def expected(text: str, max_chars: int, stop: list[str]) -> tuple[str, str]:
    """A text ends before the stop string that is complete first, or at its length."""
    found = [(text.find(string) + len(string), text.find(string)) for string in stop if string and string in text]
    if found and min(found)[1] < max_chars:
        return text[: min(found)[1]], "stop"
    return text[:max_chars], "length"


@settings(max_examples=500)
@given(texts, parts, st.lists(st.text("abé", max_size=4), max_size=2), st.integers(0, 16), cuts)
def test_any_split_gives_the_text_up_to_a_stop_string_or_its_length(
    text: str, parts: list[tuple[int, int]], others: list[str], max_chars: int, cuts: list[int]
) -> None:
    stop = [*(text[at : at + length] for at, length in parts), *others]
    assert shown(split(text.encode(), cuts), max_chars, stop) == expected(text, max_chars, stop)


@given(st.binary(max_size=20), cuts)
def test_bytes_that_are_no_text_become_replacement_characters_however_they_are_split(
    data: bytes, cuts: list[int]
) -> None:
    assert shown(split(data, cuts), 100, []) == (data.decode("utf-8", errors="replace"), "length")


@given(st.text(max_size=20))
def test_a_character_is_shown_whole_and_at_once(text: str) -> None:
    text = text.encode("utf-8", errors="replace").decode()
    stream = TextStream(max_chars=100)
    for character in text:
        *first, last = (bytes([value]) for value in character.encode())
        assert [stream.feed(piece) for piece in first] == [""] * len(first)
        assert stream.feed(last) == character


def test_the_beginning_of_a_stop_string_waits_no_longer_than_needed() -> None:
    stream = TextStream(100, ["abcd", "xyz"])
    steps = [(b"1a", "1"), (b"b", ""), (b"a", "ab"), (b"bc", ""), (b"e", "abce"), (b"xy", ""), (b"z2", "")]
    assert [stream.feed(piece) for piece, _ in steps] == [text for _, text in steps]
    assert stream.finish_reason == "stop"


def test_nothing_comes_after_the_end() -> None:
    for stop in ([], ["b"]):
        stream = TextStream(2, stop)
        stream.feed(b"aab")
        assert stream.finished
        assert stream.feed(b"more") == ""
        assert stream.close() == ""


@pytest.mark.parametrize("max_chars", [0, -1])
def test_no_characters_asked_for_are_no_characters(max_chars: int) -> None:
    assert shown([b"abc"], max_chars, []) == ("", "length")


def test_what_is_held_back_at_the_end_counts_too() -> None:
    assert shown([b"ab", b"c"], 2, ["abcd"]) == ("ab", "length")
    assert shown([b"a", "é".encode()[:1]], 5, ["ab"]) == ("a\ufffd", "length")
    assert shown([b"ab", "é".encode()[:1]], 5, ["b\ufffd"]) == ("a", "stop")


def test_of_stop_strings_that_overlap_the_one_complete_first_counts() -> None:
    for pieces in ([b"xabcd"], [b"xab", b"c", b"d"]):
        assert shown(pieces, 9, ["abcd", "bc"]) == ("xa", "stop")
