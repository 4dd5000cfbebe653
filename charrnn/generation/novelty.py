"""What did samples copy from a text? Longest verbatim overlap, and shares of new n-grams.

The samples are indexed and the text is read past them once, so that memory does not grow with the text. Everything is
counted in characters (code points), so that no match begins or ends inside one. The measure is that of McCoy et al.
2023, "How much do language models copy from their training data?" (https://arxiv.org/abs/2111.09509), on characters.

Shapes: N characters of a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charrnn.generation import suffix_automaton

NGRAM_SIZES = range(5, 51)
REPORTED_SIZES = (5, 10, 15, 20, 30, 50)
REPORTED_CHARS = 200  # of the longest piece
CHUNK_CHARS = 1 << 20
SEPARATOR = 0x110000  # between samples; no character, so no match goes across


@dataclass(frozen=True)
class Novelty:
    """What samples have in common with a text, in characters. Positions count from 0."""

    longest: str  # the longest piece of a sample that is in the text; of several, the first in the text
    longest_sample: int | None  # the first sample that has it; None: not even one character is in the text
    longest_at: int | None  # where it begins in the text, the first time
    new_share: dict[int, float | None]  # n → share of the samples' n-grams not in the text; None: no sample is so long
    text_chars: int  # length of the text

    def as_dict(self) -> dict[str, Any]:
        """All figures by name, for JSON."""
        return {"longest_chars": len(self.longest)} | asdict(self)

    def report(self) -> str:
        """A few lines to read."""
        piece = self.longest[:REPORTED_CHARS]
        copied = "none"
        if self.longest_sample is not None and self.longest_at is not None:
            copied = f"{len(self.longest):,} characters of sample {self.longest_sample + 1}, in the text at character "
            copied += f"{self.longest_at:,}: {piece!r}{' …' if piece != self.longest else ''}"
        shares = [(n, self.new_share[n]) for n in REPORTED_SIZES]
        known = [f"n={n} {share:.1%}" for n, share in shares if share is not None]
        return (
            f"compared with  {self.text_chars:,} characters of text\n"
            f"longest copy   {copied}\n"
            f"new n-grams    {'   '.join(known) or 'none: the samples are too short'}"
        )


def novelty(samples: Sequence[str], chunks: Iterable[str]) -> Novelty:
    """What `samples` copied from the text in `chunks`; n-grams are counted at each place where they stand.

    Time is in proportion to the length of the text, memory to that of the samples.
    """
    matcher = Matcher(samples)
    for chunk in chunks:
        matcher.read(chunk)
    lengths = np.concatenate([np.zeros(0, np.int64), *matcher.match_lengths()])
    left = np.concatenate([np.zeros(0, np.int64), *(np.arange(len(sample), 0, -1) for sample in samples)])
    new_share: dict[int, float | None] = {}
    for n in NGRAM_SIZES:
        there = left >= n
        new_share[n] = float((lengths[there] < n).mean()) if there.any() else None
    return Novelty(*matcher.longest(), new_share, matcher.text_chars)


class Matcher:
    """Finds what samples have in common with a text that is read once, in chunks of any size."""

    def __init__(self, samples: Sequence[str]) -> None:
        self.samples = samples
        self.text_chars = 0
        self._starts = np.cumsum([0, *(len(sample) + 1 for sample in samples)])
        chars = [part for sample in samples for part in (_code_points(sample), np.array([SEPARATOR], np.uint32))]
        joined = np.concatenate([np.zeros(0, np.uint32), *chars])
        self._states, self._edges, self._beginnings = suffix_automaton.build(joined)
        self._at = (suffix_automaton.ROOT, 0)  # state and length after what was read
        self._longest = (0, suffix_automaton.ROOT, 0)  # length, state, where it ends in the text

    def read(self, chunk: str) -> None:
        """Go on in the text."""
        for begin in range(0, len(chunk), CHUNK_CHARS):
            part = _code_points(chunk[begin : begin + CHUNK_CHARS])
            longest = self._longest[0]
            *at, length, state, end = suffix_automaton.read(self._states, self._edges, part, *self._at, longest)
            self._at = (at[0], at[1])
            if length > longest:
                self._longest = (length, state, self.text_chars + end)
            self.text_chars += len(part)

    def match_lengths(self) -> list[NDArray[np.int64]]:
        """For each sample (N,): length of the longest piece beginning at each character that is in the text so far."""
        order = np.argsort(self._states[:, suffix_automaton.LENGTH], kind="stable")
        suffix_automaton.spread(self._states, order)
        ending = self._states[self._beginnings, suffix_automaton.REACH].astype(np.int64)
        lengths = []
        for start, sample in zip(self._starts[:-1], self.samples, strict=True):
            places = np.arange(len(sample))
            # The longest match that ends at a place begins no earlier than that of the place before. So the longest
            # that begins at a place ends where the last one ends that begins no later.
            begins = places + 1 - ending[start : start + len(sample)]
            lengths.append(np.searchsorted(begins, places, side="right") - places)
        return lengths

    def longest(self) -> tuple[str, int | None, int | None]:
        """The longest piece of a sample in the text so far, the sample's number, and where it begins in the text."""
        length, state, text_end = self._longest
        if length == 0:
            return "", None, None
        stop = int(self._states[state, suffix_automaton.END]) + 1
        sample = int(np.searchsorted(self._starts, stop)) - 1
        stop -= int(self._starts[sample])
        return self.samples[sample][stop - length : stop], sample, text_end - length + 1


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
