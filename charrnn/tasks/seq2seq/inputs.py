"""Texts to what the network reads, and back: vocabularies of source and target, ids in padded batches.

A text stands between two line ends: the decoder begins after one, and ends a target with one.

Shapes: S source time, T target time, B batch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.network.device import to_device
from charrnn.tasks.seq2seq.data import Pair, fold
from charrnn.text.batches import pad
from charrnn.text.vocab import Ids, Vocab, build_symbol_vocab, build_vocab

TextKind = Literal["char", "subword", "symbol"]
SHORT_CHARS = 32  # of a text on average, up to which it is read as characters
MOST_SYMBOLS = 256  # kinds of words, up to which a text is taken for a row of symbols
SYMBOL_USES = 20  # of each on average, from which on
COMMON_LETTERS = 0.5  # share of the target's characters that the source has too, from which on they share a vocabulary
LONGEST_PIECE = 64  # characters of one entry, at most, where a long text is cut before it is encoded
END_SHARE = 1 / 3  # of what is left of a long text, that is its end: there a text often says what is special about it


@dataclass(frozen=True)
class VocabConfig:
    """What source and target are made of."""

    source_vocab: TextKind | None = None  # None, here and below: what suits the texts
    target_vocab: TextKind | None = None
    shared: bool | None = None  # one vocabulary for both
    vocab_size: int = 5000  # most entries of a vocabulary of subwords

    def __post_init__(self) -> None:
        for name in ("source_vocab", "target_vocab"):
            if getattr(self, name) not in (None, *get_args(TextKind)):
                raise UsageError(f"unknown {name} {getattr(self, name)!r}: choose from {', '.join(get_args(TextKind))}")


@dataclass(frozen=True)
class Texts:
    """What one side is made of: characters, subwords, or symbols between spaces."""

    kind: TextKind
    vocab: Vocab

    def encode(self, texts: Sequence[str], enough: int | None = None) -> list[Ids]:
        """The ids of each text between two line ends; of a very long one those of its beginning and end, more than
        `enough` on either side."""
        space = "" if self.kind == "char" else " "  # so that a first word is as it is elsewhere
        texts = [fold(text) for text in texts]
        if enough is not None:
            chars = (enough + 1) * LONGEST_PIECE
            texts = [text if len(text) <= 2 * chars else text[:chars] + text[-chars:] for text in texts]
        end = np.array([self.vocab.start_id], dtype=self.vocab.dtype)
        bodies = self.vocab.encode_batch([space + text for text in texts])
        return [np.concatenate([end, body, end]) for body in bodies]

    def encode_shortened(self, texts: Sequence[str], most: int) -> list[Ids]:
        """The ids of each text between two line ends, of long ones the beginning and the end, `most` in all."""
        return [shortened(ids, most) for ids in self.encode(texts, most)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids without line ends."""
        return fold(self.vocab.decode(ids))

    def entries(self, ids: Ids) -> tuple[str, ...]:
        """What each id stands for."""
        return tuple(self.vocab.decode([i]) for i in ids.tolist())


@dataclass(frozen=True)
class Sides:
    """Source and target. A shared vocabulary is the same object."""

    source: Texts
    target: Texts

    @property
    def shared(self) -> bool:
        """Whether ids mean the same on both sides."""
        return self.source.vocab is self.target.vocab

    @classmethod
    def suited(cls, pairs: Sequence[Pair], config: VocabConfig) -> Sides:
        """Vocabularies made from training pairs."""
        texts = [[pair.source for pair in pairs], [pair.target for pair in pairs]]
        short = all(sum(map(len, side)) <= SHORT_CHARS * len(side) for side in texts)
        asked = (config.source_vocab, config.target_vocab)
        kinds = [kind or _suited_kind(side, short) for kind, side in zip(asked, texts, strict=True)]
        alike = kinds[0] == kinds[1] and "symbol" not in kinds
        if config.shared and kinds[0] != kinds[1]:
            raise UsageError(f"a {kinds[0]} source and a {kinds[1]} target cannot share a vocabulary: leave shared out")
        shared = config.shared if config.shared is not None else alike and _common_letters(*texts)
        if shared:
            both = Texts(kinds[0], _build(kinds[0], chain(*texts), config.vocab_size))
            return cls(both, both)
        source, target = (
            Texts(kind, _build(kind, side, config.vocab_size)) for kind, side in zip(kinds, texts, strict=True)
        )
        return cls(source, target)


@dataclass(frozen=True)
class Encoded:
    """Pairs as ids, each text between two line ends."""

    sources: list[Ids]
    targets: list[Ids]

    @classmethod
    def of(cls, pairs: Sequence[Pair], sides: Sides, max_source: int, max_target: int) -> Encoded:
        """The ids of all pairs, of long sources the beginning and the end, of long targets the beginning."""
        sources = sides.source.encode_shortened([pair.source for pair in pairs], max_source)
        targets = sides.target.encode([pair.target for pair in pairs])
        # One line end more: the first is given. A target that is cut has no end, so that none is learned there.
        return cls(sources, [target[: max_target + 1] for target in targets])

    def lengths(self) -> list[int]:
        """Of each pair, ids on both sides together."""
        return [len(source) + len(target) for source, target in zip(self.sources, self.targets, strict=True)]

    def millions(self) -> float:
        """All these ids, in millions: what a budget has to suffice for."""
        return sum(self.lengths()) / 1e6


@dataclass(frozen=True)
class Batch:
    """Pairs side by side, padded at their ends."""

    source: Tensor  # (S, B)
    source_lengths: Tensor  # (B,)
    inputs: Tensor  # (T, B), what the decoder reads
    targets: Tensor  # (T, B), what comes after each
    counted: Tensor  # (T, B), false in the padding

    @classmethod
    def of(cls, encoded: Encoded, indices: Sequence[int], device: torch.device) -> Batch:
        """The pairs of these indices."""
        source, lengths = padded([encoded.sources[i] for i in indices], device)
        target, target_lengths = padded([encoded.targets[i] for i in indices], device)
        counted = torch.arange(len(target) - 1, device=device)[:, None] < target_lengths - 1
        return cls(source, lengths, target[:-1], target[1:], counted)


def padded(sequences: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (S, B) padded at the end and lengths (B,)."""
    ids, lengths = map(torch.from_numpy, pad(sequences))
    return to_device(ids, device), to_device(lengths, device)


def shortened(ids: Ids, most: int) -> Ids:
    """The beginning and the end of a text, so many ids in all, if it has more."""
    if len(ids) <= most:
        return ids
    end = math.ceil(END_SHARE * most)
    return np.concatenate([ids[: most - end], ids[len(ids) - end :]])


def _suited_kind(texts: Sequence[str], short: bool) -> TextKind:
    counts = Counter(word for text in texts for word in text.split(" "))
    total = counts.total()
    if total >= 2 * len(texts) and len(counts) <= min(MOST_SYMBOLS, total / SYMBOL_USES):
        return "symbol"
    return "char" if short else "subword"


def _common_letters(sources: Sequence[str], targets: Sequence[str]) -> bool:
    known = set().union(*map(set, sources))
    counts = Counter("".join(targets).replace(" ", ""))
    return sum(counts[letter] for letter in known) >= COMMON_LETTERS * counts.total()


def _build(kind: TextKind, texts: Iterable[str], vocab_size: int) -> Vocab:
    if kind == "char":
        return build_vocab("char", chain(*((text, "\n") for text in texts)))
    lines = (f" {text}\n" for text in texts)
    return build_symbol_vocab(lines) if kind == "symbol" else build_vocab("subword", lines, vocab_size)
