"""What samples copied from a text, against a search for every piece."""

import json
import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.generation.novelty import CHUNK_CHARS, NGRAM_SIZES, Matcher, Novelty, novelty

# Few characters make many matches: of one to four bytes, a zero, the last code point, and half a surrogate pair.
ALPHABETS = ["a", "ab", "abc", "a\0", "aé日😀", "\x7f\x80\U0010ffff\ud800"]

texts = st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(letters, max_size=120))


@st.composite
def comparisons(draw: Callable[..., object]) -> tuple[list[str], str]:
    """Samples and a text of one alphabet; some samples are made of pieces of the text."""
    letters = draw(st.sampled_from(ALPHABETS))
    text = str(draw(st.text(letters, max_size=150)))
    piece = st.tuples(st.integers(0, 150), st.integers(0, 100)).map(lambda cut: text[cut[0] : cut[0] + cut[1]])
    sample = st.lists(piece | st.text(letters, max_size=8), max_size=4).map("".join)
    samples = draw(st.lists(sample, max_size=4))
    assert isinstance(samples, list)
    return samples, text


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def lengths_by_search(sample: str, text: str) -> list[int]:
    """For each place of the sample, the most characters from there on that the text has."""
    lengths = [0] * len(sample)
    for at in range(len(sample)):
        while at + lengths[at] < len(sample) and sample[at : at + lengths[at] + 1] in text:
            lengths[at] += 1
    return lengths


def share_by_search(samples: list[str], text: str, n: int) -> float | None:
    ngrams = [sample[at : at + n] for sample in samples for at in range(len(sample) - n + 1)]
    return sum(ngram not in text for ngram in ngrams) / len(ngrams) if ngrams else None


@settings(max_examples=200)
@given(comparisons(), st.lists(st.integers(0, 150), max_size=4))
@example((["abab", "", "bab"], "cbabc"), [2, 2])
def test_all_is_as_a_search_for_every_piece_finds_it(comparison: tuple[list[str], str], places: list[int]) -> None:
    samples, text = comparison
    matcher = Matcher(samples)
    for chunk in cut(text, places):
        matcher.read(chunk)
    lengths = [lengths_by_search(sample, text) for sample in samples]
    assert [found.tolist() for found in matcher.match_lengths()] == lengths

    result = novelty(samples, cut(text, places))
    assert result.text_chars == len(text)
    assert list(result.new_share) == list(range(5, 51))
    assert result.new_share == {n: share_by_search(samples, text, n) for n in NGRAM_SIZES}

    most = max((length for found in lengths for length in found), default=0)
    assert len(result.longest) == most
    if most == 0:
        assert (result.longest_sample, result.longest_at) == (None, None)
        return
    pieces = {sample[at : at + most] for sample in samples for at in range(len(sample) - most + 1)}
    assert result.longest_at == min(text.index(piece) for piece in pieces if piece in text)
    assert text.startswith(result.longest, result.longest_at)
    assert result.longest_sample == next(k for k, sample in enumerate(samples) if result.longest in sample)


@given(comparisons(), st.integers(0, 150))
def test_lengths_can_be_asked_for_at_any_time(comparison: tuple[list[str], str], place: int) -> None:
    samples, text = comparison
    matcher = Matcher(samples)
    for end, chunk in ((place, text[:place]), (len(text), text[place:])):
        matcher.read(chunk)
        for _ in range(2):
            found = [lengths.tolist() for lengths in matcher.match_lengths()]
            assert found == [lengths_by_search(sample, text[:end]) for sample in samples]


def test_a_piece_of_the_text_is_found_whole_and_has_nothing_new() -> None:
    text = "".join(random.Random(0).choices("abcdefgh ", k=5000))
    result = novelty([text[700:1900]], [text])
    assert (result.longest, result.longest_sample, result.longest_at) == (text[700:1900], 0, 700)
    assert set(result.new_share.values()) == {0.0}


