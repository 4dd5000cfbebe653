"""Splits, ids on disk, and a cache that is never wrong."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from charrnn.errors import CharrnnError, UsageError
from charrnn.storage import cache_dir
from charrnn.text.dataset import Split, TextConfig, encode_split, make_vocab, split_text
from charrnn.text.reading import Text, find_text
from charrnn.text.vocab import KINDS, Ids, Kind, Vocab

# The examples of one test write the same file, one after the other.
laws = settings(
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
every_kind = pytest.mark.parametrize("kind", KINDS)
STORY = "The cat's hat lay on the mat; l'été vint, 日本.\r\n\t" * 9 + "Zero! 👩‍👧 <0x41>\x1c"


def text_of(path: Path, content: str) -> Text:
    path.write_bytes(content.encode())
    return find_text([str(path)])


def characters(split: Split) -> str:
    return "".join(split.text.slice(split.start, split.stop))


def entries() -> set[Path]:
    return {path for path in cache_dir().rglob("*") if path.is_file()}


@laws
@given(content=st.text("ab\n日😀", min_size=2, max_size=80), fraction=st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9]))
def test_validation_is_the_last_part_of_the_text_and_training_the_rest(
    content: str, fraction: float, tmp_path: Path
) -> None:
    text = text_of(tmp_path / "a.txt", content)
    train, val = split_text(text, None, fraction, min_chars=0)
    assert characters(train) + characters(val) == content
    assert (train.num_chars, val.num_chars) == (len(characters(train)), len(characters(val)))
    assert len(content) * fraction - 1e-6 < val.num_chars < len(content) * fraction + 1


def test_validation_is_a_tenth_unless_asked_otherwise(tmp_path: Path) -> None:
    text = text_of(tmp_path / "a.txt", "a" * 900 + "b" * 100)
    train, val = split_text(text, None, TextConfig().val_fraction, min_chars=1)
    assert (characters(train), characters(val)) == ("a" * 900, "b" * 100)


def test_a_validation_text_leaves_all_of_the_text_for_training(tmp_path: Path) -> None:
    text, val_text = text_of(tmp_path / "a.txt", "training"), text_of(tmp_path / "b.txt", "validation")
    train, val = split_text(text, val_text, 0.1, min_chars=8)
    assert (characters(train), characters(val)) == ("training", "validation")
    assert train.sha256 == text.measure()[1]
    assert val.sha256 == val_text.measure()[1]


def test_hardly_any_training_text_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs at least"):
        split_text(text_of(tmp_path / "a.txt", "a" * 1000), None, 1 - 1e-9, min_chars=65)


@pytest.mark.parametrize("with_val_text", [False, True])
@laws
@given(length=st.integers(0, 300), min_chars=st.integers(1, 300), fraction=st.floats(0.01, 0.99))
@example(length=1, min_chars=65, fraction=0.1)
@example(length=1, min_chars=9, fraction=0.1)
def test_the_length_that_an_error_asks_for_is_enough(
    with_val_text: bool, length: int, min_chars: int, fraction: float, tmp_path: Path
) -> None:
    val_text = text_of(tmp_path / "val.txt", "val") if with_val_text else None
    try:
        train, val = split_text(text_of(tmp_path / "a.txt", "a" * length), val_text, fraction, min_chars)
    except UsageError as error:
        wanted = re.fullmatch(r"the text is too short: ([\d,]+) characters, .* at least ([\d,]+)", str(error))
        assert wanted is not None
        found, needed = (int(number.replace(",", "")) for number in wanted.groups())
        assert found == length < needed
        train, val = split_text(text_of(tmp_path / "a.txt", "a" * needed), val_text, fraction, min_chars)
        assert train.num_chars <= min_chars + 1, "and no longer than it must be"
    assert train.num_chars >= min_chars
    assert val.num_chars > 0


def test_an_empty_validation_text_is_an_error(tmp_path: Path) -> None:
    text, empty = text_of(tmp_path / "a.txt", "a" * 100), text_of(tmp_path / "b.txt", "")
    with pytest.raises(UsageError, match="validation text is empty"):
        split_text(text, empty, 0.1, min_chars=10)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_that_cannot_be_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="val_fraction"):
        TextConfig(val_fraction=fraction)


def prepared(path: Path, content: str, config: TextConfig) -> tuple[Split, Split, Vocab]:
    train, val = split_text(text_of(path, content), None, config.val_fraction, min_chars=1)
    return train, val, make_vocab(train, config)


@every_kind
@pytest.mark.parametrize("val_fraction", [0.1, 0.5])
def test_encoded_ids_are_those_of_the_text_with_the_unseen_as_one(
    kind: Kind, val_fraction: float, tmp_path: Path
) -> None:
    config = TextConfig(vocab=kind, val_fraction=val_fraction)
    train, val, vocab = prepared(tmp_path / "a.txt", STORY, config)
    for split in (train, val):
        ids = encode_split(split, vocab)
        whole = vocab.encode(characters(split)).astype(np.int64)
        assert isinstance(ids, np.memmap)
        assert not ids.flags.writeable
        assert ids.dtype == np.min_scalar_type(vocab.seen_size)
        assert ids.tolist() == np.minimum(whole, vocab.seen_size).tolist()
    assert max(encode_split(train, vocab)) < vocab.seen_size == max(encode_split(val, vocab))


@pytest.mark.parametrize(("letters", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_ids_take_the_smallest_type_with_room_for_the_unseen(letters: int, dtype: type, tmp_path: Path) -> None:
    content = "".join(chr(0x4E00 + i) for i in range(letters))
    val_text = text_of(tmp_path / "val.txt", content + "\u3000")
    train, val = split_text(text_of(tmp_path / "a.txt", content), val_text, 0.1, min_chars=1)
    vocab = make_vocab(train, TextConfig())
    assert encode_split(val, vocab).dtype == dtype
    assert encode_split(val, vocab).tolist() == [*range(letters), letters, letters, letters]


def test_a_vocabulary_is_made_of_the_training_part_only(tmp_path: Path) -> None:
    train, val, vocab = prepared(tmp_path / "a.txt", "ab" * 45 + "ab日" * 3, TextConfig())
    assert "日" in characters(val)
    assert "日" not in characters(train)
    assert vocab.tokens[: vocab.seen_size] == ["a", "b"]
    assert "日" not in vocab.tokens
    assert vocab.decode(vocab.encode(characters(val))) == characters(val)


@every_kind
def test_what_was_made_before_needs_no_source(kind: Kind, tmp_path: Path) -> None:
    config, path = TextConfig(vocab=kind), tmp_path / "a.txt"
    train, val, vocab = prepared(path, STORY, config)
    first = [encode_split(split, vocab).tolist() for split in (train, val)]
    path.unlink()
    again = make_vocab(train, config)
    assert (again.definition, again.seen_size) == (vocab.definition, vocab.seen_size)
    assert [encode_split(split, again).tolist() for split in (train, val)] == first


def test_the_same_text_elsewhere_has_the_same_entry(tmp_path: Path) -> None:
    train, _, vocab = prepared(tmp_path / "a.txt", STORY, TextConfig())
    encode_split(train, vocab)
    before = entries()
    train, _, vocab = prepared(tmp_path / "b.txt", STORY, TextConfig())
    encode_split(train, vocab)
    assert entries() == before


@pytest.mark.parametrize(
    ("content", "config"),
    [
        (STORY.replace("cat", "cot"), TextConfig()),
        (STORY, TextConfig(val_fraction=0.5)),
        (STORY, TextConfig(vocab="byte")),
        (STORY, TextConfig(vocab="subword")),
        (STORY, TextConfig(vocab_size=260)),
    ],
    ids=["text", "fraction", "byte", "subword", "size"],
)
def test_another_text_or_setting_has_another_entry(content: str, config: TextConfig, tmp_path: Path) -> None:
    train, _, vocab = prepared(tmp_path / "a.txt", STORY, TextConfig())
    encode_split(train, vocab)
    before = entries()
    train, _, vocab = prepared(tmp_path / "a.txt", content, config)
    ids = encode_split(train, vocab)
    assert len(entries() - before) == 2
    assert vocab.decode(ids) == characters(train)


def test_both_splits_of_a_text_have_entries_of_their_own(tmp_path: Path) -> None:
    train, val, vocab = prepared(tmp_path / "a.txt", "abba" * 50, TextConfig())
    assert vocab.decode(encode_split(train, vocab)) == characters(train)
    assert vocab.decode(encode_split(val, vocab)) == characters(val)


def test_a_text_that_has_changed_since_it_was_measured_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    train, val, vocab = prepared(path, STORY, TextConfig())
    path.write_text(STORY[::-1], encoding="utf-8")
    before = entries()
    for split in (train, val):
        with pytest.raises(CharrnnError, match="changed since"):
            encode_split(split, vocab)
    with pytest.raises(CharrnnError, match="changed since"):
        make_vocab(train, TextConfig(vocab="subword"))
    assert entries() == before


def test_an_encoding_that_was_interrupted_leaves_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, _, vocab = prepared(tmp_path / "a.txt", STORY, TextConfig())
    before = entries()
    encode = vocab.encode

    def interrupted(text: str) -> Ids:
        if len(entries()) > len(before):
            raise KeyboardInterrupt
        return encode(text)

    monkeypatch.setattr(vocab, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encode_split(train, vocab)
    assert entries() == before
    monkeypatch.undo()
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    assert vocab.decode(encode_split(train, vocab)) == characters(train)
