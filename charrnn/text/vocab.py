"""Vocabularies: text to ids and back, for characters, bytes and subwords alike.

A vocabulary is a `tokenizers` model, saved as a `tokenizer.json` that the `tokenizers` library loads by itself.

- `char`: a BPE model without merges: one entry a character, and 256 byte entries `<0x00>` … `<0xFF>` that spell
  every other character in UTF-8 (byte fallback). So every string has ids, and decoding gives it back.
- `byte`: the same with no characters at all.
- `subword`: byte-level BPE trained on the text.

Entries that the training text contains come first (`seen_size` of them), so that a network can leave the rest out
of its softmax and its embedding. A `tokenizer.json` has no place for that number: it is kept in `config.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer

Kind = Literal["char", "byte", "subword"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFAULT_VOCAB_SIZE: dict[Kind, int] = {"char": 4096, "byte": 256, "subword": 2048}
NUM_BYTES = 256
CODE_POINTS = 0x110000

WHITE_SPACE = " \t\n\v\f\r"  # `str.isspace` also counts U+001C to U+001F, which byte-level BPE does not
BLOCK_CHARS = 1 << 15  # the arrays of one block of text stay in the processor's cache

Ids = npt.NDArray[np.unsignedinteger]


class Vocab:
    """Text ↔ ids.

    `tokens[i]` is entry i as the `tokenizers` library writes it, `pieces[i]` what it stands for, in UTF-8 bytes.
    `seen_size` is the number of entries, from id 0 on, that the training text contains.
    """

    def __init__(self, definition: str, seen_size: int) -> None:
        """Take the text of a `tokenizer.json`. Raises CharrnnError if it is not one of ours."""
        self.definition = definition
        self.seen_size = seen_size
        try:
            model = json.loads(definition)["model"]
            entries: dict[str, int] = model["vocab"]
            self.tokens = tokens = sorted(entries, key=entries.__getitem__)
            if [entries[token] for token in tokens] != list(range(len(tokens))):
                raise ValueError("ids are not 0, 1, 2, …")
            self.kind: Kind = "subword" if not model["byte_fallback"] else "char"
            to_bytes = _subword_bytes if self.kind == "subword" else _char_bytes
            self.pieces: list[bytes] = [to_bytes(token) for token in tokens]
            if self.kind == "char" and len(tokens) == NUM_BYTES:
                self.kind = "byte"
            spelling = map(_byte_token, range(NUM_BYTES)) if self.kind != "subword" else _BYTE_OF_LETTER
            if not entries.keys() >= set(spelling):
                raise ValueError(f"it lacks some of the {NUM_BYTES} byte entries")
            if not 0 < seen_size <= len(tokens):
                raise ValueError(f"{len(tokens)} entries, {seen_size} of them seen in training")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CharrnnError(f"not a charrnn vocabulary (tokenizer.json): {error}") from error
        # One value more than the ids, to mark characters that the table lacks.
        self.dtype = np.min_scalar_type(len(tokens))

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def num_known(self) -> int:
        """Entries that a network tells apart: those that training saw, and one for all others."""
        return self.seen_size + (len(self) > self.seen_size)

    @classmethod
    def load(cls, path: Path, seen_size: int) -> Vocab:
        """Read a `tokenizer.json`."""
        try:
            return cls(path.read_text(encoding="utf-8"), seen_size)
        except (OSError, UnicodeDecodeError, CharrnnError) as error:
            raise CharrnnError(f"{path}: {error}") from None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The same vocabulary as an object of the `tokenizers` library."""
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.definition)

    def encode(self, text: str) -> Ids:
        """Ids of `text`: (N,), of the smallest fitting unsigned type."""
        if self.kind == "subword":
            return np.array(self.tokenizer.encode(_without_surrogates(text)).ids, dtype=self.dtype)
        blocks = [text[i : i + BLOCK_CHARS] for i in range(0, len(text), BLOCK_CHARS)]
        return np.concatenate([np.empty(0, dtype=self.dtype), *map(self._encode_block, blocks)])

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of many short texts."""
        if self.kind != "subword":
            return list(map(self.encode, texts))
        encoded = self.tokenizer.encode_batch_fast(list(map(_without_surrogates, texts)))
        return [np.array(encoding.ids, dtype=self.dtype) for encoding in encoded]

    def encode_chunks(self, chunks: Iterable[str]) -> Iterator[Ids]:
        """Ids of a long text given in chunks; joined, they are the ids of the joined text.

        Subwords are cut only where a word ends and white space begins, which byte-level BPE never joins; a run of
        a million characters without white space is cut all the same, to bound memory.
        """
        if self.kind != "subword":
            yield from map(self.encode, chunks)
            return
        for pieces in _cut_at_words(chunks):
            for encoding in self.tokenizer.encode_batch_fast(pieces):
                yield np.array(encoding.ids, dtype=self.dtype)

    @cached_property
    def start_id(self) -> int:
        """What a text begins after, in scoring and writing alike: a line end."""
        return int(self.encode("\n")[-1])

    def decode(self, ids: Iterable[int] | Ids) -> str:
        """The text of `ids`. Bytes that are not UTF-8 become U+FFFD."""
        data = self.decode_bytes(ids)
        try:
            return data.decode("utf-8", errors="surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int] | Ids) -> bytes:
        """The UTF-8 bytes of `ids`: whole even where a character is not complete yet."""
        return b"".join(map(self.pieces.__getitem__, ids))

    @cached_property
    def merges(self) -> npt.NDArray[np.int64]:
        """Of each entry the two that it was merged from, (V, 2); −1 where it was not."""
        model = json.loads(self.definition)["model"]
        id_of = model["vocab"]
        merges = np.full((len(self), 2), -1, dtype=np.int64)
        for one, other in model["merges"]:
            merges[id_of[one + other]] = id_of[one], id_of[other]
        return merges

    @cached_property
    def _byte_ids(self) -> Ids:
        """Byte value → id (256,), of a char or byte vocabulary."""
        id_of = {token: i for i, token in enumerate(self.tokens)}
        return np.array([id_of[_byte_token(value)] for value in range(NUM_BYTES)], dtype=self.dtype)

    @cached_property
    def _table(self) -> Ids:
        """Code point → id; `len(self)` for a character that is spelled in bytes, and in the last slot."""
        characters = set(range(len(self))) - set(self._byte_ids.tolist())
        point_of = {i: ord(self.pieces[i].decode("utf-8")) for i in characters}
        table = np.full(max(point_of.values(), default=-1) + 2, len(self), dtype=self.dtype)
        table[list(point_of.values())] = list(point_of)
        return table

    def _encode_block(self, text: str) -> Ids:
        if self.kind == "byte":
            return self._byte_ids.take(np.frombuffer(text.encode("utf-8", errors="surrogatepass"), dtype=np.uint8))
        points = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
        # Clipping sends every character past the table to its last slot.
        ids = self._table.take(points, mode="clip")
        unknown = ids == len(self)
        if not unknown.any():
            return ids
        spelled = "".join(map(chr, points[unknown].tolist())).encode("utf-8", errors="surrogatepass")
        lengths = np.where(unknown, _utf8_lengths(points), 1)
        in_bytes = np.repeat(unknown, lengths)
        ids = np.repeat(ids, lengths)
        ids[in_bytes] = self._byte_ids[np.frombuffer(spelled, dtype=np.uint8)]
        return ids


def build_vocab(kind: Kind, chunks: Iterable[str], vocab_size: int | None = None) -> Vocab:
    """The vocabulary of a training text, read once in bounded memory.

    `vocab_size` bounds the number of entries, the 256 byte entries included. `char` keeps the most frequent
    characters within it (ties: the lower code point first).

    Raises UsageError where `vocab_size` leaves no room for the bytes.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown vocabulary {kind!r}: choose from {', '.join(KINDS)}")
    if kind == "byte" and vocab_size not in (None, NUM_BYTES):
        raise UsageError(f"a byte vocabulary has {NUM_BYTES} entries: leave --vocab-size out")
    vocab_size = DEFAULT_VOCAB_SIZE[kind] if vocab_size is None else vocab_size
    smallest = NUM_BYTES if kind == "byte" else NUM_BYTES + 1
    if vocab_size < smallest:
        raise UsageError(f"--vocab-size {vocab_size} is too small: {NUM_BYTES} of the entries are bytes")
    if kind == "subword":
        return _build_subword(chunks, vocab_size)
    return _build_char(chunks, vocab_size - NUM_BYTES)