def test_one_changed_character_makes_the_ngrams_over_it_new() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))
    sample = text[100:300] + "x" + text[301:500]
    result = novelty([sample], [text])
    assert (result.longest, result.longest_at) == (text[100:300], 100)
    assert result.new_share == {n: n / (400 - n + 1) for n in range(5, 51)}


def test_ngrams_are_counted_as_often_as_they_occur() -> None:
    assert novelty(["known", "known", "known", "other"], ["it is known"]).new_share[5] == 0.25


def test_no_match_goes_from_one_sample_to_the_next() -> None:
    assert novelty(["abc", "def"], ["abcdef"]).longest == "abc"


def test_characters_are_not_cut_into_their_bytes() -> None:
    assert novelty(["é"], ["è"]).longest == ""  # in UTF-8 they begin with the same byte
    assert novelty(["naïve 😀"], ["une naïve 😀"]).longest == "naïve 😀"
    assert novelty(["e\u0301"], ["é"]).longest == ""


@pytest.mark.parametrize("samples", [[], [""], ["", ""], ["abcd"]])
def test_no_share_where_no_sample_is_long_enough(samples: list[str]) -> None:
    result = novelty(samples, ["abcd abcd"])
    assert set(result.new_share.values()) == {None}
    assert result.longest == "".join(samples)
    assert "too short" in result.report()


@pytest.mark.parametrize("chunks", [[], [""], ["abc"], ["xyz" * 40]])
def test_all_is_new_to_a_text_that_has_none_of_it(chunks: list[str]) -> None:
    result = novelty(["k" * 60], chunks)
    assert (result.longest, result.longest_sample, result.longest_at) == ("", None, None)
    assert set(result.new_share.values()) == {1.0}
    assert "longest copy   none" in result.report()


def test_a_match_goes_across_the_parts_in_which_a_long_chunk_is_read() -> None:
    piece = "a piece at the end of a part"
    text = "." * (2 * CHUNK_CHARS - 10) + piece + "." * 50
    result = novelty(["x" + piece + "x"], [text])
    assert (result.longest, result.longest_at) == (piece, 2 * CHUNK_CHARS - 10)
    assert result.text_chars == len(text)


def test_thousands_of_different_characters() -> None:
    draw = random.Random(1)
    letters = [chr(code) for code in draw.sample([*range(0xD800), *range(0xE000, 0x110000)], 3000)]
    text = "".join(draw.choices(letters, k=20_000))
    places = [draw.randrange(20_000) for _ in range(400)]
    samples = ["".join(text[at : at + 7] for at in places), "".join(draw.choices(letters, k=3000))]
    result = novelty(samples, [text])
    assert [result.new_share[n] for n in (5, 7)] == [share_by_search(samples, text, n) for n in (5, 7)]
    matcher = Matcher(samples)
    matcher.read(text)
    assert [found.tolist() for found in matcher.match_lengths()] == [lengths_by_search(s, text) for s in samples]


def test_all_figures_are_json() -> None:
    result = novelty(["one two three four"], ["two three", " four five"])
    figures = json.loads(json.dumps(result.as_dict()))
    assert figures.pop("new_share") == {str(n): share for n, share in result.new_share.items()}
    assert figures == {
        "longest": "two three four",
        "longest_chars": 14,
        "longest_sample": 0,
        "longest_at": 0,
        "text_chars": 19,
    }


def test_the_report_is_three_lines_whatever_was_copied() -> None:
    shares: dict[int, float | None] = {n: n / 100 if n < 30 else None for n in NGRAM_SIZES}
    lines = Novelty("a\n\x1b" + "long" * 100, 1, 1234, shares, 56789).report().split("\n")
    assert lines[0] == "compared with  56,789 characters of text"
    assert lines[1].startswith(
        r"longest copy   403 characters of sample 2, in the text at character 1,234: 'a\n\x1blong"
    )
    assert lines[1].endswith("' …")
    assert len(lines[1]) < 300
    assert lines[2:] == ["new n-grams    n=5 5.0%   n=10 10.0%   n=15 15.0%   n=20 20.0%"]
