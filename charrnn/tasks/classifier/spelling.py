"""Spelling as training texts do: words that they do not know are read as known ones, where a typing mistake is likelier
than a new word.

A noisy channel (Kernighan, Church & Gale 1990) with the frequencies of the training texts' words and of their pairs
(Mays, Damerau & Mercer 1991, Context Based Spelling Correction), over all readings of a text at once. The words of text
without labels are known too, where there is any.

Shapes: N texts, W words, P pairs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charrnn.tasks.classifier import spelling_kernels
from charrnn.tasks.classifier.tokens import TOKEN, code_points
from charrnn.tasks.classifier.word_counts import WordCounts, points_of

UNKNOWN_COST = 9.0  # nats that a word which stays unknown costs, beside those of the rarest known one
NEW_FOLLOWERS = 2.0  # as often as a word is followed by any for the first time, it may be by one that never followed it
POINTS_EACH = 10_000  # letters that are worth a thread
WITHIN_WORD = re.compile(r"\w\w")

Array = npt.NDArray[Any]


class Spelling:
    """`correct(*code_points(texts))`: code points of the texts as they were probably meant."""

    def __init__(self, counts: WordCounts) -> None:
        self.counts = counts
        points, starts = points_of(counts.words)
        rarities = np.log(counts.counts.sum(dtype=np.float64)) - np.log(counts.counts.astype(np.float64))
        index, words = spelling_kernels.deletion_index(points, starts)
        order = np.lexsort((rarities[words], index))
        hashes = _table(spelling_kernels.hashes_of(points, starts))
        self._known = points, starts, hashes, _table(index[order]), words[order], rarities
        self._model = rarities, float(rarities.max()) + UNKNOWN_COST, _followers(counts)

    def correct(self, points: Array, starts: Array) -> tuple[Array, Array]:
        """Code points of texts and where each starts (N + 1,), as they were probably meant."""
        corrected: tuple[Array, Array] = self._correct(points, starts)[:2]
        return corrected

    def corrected(self, texts: Sequence[str]) -> list[str]:
        """The texts as they were probably meant; what is known stands in them as it stood, capitals and all."""
        points, starts, sources = self._correct(*code_points(texts))
        letters = points.astype("<u4").tobytes().decode("utf-32-le", errors="surrogatepass")
        corrected, place = [], 0
        for text, (start, end) in zip(texts, pairwise(starts.tolist()), strict=True):
            words = letters[start + 1 : end].split(" ")[:-1]
            corrected.append(_respelled(text, words, sources[place : place + len(words)].tolist()))
            place += len(words)
        return corrected

    def _correct(self, points: Array, starts: Array) -> tuple[Array, Array, Array]:
        """By parts, each on a thread of its own."""
        count = min(torch.get_num_threads(), 1 + len(points) // POINTS_EACH)
        borders = np.searchsorted(starts, np.linspace(0, starts[-1], count + 1)).tolist()

        def correct(part: tuple[int, int]) -> tuple[Array, Array, Array]:
            begin, end = part
            own = starts[begin : end + 1]
            letters = points[own[0] : own[-1]]
            found: tuple[Array, Array, Array] = spelling_kernels.correct(
                letters, own - own[0], self._known, self._model
            )
            return found

        with ThreadPoolExecutor(count) as pool:
            parts, lengths, sources = zip(*pool.map(correct, pairwise(borders)), strict=True)
        every = np.cumsum(np.concatenate([[0], *map(np.diff, lengths)]))
        return np.concatenate(parts), every, np.concatenate(sources)


def _table(hashes: Array) -> tuple[Array, Array, int]:
    """What hashes in order are looked up in."""
    bits = max(len(hashes).bit_length(), 1)
    return hashes, spelling_kernels.bounds(hashes, bits), bits


def _followers(counts: WordCounts) -> tuple[Array, Array, Array, Array]:
    """Where the words that follow each begin (W + 2,), which they are (P,), how likely each is beside what it is
    anywhere (P,), and what share of that is left to all words (W + 1,): interpolated as by Witten & Bell (1991)."""
    number = len(counts.words) + 1
    firsts = counts.pairs // number
    begins = np.searchsorted(firsts, np.arange(number + 1))
    sums = np.bincount(firsts, counts.pair_counts, minlength=number)
    news = NEW_FOLLOWERS * np.diff(begins)
    every = np.maximum(sums + news, 1e-9)
    shares = counts.pair_counts / every[firsts]
    return begins, counts.pairs % number, shares, np.where(news > 0, news / every, 1.0)


def _respelled(text: str, words: Sequence[str], sources: Sequence[int]) -> str:
    """A text in which `words` are read, each from the word of this number on; several may be read from one."""
    spans = [match.span() for match in TOKEN.finditer(text)]
    read = [
        (source, [word for _, word in group])
        for source, group in groupby(zip(sources, words, strict=True), itemgetter(0))
    ]
    whole, copied = "", 0
    for (source, new), (following, _) in pairwise([*read, (len(spans), [])]):
        start, end = spans[source][0], spans[following - 1][1]
        old = text[start:end]
        if new != [old.lower()]:
            whole = _joined(_joined(whole, text[copied:start]), _cased_as(old, " ".join(new)))
            copied = end
    return _joined(whole, text[copied:])


def _joined(one: str, other: str) -> str:
    """Both, with a space between words that would become one."""
    return f"{one} {other}" if WITHIN_WORD.match(one[-1:] + other[:1]) else one + other


def _cased_as(old: str, new: str) -> str:
    """`new`, in small letters, with capitals where `old` has them."""
    letters = "".join(filter(str.isalpha, old))
    all_large = letters.isupper() and len(letters) > 1
    cased = new.upper() if all_large else new.capitalize() if letters[:1].isupper() else new
    return cased if cased.lower() == new else new  # there are letters that do not come back
