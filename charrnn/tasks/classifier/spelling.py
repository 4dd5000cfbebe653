"""Spelling as training texts do: words that they do not know are read as known ones, where a typing mistake is likelier
than a new word.

A noisy channel (Kernighan, Church & Gale 1990) with the frequencies of the training texts' words, over all readings of
a text at once. The words of text without labels are known too, where there is any.

Shapes: N texts, W words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn.tasks.classifier import spelling_kernels
from charrnn.tasks.classifier.tokens import TOKEN, code_points, words_of

MAX_WORDS = 100_000  # the most frequent ones
OWN = 3  # times as much as all words of text without labels, those of training texts count together
UNKNOWN = 9.0  # nats that a word which stays unknown costs, beside those of a word that occurs once
WITHIN_WORD = re.compile(r"\w\w")

Array = npt.NDArray[Any]


class Spelling:
    """`correct(*code_points(texts))`: code points of the texts as they were probably meant."""

    def __init__(self, points: Array, starts: Array, counts: Array) -> None:
        """The known words in order of their hashes, word i being points[starts[i] : starts[i + 1]] with starts
        (W + 1,), and how often each occurs, counts (W,)."""
        self.points, self.starts, self.counts = points, starts, counts
        hashes = spelling_kernels.hashes_of(points, starts)
        costs = np.log(counts.sum()) - np.log(counts)
        index, words = spelling_kernels.deletion_index(points, starts)
        order = np.argsort(index, kind="stable")
        self._known = points, starts, hashes, costs, index[order], words[order]
        self._unknown_cost = float(np.log(counts.sum())) + UNKNOWN

    @classmethod
    def learn(cls, texts: Iterable[str], more: Mapping[str, int] | None = None) -> Spelling:
        """That of these texts, where the words of `more` are known too, that occur so often in text without labels."""
        own, counts = Counter(word for text in texts for word in words_of(text)), Counter(more)
        weight = max(1, round(OWN * counts.total() / max(own.total(), 1)))
        counts.update({word: weight * count for word, count in own.items()})
        words = [word for word, _ in counts.most_common(MAX_WORDS)]
        words = [words[i] for i in np.argsort(spelling_kernels.hashes_of(*_points(words)))]
        return cls(*_points(words), np.array([counts[word] for word in words], dtype=np.int64))

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
        found: tuple[Array, Array, Array] = spelling_kernels.correct(points, starts, self._known, self._unknown_cost)
        return found

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of it, by name."""
        return {
            "spelling.points": torch.from_numpy(self.points.astype(np.int32)),
            "spelling.starts": torch.from_numpy(self.starts),
            "spelling.counts": torch.from_numpy(self.counts),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Spelling | None:
        """What `tensors` gave, or None if none of it is there. Raises KeyError or ValueError if it is not whole."""
        if not any(name.startswith("spelling.") for name in tensors):
            return None
        points, starts, counts = (tensors[f"spelling.{name}"].numpy() for name in ("points", "starts", "counts"))
        whole = len(starts) == len(counts) + 1 and starts[0] == 0 and starts[-1] == len(points)
        if not whole or (np.diff(starts) < 1).any() or (counts < 1).any():
            raise ValueError("the parts of the spelling do not fit each other")
        return cls(points.astype(np.uint32), starts, counts)


def word_counts(lines: Iterable[str]) -> dict[str, int]:
    """How often the most frequent words of text without labels occur in it."""
    return dict(Counter(word for line in lines for word in words_of(line)).most_common(MAX_WORDS))


def _points(words: Sequence[str]) -> tuple[Array, Array]:
    """Code points of all words, and where each starts (W + 1,)."""
    data = "".join(words).encode("utf-32-le", errors="surrogatepass")
    return np.frombuffer(data, dtype=np.uint32), np.cumsum([0, *map(len, words)])


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
