"""Spelling as training texts do: words that they do not know are read as known ones, where a typing mistake is likelier
than a new word.

A noisy channel (Kernighan, Church & Gale 1990) with the frequencies of the training texts' words, over all readings of
a text at once.

Shapes: N texts, W words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn.tasks.classifier import kernels, spelling_kernels
from charrnn.tasks.classifier.tokens import code_points

MAX_WORDS = 100_000  # the most frequent ones
UNKNOWN = 9.0  # nats that a word which stays unknown costs, beside those of a word that occurs once

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
    def learn(cls, texts: Sequence[str]) -> Spelling:
        """That of these texts."""
        points, starts = code_points(texts)
        _, hashes = kernels.word_hashes(points, starts)
        _, places, counts = np.unique(hashes, return_index=True, return_counts=True)
        chosen = np.sort(np.argsort(-counts, kind="stable")[:MAX_WORDS])  # still in order of their hashes
        spaces = np.flatnonzero(points == kernels.SPACE)
        begins = np.setdiff1d(spaces, starts[1:] - 1, assume_unique=True) + 1  # of all words
        ends = np.setdiff1d(spaces, starts[:-1], assume_unique=True)
        words = [points[begins[place] : ends[place]] for place in places[chosen]]
        lengths = [len(word) for word in words]
        return cls(np.concatenate([points[:0], *words]), np.cumsum([0, *lengths]), counts[chosen])

    def correct(self, points: Array, starts: Array) -> tuple[Array, Array]:
        """Code points of texts and where each starts (N + 1,), as they were probably meant."""
        corrected: tuple[Array, Array] = spelling_kernels.correct(points, starts, self._known, self._unknown_cost)
        return corrected

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
