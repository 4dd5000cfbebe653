"""What each entry of a source is likely to become, learned from pairs in seconds, before the network is trained.

Expectation maximization for word translation probabilities: model 1 of Brown et al. 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.text.vocab import Ids

ROUNDS = 5  # of expectation maximization
MOST_CELLS = 12_000_000  # entries of a source times entries of its target, over all pairs that are learned from


@dataclass(frozen=True)
class Lexicon:
    """For each entry of the source vocabulary (V), its K likeliest entries of the target, the likeliest first."""

    ids: npt.NDArray[np.int64]  # (V, K)
    probabilities: npt.NDArray[np.float32]  # (V, K); zero where fewer than K were seen

    @classmethod
    def learn(cls, sources: Sequence[Ids], targets: Sequence[Ids], source_size: int, size: int) -> Lexicon:
        """That of aligned ids, each between two line ends; `size` is K.

        The line ends of a source explain what has no counterpart in it. Of very many pairs, an even choice is read.
        """
        cells = sum(len(source) * len(target) for source, target in zip(sources, targets, strict=True))
        stride = -(-cells // MOST_CELLS)
        rows, pairs = [], []  # of each cell: the place in all targets, and its two ids as one number
        num_places = 0
        target_size = 1 + max(int(target.max()) for target in targets)
        for source, target in zip(sources[::stride], targets[::stride], strict=True):
            xs, ys = np.unique(source).astype(np.int64), target[1:].astype(np.int64)
            rows.append(np.repeat(np.arange(num_places, num_places + len(ys)), len(xs)))
            pairs.append(np.tile(xs * target_size, len(ys)) + np.repeat(ys, len(xs)))
            num_places += len(ys)
        row_of = np.concatenate(rows)
        kinds, kind_of = np.unique(np.concatenate(pairs), return_inverse=True)
        x_of, y_of = np.divmod(kinds, target_size)
        p = np.ones(len(kinds))
        for _ in range(ROUNDS):
            shares = p[kind_of]
            shares /= np.bincount(row_of, shares)[row_of]
            counts = np.bincount(kind_of, shares)
            p = counts / np.bincount(x_of, counts)[x_of]
        order = np.lexsort((-p, x_of))
        ranks = np.arange(len(order)) - np.searchsorted(x_of[order], x_of[order])
        best, ranks = order[ranks < size], ranks[ranks < size]
        ids = np.zeros((source_size, size), dtype=np.int64)
        probabilities = np.zeros((source_size, size), dtype=np.float32)
        ids[x_of[best], ranks] = y_of[best]
        probabilities[x_of[best], ranks] = p[best]
        return cls(ids, probabilities)
