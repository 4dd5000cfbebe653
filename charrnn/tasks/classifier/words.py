"""What words mean, learned from text without labels: words that stand among like words get like vectors.

The vectors are the strongest directions of the positive pointwise mutual information between words and the frequent
words around them (Levy, Goldberg & Dagan 2015, Improving Distributional Similarity with Lessons Learned from Word
Embeddings).

Shapes: N texts, W words, K frequent words, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.tasks.classifier import kernels
from charrnn.tasks.classifier.tokens import code_points

MAX_CHARS = 200_000_000  # of text that is read
CHARS_AT_ONCE = 4_000_000  # about so many
MAX_WORDS, MIN_COUNT = 50_000, 3
MAX_CONTEXTS = 2_000  # frequent words that others are known by
REACH = 5  # words to either side that count, the d-th for 1/d
SMOOTHING = 0.75  # of the contexts' frequencies: rare ones would seem to tell too much
DIMENSIONS = 100
PARTS = ((0, 2), (2, 6))  # known words of a text, by number, that have vectors of their own beside that of all
NORM = 0.35  # of each of a text's vectors; the n-grams of each kind have 1
LINES_AT_ONCE = 20_000

Array = npt.NDArray[Any]


class WordVectors:
    """`features(*code_points(texts))`: (N, 3·D)."""

    def __init__(self, hashes: Array, vectors: Tensor, rarity: Array) -> None:
        """Of each word in order of its hash: hashes (W,) int64, vectors (W, D) of norm 1, rarity (W,) in nats."""
        self.hashes = hashes
        self.vectors = vectors
        self.rarity = rarity

    @classmethod
    def fit(cls, lines: Iterable[str]) -> WordVectors:
        """From lines of text. Raises UsageError if too few words come again in them."""
        hashes, lengths = [], []
        for some in batches(lines):
            offsets, found = kernels.word_hashes(*code_points(some))
            hashes.append(found)
            lengths.append(np.diff(offsets))
        every = np.concatenate([np.empty(0, np.int64), *hashes])
        offsets = np.cumsum(np.concatenate([[0], *lengths]))
        words, counts = np.unique(every, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MAX_WORDS]
        order = order[counts[order] >= MIN_COUNT]
        if len(order) < 2:
            raise UsageError(f"too little text without labels: no two words occur {MIN_COUNT} times")
        rank = np.full(len(words), -1, np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        ids = rank[np.searchsorted(words, every)]
        near = neighbours(ids, offsets, len(order))
        if not near.any():
            raise UsageError("too little text without labels: frequent words stand alone in their lines")
        vectors = vectors_of_neighbours(near, DIMENSIONS)
        rarity = np.log(len(every) / counts[order]).astype(np.float32)
        by_hash = np.argsort(words[order])
        # Half precision, as it is saved, so that a model gives the same after loading.
        return cls(words[order][by_hash], vectors[by_hash].half().float(), rarity[by_hash])

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def num_features(self) -> int:
        return (1 + len(PARTS)) * self.vectors.shape[1]

    def features(self, points: Array, starts: Array) -> Tensor:
        """Of texts as code points: vectors of all their known words together, the rarer the more, and of the words that
        begin them: (N, 3·D), the vectors of length `NORM`, or 0 where there is no such word."""
        offsets, hashes = kernels.word_hashes(points, starts)
        places = np.searchsorted(self.hashes, hashes).clip(max=len(self.hashes) - 1)
        known = self.hashes[places] == hashes
        ids = torch.from_numpy(places[known])
        begins = np.concatenate([[0], np.cumsum(known)])[offsets]
        number = np.arange(len(ids)) - np.repeat(begins[:-1], np.diff(begins))
        counted = [self.rarity[places[known]], *((number >= start) & (number < end) for start, end in PARTS)]
        sums = [
            F.embedding_bag(
                ids,
                self.vectors,
                torch.from_numpy(begins),
                mode="sum",
                per_sample_weights=torch.from_numpy(weights.astype(np.float32)),
                include_last_offset=True,
            )
            for weights in counted
        ]
        return torch.cat([NORM * F.normalize(vector, dim=1) for vector in sums], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of them, by name."""
        return {
            "words.hashes": torch.from_numpy(self.hashes),
            "words.vectors": self.vectors.half(),
            "words.rarity": torch.from_numpy(self.rarity),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> WordVectors | None:
        """What `tensors` gave, or None if none of it is there. Raises KeyError or ValueError if it is not whole."""
        if not any(name.startswith("words.") for name in tensors):
            return None
        hashes, vectors, rarity = (tensors[f"words.{name}"] for name in ("hashes", "vectors", "rarity"))
        if not len(hashes) == len(vectors) == len(rarity) or not len(hashes) or vectors.dim() != 2:
            raise ValueError("the parts of the word vectors do not fit each other")
        return cls(hashes.numpy(), vectors.float(), rarity.numpy())


def batches(lines: Iterable[str]) -> Iterator[Sequence[str]]:
    """Lists of lines, to be read at once."""
    some: list[str] = []
    chars = 0
    for line in lines:
        some.append(line)
        chars += len(line)
        if len(some) == LINES_AT_ONCE or chars >= CHARS_AT_ONCE:
            yield some
            some, chars = [], 0
    if some:
        yield some


def limited(lines: Iterable[str]) -> Iterator[str]:
    """As many lines, the last one cut, as have the characters that are read."""
    left = MAX_CHARS
    for line in lines:
        yield line[:left]
        left -= len(line)
        if left <= 0:
            break


def neighbours(ranks: Array, offsets: Array, number: int) -> Tensor:
    """How often words (W, K) stand near the frequent ones, in lines of ranks by frequency, from 0 on; −1 is no word."""
    return torch.from_numpy(kernels.cooccurrences(ranks, offsets, number, min(number, MAX_CONTEXTS), REACH))


def vectors_of_neighbours(near: Tensor, dimensions: int) -> Tensor:
    """(W, K), of which nothing is left, → vectors (W, D) of norm 1, fewer than so many dimensions where K is less."""
    vectors = _strongest_directions(_mutual_information(near), dimensions)
    return F.normalize(vectors - vectors.mean(0), dim=1)


def _mutual_information(near: Tensor) -> Tensor:
    """In place: how often words are near contexts (W, K) → how much more often than by chance, in nats, if more."""
    share = near.sum(0) ** SMOOTHING
    expected = share / share.sum()
    return near.div_(near.sum(1, keepdim=True).clamp_(min=1e-9)).div_(expected.clamp(min=1e-9)).log_().clamp_(min=0)


def _strongest_directions(matrix: Tensor, dimensions: int) -> Tensor:
    """(W, K) → U·√S (W, D) of its singular value decomposition."""
    # By numpy: torch's may fail where hardly a word has neighbours, and most values are 0, in double precision too.
    squares, directions = map(torch.from_numpy, np.linalg.eigh((matrix.T @ matrix).double().numpy()))
    squares, directions = squares[-dimensions:].float(), directions[:, -dimensions:].float()
    strongest: Tensor = matrix @ (directions / squares.clamp(min=1e-6) ** 0.25)
    return strongest