def build_symbol_vocab(chunks: Iterable[str], vocab_size: int = 4096) -> Vocab:
    """The vocabulary of a text in symbols between single spaces, such as phonemes: each, with the space before it, is
    one entry, as far as `vocab_size` goes. It is a `subword` vocabulary that knows no other ends of words.
    """
    from tokenizers import Regex, pre_tokenizers

    symbols = pre_tokenizers.Split(Regex(r" ?[^ \n]+"), "isolated")
    in_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _build_subword(chunks, vocab_size, pre_tokenizers.Sequence([symbols, in_bytes]))


def char_vocab(characters: Sequence[str], seen_bytes: Sequence[int]) -> Vocab:
    """The vocabulary of these characters, then the bytes that training saw, then the other bytes."""
    unseen = sorted(set(range(NUM_BYTES)) - set(seen_bytes))
    tokens = [*characters, *map(_byte_token, [*seen_bytes, *unseen])]
    definition: dict[str, object] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [],
        },
    }
    return Vocab(json.dumps(definition, ensure_ascii=False, indent=1), len(characters) + len(seen_bytes))


def _build_char(chunks: Iterable[str], limit: int) -> Vocab:
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    for chunk in chunks:
        found = np.bincount(np.frombuffer(_without_surrogates(chunk).encode("utf-32-le"), dtype=np.uint32))
        counts[: len(found)] += found
    points = np.flatnonzero(counts)
    by_frequency = points[np.argsort(-counts[points], kind="stable")].tolist()
    byte_counts = np.zeros(NUM_BYTES, dtype=np.int64)
    for point in by_frequency[limit:]:
        for value in chr(point).encode("utf-8"):
            byte_counts[value] += counts[point]
    seen_bytes = [value for value in np.argsort(-byte_counts, kind="stable").tolist() if byte_counts[value]]
    return char_vocab([chr(point) for point in by_frequency[:limit]], seen_bytes)


