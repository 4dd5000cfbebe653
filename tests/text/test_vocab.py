"""Vocabularies: text and ids are one to one, and the `tokenizers` library agrees."""

import functools
import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from charrnn.errors import CharrnnError, UsageError
from charrnn.text import vocab as module
from charrnn.text.vocab import KINDS, Kind, Vocab, build_vocab

laws = settings(derandomize=True, max_examples=60)
every_kind = pytest.mark.parametrize("kind", KINDS)

SAMPLES = [
    "Once upon a time, the cat's hat.\n\n",
    "\ttab\r\nand\rCR \x00\x1c!\x1f?\x85",
    "<0x41><0x0A>",
    "👩‍👩‍👧 🇫🇷 e\u0301 𝔘\U0010ffff",
    "Ελληνικά кириллица 日本語　中文 हिन्दी العربية",
    "\ufeff\u200b\u2028\u00a0\ufffd",
    "Ġword Ċ ▁ ##ing",
]
unicode_text = st.lists(st.one_of(st.sampled_from(SAMPLES), st.text())).map("".join)
any_text = st.lists(st.one_of(unicode_text, st.text(st.characters(categories=["Cs"]), max_size=3))).map("".join)
training_text = unicode_text.filter(len)
# What byte-level BPE may join, and where it may be cut, with merges of everything.
clingy_text = st.text(alphabet=" \n\r\t\x1c\x85\u00a0\u3000!?'sab1é日😀", min_size=1, max_size=60)


def build(kind: Kind, text: str, room: int | None = None) -> Vocab:
    """A vocabulary with `room` for entries other than bytes."""
    return build_vocab(kind, [text], None if room is None or kind == "byte" else 256 + room)


@every_kind
@laws
@given(trained_on=training_text, text=any_text, room=st.integers(1, 300))
def test_decoding_ids_gives_the_text_back(kind: Kind, trained_on: str, text: str, room: int) -> None:
    if kind == "subword":
        text = module._without_surrogates(text)
    vocab = build(kind, trained_on, room)
    assert vocab.decode(vocab.encode(text)) == text


def test_subwords_hold_a_replacement_character_for_half_a_surrogate_pair() -> None:
    vocab = build("subword", "a")
    assert vocab.decode(vocab.encode("a\ud800é\udfff")) == "a\ufffdé\ufffd"


@every_kind
@laws
@given(trained_on=training_text, text=unicode_text, room=st.integers(1, 300))
def test_ids_are_those_of_the_tokenizers_library(kind: Kind, trained_on: str, text: str, room: int) -> None:
    vocab = build(kind, trained_on, room)
    library = Tokenizer.from_str(vocab.definition)
    assert vocab.encode(text).tolist() == library.encode(text).ids
    assert library.decode(library.encode(text).ids) == text


@every_kind
def test_the_saved_file_is_the_same_vocabulary_here_and_in_the_library(kind: Kind, tmp_path: Path) -> None:
    text = "".join(SAMPLES)
    vocab = build(kind, text * 3, room=20)
    path = tmp_path / "tokenizer.json"
    path.write_text(vocab.definition, encoding="utf-8")
    loaded = Vocab.load(path, vocab.seen_size)
    other_text = text[::-1]
    ids = vocab.encode(other_text).tolist()
    assert loaded.encode(other_text).tolist() == ids == Tokenizer.from_file(str(path)).encode(other_text).ids
    assert (loaded.kind, loaded.seen_size, loaded.dtype) == (kind, vocab.seen_size, vocab.dtype)
    assert (loaded.tokens, loaded.pieces) == (vocab.tokens, vocab.pieces)
    assert loaded.decode(ids) == other_text


