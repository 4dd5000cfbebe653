"""Embeddings of what stands around an entry: frequent n-grams of the source, each with an embedding of its own.

So the first layer knows from a table what otherwise several layers must learn to put together: that a `c` before an
`h` is another sound (hashed n-gram embeddings in Pagnoni et al. 2024, arXiv 2412.09871; here each has its own row).

Shapes: S time, B sources, R n-grams, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charrnn.text.vocab import Ids

LENGTHS = (2, 3, 5)  # of n-grams: an entry with the one before it, and with one and with two on either side
LEAST_COUNT = 10  # in the training sources
OUTSIDE = -1  # what stands before a source and after it
MULTIPLIER = 0x5851F42D4C957F2D


class NGrams(nn.Module):
    """`ngrams(ids, lengths)`: for each entry, the sum of the embeddings of the n-grams around it."""

    codes: Tensor  # (R,), in order

    def __init__(self, number: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1 + number, width, padding_idx=0)  # the first is of those not in the table
        nn.init.zeros_(self.embedding.weight)
        self.register_buffer("codes", torch.zeros(number, dtype=torch.long))

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids (S, B) padded at the end and lengths (B,) → (S, B, D)."""
        there = torch.arange(len(ids), device=ids.device)[:, None] < lengths
        ids = ids.masked_fill(~there, OUTSIDE)
        rows = []
        for length in LENGTHS:
            codes = windows(F.pad(ids, (0, 0, length // 2, (length - 1) // 2), value=OUTSIDE), length)
            places = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
            rows.append((places + 1) * (self.codes[places] == codes))
        embedded: Tensor = self.embedding(torch.stack(rows))
        return embedded.sum(0)


def frequent(sources: Sequence[Ids], most: int) -> Tensor:
    """Codes (R,), in order, of the n-grams that occur often in these sources, at most so many."""
    reach = max(LENGTHS) // 2
    edge = np.full(reach, OUTSIDE, dtype=np.int64)
    ids = torch.from_numpy(np.concatenate([edge, *(part for source in sources for part in (source, edge))]))
    inside = ids != OUTSIDE
    found = []
    for length in LENGTHS:
        codes = windows(ids, length)[inside[length // 2 : len(ids) - (length - 1) // 2]]
        found.append(torch.unique(codes, return_counts=True))
    codes, counts = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = counts.argsort(descending=True, stable=True)[:most]
    return codes[order[counts[order] >= LEAST_COUNT]].sort()[0]


def windows(ids: Tensor, length: int) -> Tensor:
    """A code, equal for equal entries, of each `length` entries in a row: ids (S, …) → (S − length + 1, …)."""
    code = torch.full_like(ids[length - 1 :], length)
    for i in range(length):
        code = code * MULTIPLIER + ids[i : len(ids) - length + 1 + i]
        code = code ^ (code >> 29)
    return code
