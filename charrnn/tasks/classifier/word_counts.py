"""How often words occur in texts, and how often one follows another.

Shapes: W words, P pairs, T words of all texts together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn.tasks.classifier import kernels, spelling_kernels
from charrnn.tasks.classifier.tokens import code_points, words_of
from charrnn.tasks.classifier.words import batches

MAX_WORDS, MAX_PAIRS = 100_000, 500_000  # the most frequent ones
OWN = 3  # times as much as all words of other text, those of one's own count together

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class WordCounts:
    """Words in order of their hashes, as `words_of` gives them, and pairs of neighbours.

    A pair's number is W + 1 times that of its first word, and that of its second; the beginning of a text is a first
    word too, of number W. Pairs are in order of their numbers.
    """

    words: Sequence[str]
    counts: Array  # (W,) float32
    pairs: Array  # (P,) int64
    pair_counts: Array  # (P,) float32

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordCounts:
        """Those of texts."""
        lengths, hashes = [], []
        for some in batches(texts):
            offsets, found = kernels.word_hashes(*code_points(some))
            lengths.append(np.diff(offsets))
            hashes.append(found)
        every = np.concatenate([np.empty(0, np.int64), *hashes])
        offsets = np.cumsum(np.concatenate([[0], *lengths]))
        distinct, counts = np.unique(every, return_counts=True)
        kept = np.sort(_most_frequent(counts, MAX_WORDS))
        ids = np.full(len(distinct), -1, np.int64)
        ids[kept] = np.arange(len(kept))
        ids = ids[np.searchsorted(distinct, every)]  # (T,), −1: too rare
        before = np.concatenate([[-1], ids])[:-1]
        before[offsets[:-1][np.diff(offsets) > 0]] = len(kept)
        numbers = (before * (len(kept) + 1) + ids)[(before >= 0) & (ids >= 0)]
        pairs, pair_counts = np.unique(numbers, return_counts=True)
        return cls(_words(texts, offsets, ids, len(kept)), *_counted(counts[kept], pairs, pair_counts))

    def beside(self, other: WordCounts) -> WordCounts:
        """Both together, where those of `other` count in sum a third as much, at most."""
        scale = min(1.0, self.counts.sum() / (OWN * max(other.counts.sum(), 1)))
        counts = dict(zip(other.words, (scale * other.counts).tolist(), strict=True))
        for word, count in zip(self.words, self.counts.tolist(), strict=True):
            counts[word] = counts.get(word, 0.0) + count
        every = list(counts)
        kept = _most_frequent(np.array(list(counts.values())), MAX_WORDS)
        kept = kept[np.argsort(spelling_kernels.hashes_of(*points_of([every[i] for i in kept])))]
        words = [every[i] for i in kept]
        number = {word: i for i, word in enumerate(words)}
        numbers, times = [], []
        for part, weight in ((self, 1.0), (other, scale)):
            new = np.array([*(number.get(word, -1) for word in part.words), len(words)])
            firsts, seconds = new[part.pairs // len(new)], new[part.pairs % len(new)]
            known = (firsts >= 0) & (seconds >= 0)
            numbers.append((firsts * (len(words) + 1) + seconds)[known])
            times.append(weight * part.pair_counts[known])
        pairs, places = np.unique(np.concatenate(numbers), return_inverse=True)
        pair_counts = np.bincount(places, np.concatenate(times))
        return WordCounts(words, *_counted(np.array([counts[word] for word in words]), pairs, pair_counts))

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of them, by name."""
        points, starts = points_of(self.words)
        return {
            "spelling.points": torch.from_numpy(points.astype(np.int32)),
            "spelling.starts": torch.from_numpy(starts),
            "spelling.counts": torch.from_numpy(self.counts),
            "spelling.pairs": torch.from_numpy(self.pairs),
            "spelling.pair_counts": torch.from_numpy(self.pair_counts),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> WordCounts | None:
        """What `tensors` gave, or None if none of it is there. Raises KeyError or ValueError if it is not whole."""
        if not any(name.startswith("spelling.") for name in tensors):
            return None
        names = ("points", "starts", "counts", "pairs", "pair_counts")
        points, starts, counts, pairs, pair_counts = (tensors[f"spelling.{name}"].numpy() for name in names)
        whole = len(starts) == len(counts) + 1 and starts[0] == 0 and starts[-1] == len(points)
        whole = whole and len(pairs) == len(pair_counts) and bool((np.diff(pairs, prepend=-1) > 0).all())
        whole = whole and (len(pairs) == 0 or pairs[-1] // (len(counts) + 1) <= len(counts))
        if not whole or not all((each > 0).all() for each in (np.diff(starts), counts, pair_counts)):
            raise ValueError("the parts of the spelling do not fit each other")
        letters = points.astype("<u4").tobytes().decode("utf-32-le", errors="surrogatepass")
        return cls([letters[start:end] for start, end in pairwise(starts.tolist())], counts, pairs, pair_counts)


def points_of(words: Sequence[str]) -> tuple[Array, Array]:
    """Code points of all words, and where each starts (W + 1,)."""
    data = "".join(words).encode("utf-32-le", errors="surrogatepass")
    return np.frombuffer(data, dtype=np.uint32), np.cumsum([0, *map(len, words)])


def _most_frequent(counts: Array, number: int) -> Array:
    """Places of so many of the highest counts, those that come first where they are equal."""
    return np.argsort(-counts, kind="stable")[:number]


def _counted(counts: Array, pairs: Array, pair_counts: Array) -> tuple[Array, Array, Array]:
    """Counts, and the most frequent pairs with theirs."""
    kept = np.sort(_most_frequent(pair_counts, MAX_PAIRS))
    return counts.astype(np.float32), pairs[kept], pair_counts[kept].astype(np.float32)


def _words(texts: Sequence[str], offsets: Array, ids: Array, number: int) -> list[str]:
    """The words of these numbers: ids (T,), where those of each text begin at `offsets`."""
    places = np.empty(number, np.int64)
    known = np.flatnonzero(ids >= 0)
    places[ids[known]] = known  # anywhere in the texts
    lines = np.searchsorted(offsets, places, side="right") - 1
    at = zip(lines.tolist(), (places - offsets[lines]).tolist(), strict=True)
    return [words_of(texts[line])[place] for line, place in at]