def _build_subword(chunks: Iterable[str], vocab_size: int, pre_tokenizer: PreTokenizer | None = None) -> Vocab:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    byte_counts = np.zeros(NUM_BYTES, dtype=np.int64)

    def counted() -> Iterator[list[str]]:
        nonlocal byte_counts
        for pieces in _cut_at_words(chunks):
            for piece in pieces:
                data = np.frombuffer(piece.encode("utf-8"), dtype=np.uint8)
                byte_counts += np.bincount(data, minlength=NUM_BYTES)
            yield pieces

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(counted(), trainer=trainer)
    settings = json.loads(tokenizer.to_str())
    entries: dict[str, int] = settings["model"]["vocab"]

    def unseen(token: str) -> bool:
        # A merged entry stands for something the trainer counted; a lone byte may never occur.
        piece = _subword_bytes(token)
        return len(piece) == 1 and byte_counts[piece[0]] == 0

    order = sorted(entries, key=lambda token: (unseen(token), entries[token]))
    settings["model"]["vocab"] = {token: i for i, token in enumerate(order)}
    return Vocab(json.dumps(settings, ensure_ascii=False, indent=1), sum(not unseen(token) for token in order))


def _cut_at_words(chunks: Iterable[str], piece_chars: int = 1 << 15, run_chars: int = 1 << 20) -> Iterator[list[str]]:
    """Lists of pieces of about `piece_chars` characters, each beginning with white space after a non-space."""
    rest = ""
    for chunk in chunks:
        rest += _without_surrogates(chunk)
        pieces, start = [], 0
        while (cut := _word_end(rest, start + piece_chars)) is not None:
            pieces.append(rest[start:cut])
            start = cut
        rest = rest[start:]
        if len(rest) > run_chars:
            pieces.append(rest)
            rest = ""
        if pieces:
            yield pieces
    if rest:
        yield [rest]


def _word_end(text: str, start: int) -> int | None:
    """The first position from `start` on where white space follows a non-space."""
    for i in range(max(start, 1), len(text)):
        if text[i] in WHITE_SPACE and not text[i - 1].isspace():
            return i
    return None


def _utf8_lengths(points: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    return 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)


def _byte_token(value: int) -> str:
    return f"<0x{value:02X}>"


def _char_bytes(token: str) -> bytes:
    if len(token) == 1:
        return token.encode("utf-8")
    if len(token) == 6 and token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    raise ValueError(f"entry {token!r} is neither a character nor a byte")


def _subword_bytes(token: str) -> bytes:
    return bytes(_BYTE_OF_LETTER[letter] for letter in token)


def _byte_letters() -> dict[str, int]:
    """Byte-level BPE writes each byte as one printable letter: itself if printable, else from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [value for value in range(NUM_BYTES) if value not in printable]
    letters = {chr(value): value for value in printable}
    return letters | {chr(0x100 + i): value for i, value in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()


def _without_surrogates(text: str) -> str:
    """Lone surrogates are no Unicode text, and the `tokenizers` library takes none: U+FFFD in their place."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text) if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in set(text))
