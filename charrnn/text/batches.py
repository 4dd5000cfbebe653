"""Texts of many lengths read side by side: batches of like length, padded at their ends.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from charrnn.text.vocab import Ids

POOL_BATCHES = 50  # batches whose texts are sorted by length together


def by_length(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """The indices of all texts in batches, the longest first, each of at most `max_tokens` ids with their padding.

    A text longer than that is a batch of its own.
    """
    waiting = sorted(range(len(lengths)), key=lengths.__getitem__)
    while waiting:
        # The longest left decides how many fit side by side.
        count = max(max_tokens // max(lengths[waiting[-1]], 1), 1)
        batch, waiting = waiting[-count:], waiting[:-count]
        yield batch


def pad(sequences: Sequence[Ids]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids (T, B) of sequences padded with zeros at their ends, T the longest, and their lengths (B,)."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    ids = np.zeros((max(lengths, default=0), len(sequences)), dtype=np.int64)
    for lane, sequence in enumerate(sequences):
        ids[: len(sequence), lane] = sequence
    return ids, lengths


class ShuffledBatches:
    """Batches of texts for training, for ever: every text once in a pass, in a new order each time.

    Texts in a batch are of like length, so that little is padding, at most `batch_size` of them, with at most
    `max_tokens` ids. An order is drawn from seed and pass alone, so that two numbers are the whole position.
    """

    def __init__(
        self,
        lengths: Callable[[np.random.Generator], npt.NDArray[np.int64]],
        batch_size: int,
        max_tokens: int,
        seed: int,
    ) -> None:
        """`lengths` is asked at the beginning of each pass how long the texts (N,) are in it, which it may draw."""
        self.lengths = lengths
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.seed = seed
        self._pass, self._next = 0, 0
        self._batches = self._shuffled()

    @property
    def position(self) -> tuple[int, int]:
        """Passes made, and batches of this one."""
        return self._pass, self._next

    @position.setter
    def position(self, position: tuple[int, int]) -> None:
        if position[0] != self._pass:
            self._pass = position[0]
            self._batches = self._shuffled()
        self._next = position[1]

    def next_batch(self) -> npt.NDArray[np.int64]:
        """The indices of the next texts."""
        if self._next == len(self._batches):
            self.position = (self._pass + 1, 0)
        batch = self._batches[self._next]
        self._next += 1
        return batch

    def __len__(self) -> int:
        """Batches in this pass."""
        return len(self._batches)

    def _shuffled(self) -> list[npt.NDArray[np.int64]]:
        draw = np.random.default_rng((self.seed, self._pass))
        lengths = self.lengths(draw)
        order = draw.permutation(len(lengths))
        batches = []
        for start in range(0, len(order), POOL_BATCHES * self.batch_size):
            pool = order[start : start + POOL_BATCHES * self.batch_size]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            while len(pool):
                # The longest left decides how many fit side by side.
                count = max(min(self.batch_size, self.max_tokens // max(int(lengths[pool[-1]]), 1)), 1)
                batches.append(pool[-count:])
                pool = pool[:-count]
        return [batches[i] for i in draw.permutation(len(batches))]