@every_kind
@laws
@given(text=clingy_text, cuts=st.lists(st.integers(0, 60)), piece_chars=st.integers(1, 8))
@example(text="a!\x1c" * 6, cuts=[4], piece_chars=1)
@example(text="a\r\n\r\nb  a" * 3, cuts=[2, 3, 4], piece_chars=1)
def test_ids_do_not_depend_on_how_a_text_is_cut_into_chunks(
    kind: Kind, text: str, cuts: list[int], piece_chars: int
) -> None:
    vocab = build(kind, text * 3)
    whole = vocab.encode(text).tolist()
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_cut_at_words", functools.partial(module._cut_at_words, piece_chars=piece_chars))
        patch.setattr(module, "BLOCK_CHARS", piece_chars)
        assert [int(i) for ids in vocab.encode_chunks(chunks) for i in ids] == whole
        assert vocab.encode(text).tolist() == whole


def test_subwords_of_a_long_text_are_encoded_in_bounded_pieces() -> None:
    text = "many words, " * 20_000
    vocab = build("subword", text[:1000])
    pieces = [len(ids) for ids in vocab.encode_chunks([text])]
    assert sum(pieces) == len(vocab.encode(text))
    assert max(pieces) < 1 << 15


@every_kind
@laws
@given(text=training_text, room=st.integers(1, 300), cut=st.integers(0, 50))
def test_entries_that_training_contains_come_first(kind: Kind, text: str, room: int, cut: int) -> None:
    vocab = build_vocab(kind, [text[:cut], text[cut:]], None if kind == "byte" else 256 + room)
    assert max(vocab.encode(text)) < vocab.seen_size


@pytest.mark.parametrize("room", [1, 2, 5, 1000])
def test_seen_entries_of_characters_are_only_those_that_occur(room: int) -> None:
    text = "".join(SAMPLES)
    vocab = build("char", text, room)
    assert set(vocab.encode(text).tolist()) == set(range(vocab.seen_size))


@pytest.mark.parametrize("kind", ["byte", "subword"])
@laws
@given(text=training_text)
def test_bytes_that_training_lacks_come_last(kind: Kind, text: str) -> None:
    vocab = build(kind, text)
    lacking = {bytes([value]) for value in range(256)} - {bytes([value]) for value in text.encode()}
    assert set(vocab.pieces[vocab.seen_size :]) == lacking


@laws
@given(text=training_text, room=st.integers(1, 30))
def test_a_limited_character_vocabulary_keeps_the_most_frequent(text: str, room: int) -> None:
    vocab = build("char", text, room)
    ranked = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))
    kept = [letter.encode() for letter, _ in ranked[:room]]
    assert vocab.pieces[: len(kept)] == kept
    assert len(vocab) == len(kept) + 256


@every_kind
@laws
@given(text=training_text, room=st.integers(1, 300))
def test_a_vocabulary_is_no_larger_than_asked(kind: Kind, text: str, room: int) -> None:
    assert 256 <= len(build(kind, text, room)) <= (256 if kind == "byte" else 256 + room)


def test_subwords_are_shorter_than_characters_on_the_text_they_were_made_from() -> None:
    text = "the cat and the hat and the mat " * 20
    assert len(build("subword", text).encode(text)) < len(text) / 3


@laws
@given(text=any_text)
def test_a_byte_vocabulary_spells_utf_8(text: str) -> None:
    vocab = build("byte", "some text")
    data = text.encode("utf-8", errors="surrogatepass")
    assert [vocab.pieces[i] for i in vocab.encode(text)] == [bytes([value]) for value in data]


@every_kind
def test_the_smallest_type_that_fits_holds_the_ids(kind: Kind) -> None:
    vocab = build(kind, "".join(SAMPLES))
    assert vocab.encode("some text").dtype == vocab.dtype == np.uint16
    assert next(vocab.encode_chunks(["some text"])).dtype == vocab.dtype


