"""Text to memory-mapped ids: splits, encoding in bounded memory, and a cache that cannot go stale.

The cache is keyed by the text itself and by everything that decides its ids, so it is never wrong; deleting it
costs time only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass

import numpy as np

from charrnn.errors import CharrnnError, UsageError
from charrnn.storage import atomic_path, atomic_write, cache_dir
from charrnn.text.reading import Text
from charrnn.text.vocab import Ids, Kind, Vocab, build_vocab


@dataclass(frozen=True)
class TextConfig:
    """How text becomes ids."""

    vocab: Kind | None = None  # None: char, or that of the model to start from
    vocab_size: int | None = None  # None: the vocabulary's own default
    val_fraction: float = 0.1  # the last part of the text, unless a validation text is given

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"val_fraction must lie between 0 and 1, not {self.val_fraction}")


@dataclass(frozen=True)
class Split:
    """A contiguous part of a text."""

    text: Text
    sha256: str  # of the whole text, in UTF-8
    start: int  # characters
    stop: int

    @property
    def num_chars(self) -> int:
        return self.stop - self.start

    def key(self, *settings: object) -> str:
        """A name for what these characters and settings give."""
        return hashlib.sha256(repr((self.sha256, self.start, self.stop, *settings)).encode()).hexdigest()[:32]


def split_text(text: Text, val_text: Text | None, val_fraction: float, min_chars: int) -> tuple[Split, Split]:
    """Training and validation splits: the first and last part of `text` by position, or `text` and `val_text`.

    Raises UsageError if training would get fewer than `min_chars` characters, or validation none.
    """
    length, sha256 = text.measure()
    if val_text is None:
        cut = int(length * (1 - val_fraction))
        train, val = Split(text, sha256, 0, cut), Split(text, sha256, cut, length)
        near = max(int(min_chars / (1 - val_fraction)) - 1, min_chars)
        needed = next(n for n in itertools.count(near) if int(n * (1 - val_fraction)) >= min_chars)
    else:
        val_length, val_sha256 = val_text.measure()
        train, val = Split(text, sha256, 0, length), Split(val_text, val_sha256, 0, val_length)
        needed = min_chars
    if train.num_chars < min_chars:
        raise UsageError(f"the text is too short: {length:,} characters, and training needs at least {needed:,}")
    if val.num_chars == 0:
        raise UsageError("the validation text is empty")
    return train, val


def make_vocab(train: Split, config: TextConfig) -> Vocab:
    """The vocabulary of a training split, from the cache if it was made before.

    Raises CharrnnError if the text has changed since it was measured.
    """
    kind = config.vocab or "char"
    entry = cache_dir("vocabularies") / f"{train.key(kind, config.vocab_size)}.json"
    if entry.exists():
        cached = json.loads(entry.read_text(encoding="utf-8"))
        return Vocab(cached["definition"], cached["seen_size"])
    require_unchanged(train)
    vocab = build_vocab(kind, train.text.slice(train.start, train.stop), config.vocab_size)
    atomic_write(entry, json.dumps({"definition": vocab.definition, "seen_size": vocab.seen_size}))
    return vocab


def encode_split(split: Split, vocab: Vocab) -> Ids:
    """The split's ids (N,), memory-mapped, of the smallest unsigned type that holds them.

    Entries that training never saw are alike to a network: each is stored as `seen_size`.
    Raises CharrnnError if the text has changed since it was measured.
    """
    dtype = np.min_scalar_type(vocab.seen_size)
    key = split.key(vocab.definition, vocab.seen_size)
    entry = cache_dir("ids") / f"{key}.{dtype.name}"
    if not entry.exists():
        require_unchanged(split)
        with atomic_path(entry) as temporary, temporary.open("wb") as file:
            for ids in vocab.encode_chunks(split.text.slice(split.start, split.stop)):
                np.minimum(ids, vocab.seen_size).astype(dtype).tofile(file)
    return np.memmap(entry, dtype=dtype, mode="r")


def require_unchanged(split: Split) -> None:
    """Raise CharrnnError if a split's text is no longer what it was when it was measured."""
    if split.text.measure()[1] != split.sha256:
        raise CharrnnError("the text has changed since it was first read: start a new run")
