"""An n-gram model of sequences of ids: how likely each entry is after those before it.

Kneser-Ney smoothing, modified and interpolated (Chen and Goodman 1999): an n-gram gives a discount, which depends on
how often it was seen, to the n-gram one shorter; shorter ones count in how many surroundings they were seen.

Shapes: N entries of all sequences, R n-grams of all lengths, G of one length, X their contexts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.text import ngram_kernels as kernels

START, END = 0, 1  # every sequence begins after the one and ends with the other; its own entries are from 2 on
LEAST_DISCOUNT = 0.05  # so that something is left for what was never seen

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class NGramModel:
    """What is known of each n-gram, and of entries that were never seen."""

    keys: Keys  # (R,)
    log_p: npt.NDArray[np.float32]  # (R,), of its last entry after the others
    log_backoff: npt.NDArray[np.float32]  # (R,), of what it leaves to shorter ones for what was never seen after it
    log_unknown: float  # of each entry that was never seen at all
    order: int  # entries of an n-gram, at most

    @classmethod
    def learn(cls, sequences: Sequence[npt.NDArray[Any]], num_entries: int, order: int) -> NGramModel:
        """That of sequences of ids in [2, `num_entries`), of which some may never occur."""
        ids = np.concatenate([part for each in sequences for part in ([START], each, [END])]).astype(np.uint64)
        starts = np.flatnonzero(ids == START)
        places = np.arange(len(ids)) - np.repeat(starts, np.diff(starts, append=len(ids)))
        lengths = _grams(ids, places, order)
        for shorter, longer in pairwise(lengths):
            seen_after = np.bincount(np.searchsorted(shorter.keys, longer.rests), minlength=len(shorter.keys))
            shorter.counts = np.where(seen_after > 0, seen_after, shorter.counts)  # what begins has no surroundings
        lengths[0].counts[np.searchsorted(lengths[0].keys, START + 1)] = 0  # nothing becomes the start
        log_unknown = math.log(lengths[0].left()[1].item() / (num_entries - 1))
        p = lengths[0].interpolated(np.full(len(lengths[0].keys), 1 / (num_entries - 1)))
        rows = []
        for shorter, longer in pairwise(lengths):
            contexts, left = longer.left()
            backoff = np.ones(len(shorter.keys))
            backoff[np.searchsorted(shorter.keys, contexts)] = left
            rows.append((shorter.keys, p, backoff))
            p = longer.interpolated(p[np.searchsorted(shorter.keys, longer.rests)])
        rows.append((lengths[-1].keys, p, np.ones(len(p))))
        keys, p, backoff = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return cls(keys, np.log(p).astype(np.float32), np.log(backoff).astype(np.float32), log_unknown, order)

    @cached_property
    def table(self) -> tuple[Any, Any, Any]:
        """The n-grams as kernels look them up."""
        slots = 1 << (2 * len(self.keys)).bit_length()
        return tuple(kernels.make_table(self.keys, self.log_p, self.log_backoff, slots))

    def log_probability(self, history: Sequence[int], entry: int) -> float:
        """Of an entry after others, the latest last. What is further back than `order` − 1 does not count."""
        kept = np.array(history[max(len(history) - self.order + 1, 0) :], dtype=np.int64)
        return float(kernels.log_probability(self.table, self.log_unknown, kept, entry))

    def log_likelihoods(self, ids: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> Floats:
        """Of whole sequences (N,), from `START` to `END`: sequence i is ids[starts[i] : starts[i + 1]]."""
        found: Floats = kernels.log_likelihoods(self.table, self.log_unknown, self.order, ids, starts)
        return found


@dataclass
class _Grams:
    """The n-grams of one length, in order of their keys."""

    keys: Keys  # (G,)
    counts: Counts  # (G,), how often seen, or in how many surroundings
    contexts: Keys  # (G,), keys without the latest entry
    rests: Keys  # (G,), keys without the earliest

    def left(self) -> tuple[Keys, Floats]:
        """Contexts (X,), and the share of each that is left for shorter n-grams (X,)."""
        contexts, context_of = np.unique(self.contexts, return_inverse=True)
        return contexts, np.bincount(context_of, self._discounts()) / np.bincount(context_of, self.counts)

    def interpolated(self, lower: Floats) -> Floats:
        """Probabilities (G,) of their latest entries, where `lower` (G,) are those after one entry less."""
        contexts, left = self.left()
        context_of = np.searchsorted(contexts, self.contexts)
        total = np.bincount(context_of, self.counts)
        p: Floats = (self.counts - self._discounts()) / total[context_of] + left[context_of] * lower
        return p

    def _discounts(self) -> Floats:
        """What each gives away, (G,)."""
        seen = np.bincount(np.minimum(self.counts, 5), minlength=5)[1:5] + 1e-9  # how many were seen 1 to 4 times
        share = seen[0] / (seen[0] + 2 * seen[1])
        times = np.arange(1, 4)
        discounts = np.clip(times - (times + 1) * share * seen[1:] / seen[:-1], LEAST_DISCOUNT, times)
        given: Floats = np.concatenate([[0.0], discounts])[np.minimum(self.counts, 3)]
        return given


def _grams(ids: Keys, places: Counts, order: int) -> list[_Grams]:
    """The n-grams of each length, shortest first: ids (N,), and the place of each in its sequence (N,)."""
    found = []
    keys = np.zeros(len(ids) + 1, dtype=np.uint64)  # of the n-gram that ends at each place; last: what is before all
    digit = np.uint64(1)
    for length in range(1, order + 1):
        ends = np.flatnonzero(places >= length - 1)
        longer = (ids[ends - length + 1] + np.uint64(1)) * digit + keys[ends]
        unique, first, counts = np.unique(longer, return_index=True, return_counts=True)
        found.append(_Grams(unique, counts, keys[ends[first] - 1], keys[ends[first]]))
        keys = np.zeros_like(keys)
        keys[ends] = longer
        with np.errstate(over="ignore"):
            digit = digit * np.uint64(kernels.BASE)
    return found