def test_a_very_large_vocabulary_takes_a_wider_type() -> None:
    letters = "".join(chr(point) for point in range(0x10000, 0x10000 + 0xFFFF - 256 + 1))
    narrow, wide = build("char", letters[1:], 100_000), build("char", letters, 100_000)
    assert [vocab.dtype.name for vocab in (narrow, wide)] == ["uint16", "uint32"]
    assert narrow.decode(narrow.encode(letters)) == wide.decode(wide.encode(letters)) == letters


@every_kind
def test_a_character_cut_short_decodes_to_a_replacement_character(kind: Kind) -> None:
    vocab = build(kind, "abc")
    ids = vocab.encode("a😀")
    assert vocab.decode(ids[:-1]) == "a\ufffd"
    assert vocab.decode_bytes(ids[:-1]) == "a😀".encode()[:-1]


@every_kind
@pytest.mark.parametrize("trained_on", ["no line end", "line\nends\n"])
def test_a_text_begins_after_a_line_end(kind: Kind, trained_on: str) -> None:
    vocab = build(kind, trained_on)
    assert vocab.decode([vocab.start_id]) == "\n"


@every_kind
def test_a_vocabulary_of_text_in_chunks_is_that_of_the_joined_text(kind: Kind) -> None:
    text = "".join(SAMPLES) * 2
    chunks = [text[i : i + 7] for i in range(0, len(text), 7)]
    assert build_vocab(kind, chunks).definition == build_vocab(kind, [text]).definition


@pytest.mark.parametrize(
    ("kind", "size"),
    [("word", None), ("", None), ("char", 256), ("char", 0), ("subword", 256), ("subword", -1), ("byte", 257)],
)
def test_a_vocabulary_that_cannot_be_is_refused(kind: Kind, size: int | None) -> None:
    with pytest.raises(UsageError, match="vocab") as caught:
        build_vocab(kind, ["text"], size)
    assert "\n" not in str(caught.value)


def with_entries(vocab: Vocab, tokens: list[str]) -> str:
    """The definition of `vocab`, but with these entries."""
    definition = json.loads(vocab.definition)
    definition["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    return json.dumps(definition)


def foreign() -> str:
    """A tokenizer of whole words."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(["a b c"], trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False))
    return str(tokenizer.to_str())


CHARS = build("char", "abc")
DAMAGED = {
    "empty": "",
    "cut short": CHARS.definition[:-100],
    "not an object": "[1, 2]",
    "no model": "{}",
    "no entries": json.dumps({"model": {"byte_fallback": True, "vocab": None}}),
    "entries in a list": json.dumps({"model": {"byte_fallback": True, "vocab": [["a", 0.5]]}}),
    "ids with a gap": CHARS.definition.replace('"a": 0', '"a": 1000'),
    "a byte missing": with_entries(CHARS, [token for token in CHARS.tokens if token != "<0xFF>"]),
    "characters for bytes": with_entries(CHARS, [chr(point) for point in range(300)]),
    "an entry of two characters": with_entries(CHARS, [*CHARS.tokens, "ab"]),
    "an entry that is no byte": with_entries(CHARS, [*CHARS.tokens, "<0xZZ>"]),
    "half a surrogate pair": with_entries(CHARS, [*CHARS.tokens, "\ud800"]),
    "of another library": foreign(),
}


@pytest.mark.parametrize("definition", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_or_foreign_file_is_one_line(definition: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(definition)
    with pytest.raises(CharrnnError, match=r"tokenizer\.json") as caught:
        Vocab.load(path, 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seen_size", [0, -1, 260])
def test_a_number_of_seen_entries_that_cannot_be_is_an_error(seen_size: int) -> None:
    assert len(CHARS) == 259
    with pytest.raises(CharrnnError, match="seen"):
        Vocab(CHARS.definition, seen_size)


@pytest.mark.parametrize("content", [None, b"\xff\xfe{}"])
def test_a_file_that_cannot_be_read_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CharrnnError, match=r"tokenizer\.json") as caught:
        Vocab.load(path, 1)
    assert "\n" not in str(caught.value)
