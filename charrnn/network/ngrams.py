"""Embeddings of the n-grams in which an entry stands: the frequent ones of a text have one each.

So the first layer knows from a table what otherwise several layers must learn to put together: what mostly follows
`tio`, or that a `c` before an `h` is another sound (hashed n-gram embeddings in Pagnoni et al. 2024, arXiv 2412.09871;
here each has its own row). Each length of n-gram has a part of the width to itself.

An n-gram's code are its entries, each plus 1, as the digits of a number to the base V + 2: nothing is hashed, and two
n-grams never have one code. V stands for what is before a text and after it. Lengths whose codes would not fit into 63
bits are left out.

Shapes: T time, B lanes, K lengths, R n-grams, D width, V entries of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charrnn.network.config import NGRAM_LENGTHS, NGRAM_REACH, ngrams_fit

Codes = npt.NDArray[np.int64]
NO_CODE = torch.iinfo(torch.long).max


class NGrams(nn.Module):
    """A table of n-grams of some lengths."""

    lengths: ClassVar[tuple[int, ...]]
    least_count: ClassVar[int]  # in the training text
    codes: Tensor  # (R,), in order

    def __init__(self, number: int, width: int, num_entries: int) -> None:
        super().__init__()
        self.width = width
        self.num_entries = num_entries
        self.dropout = 0.0  # share of n-grams that are hidden while training
        self.embedding = nn.Embedding(1 + number, width // len(self.lengths), padding_idx=0)  # first: not in the table
        nn.init.zeros_(self.embedding.weight)
        self.register_buffer("codes", torch.full((number,), NO_CODE))

    def embed(self, codes: Tensor) -> Tensor:
        """Codes (K, T, B) to the embeddings of those in the table (T, B, D), zero for others."""
        places = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        rows = (places + 1) * (self.codes[places] == codes)
        if self.training and self.dropout:
            rows = rows * (torch.rand(rows.shape, device=rows.device) >= self.dropout)
        parts: Tensor = self.embedding(rows).permute(1, 2, 0, 3).flatten(2)
        return F.pad(parts, (0, self.width - parts.shape[-1]))

    def _windows(self, wide: Tensor, length: int) -> Tensor:
        """Codes of each `length` entries in a row: wide (S, B) → (S − length + 1, B)."""
        if not ngrams_fit(length, self.num_entries):
            return torch.full_like(wide[length - 1 :], -1)
        codes: Tensor = code([wide[i : len(wide) - length + 1 + i] for i in range(length)], self.num_entries)
        return codes


class NGramsBefore(NGrams):
    """An entry with those before it: `embedded, state = ngrams(ids, state)`."""

    lengths = NGRAM_LENGTHS
    least_count = 4

    def initial_state(self, batch_size: int) -> tuple[Tensor]:
        """Nothing read yet: as the last entries (B, `NGRAM_REACH`)."""
        return (torch.full((batch_size, NGRAM_REACH), self.num_entries, device=self.codes.device),)

    def forward(self, ids: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor]]:
        """Ids (T, B) below V, and the last ones before them (B, `NGRAM_REACH`) → (T, B, D), and the last ones."""
        wide = torch.cat([state[0].T, ids])
        codes = [self._windows(wide[NGRAM_REACH + 1 - length :], length) for length in self.lengths]
        return self.embed(torch.stack(codes)), (wide[-NGRAM_REACH:].T.contiguous(),)

    @classmethod
    def frequent(cls, ids: npt.NDArray[Any], num_entries: int, most: int) -> Tensor:
        """Codes (R,), in order, of the n-grams that occur often in a text (N,), at most so many."""
        ids = np.minimum(ids.astype(np.int64), num_entries - 1)
        found = []
        for length in cls.lengths:
            if ngrams_fit(length, num_entries):
                columns = [ids[i : max(len(ids) - length + 1 + i, i)] for i in range(length)]
                found.append(code(columns, num_entries))
        return _most_frequent(found, cls.least_count, most)


class NGramsAround(NGrams):
    """An entry with the one before it, and with one and with two on either side: `ngrams(ids, lengths)`."""

    lengths = (2, 3, 5)
    least_count = 10

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids (T, B) below V, padded at the end, and lengths (B,) → (T, B, D)."""
        there = torch.arange(len(ids), device=ids.device)[:, None] < lengths
        ids = ids.masked_fill(~there, self.num_entries)
        codes = []
        for length in self.lengths:
            before, after = self._sides(length)
            codes.append(self._windows(F.pad(ids, (0, 0, before, after), value=self.num_entries), length))
        return self.embed(torch.stack(codes))

    @classmethod
    def frequent(cls, texts: Sequence[npt.NDArray[Any]], num_entries: int, most: int) -> Tensor:
        """Codes (R,), in order, of the n-grams that occur often in these texts, at most so many."""
        edge = np.full(max(cls.lengths) // 2, num_entries)
        known = (np.minimum(text.astype(np.int64), num_entries - 1) for text in texts)
        ids = np.concatenate([edge, *(part for text in known for part in (text, edge))])
        found = []
        for length in cls.lengths:
            if ngrams_fit(length, num_entries):
                before, after = cls._sides(length)
                codes = code([ids[i : len(ids) - length + 1 + i] for i in range(length)], num_entries)
                found.append(codes[ids[before : len(ids) - after] != num_entries])
        return _most_frequent(found, cls.least_count, most)

    @staticmethod
    def _sides(length: int) -> tuple[int, int]:
        """How many entries before and after the one they are for."""
        return length // 2, (length - 1) // 2


def code(columns: Sequence[Any], num_entries: int) -> Any:
    """The code of entries, the earliest first: arrays or tensors of one shape → the same."""
    total = columns[0] + 1
    for column in columns[1:]:
        total = total * (num_entries + 2) + column + 1
    return total


def entries_of(codes: Codes, num_entries: int) -> npt.NDArray[np.int64]:
    """The entries of n-grams, the earliest first: codes (R,) → (R, longest), −1 before the first of shorter ones."""
    digits = []
    for _ in range(max(NGRAM_LENGTHS)):
        codes, digit = np.divmod(codes, num_entries + 2)
        digits.append(digit)
    return np.stack(digits[::-1], axis=1) - 1


def _most_frequent(found: Sequence[Codes], least: int, most: int) -> Tensor:
    counted = [np.unique(codes, return_counts=True) for codes in found]
    codes, counts = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    order = np.argsort(-counts, kind="stable")[:most]
    return torch.from_numpy(np.sort(codes[order[counts[order] >= least]]))
