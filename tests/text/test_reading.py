"""Reading text: every way to the same characters, and one line for whatever cannot be read."""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from charrnn.errors import CharrnnError, UsageError
from charrnn.text import reading
from charrnn.text.reading import Text, find_text

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The examples of one test write the same few files, one after the other.
laws = settings(
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def zstd_compress(data: bytes) -> bytes:
    """With a checksum, as the `zstd` program writes it."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd_compress,
}
every_compression = pytest.mark.parametrize("pack", COMPRESSIONS.values(), ids=COMPRESSIONS.keys())

FRENCH = (
    "Il était une fois une petite fille de village, la plus éclose qu'on eût su voir : sa mère en était folle, "
    "et sa mère-grand plus folle encore. Cette bonne femme lui fit faire un petit chaperon rouge.\n"
)
CHINESE = "很久很久以前,在一座高山的脚下,住着一位老人和他的孙女。他们每天早上都到河边去打水,然后回家做饭。\n"
in_old_encodings = pytest.mark.parametrize(
    ("text", "encoding"), [(FRENCH, "cp1252"), (CHINESE, "gb18030")], ids=["French", "Chinese"]
)
TEXT = FRENCH + "\nSecond line\n" + CHINESE + "😀\n"


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(*paths: Path | str, encoding: str = "utf-8") -> str:
    return "".join(find_text([str(path) for path in paths], encoding).chunks())


def complaint(error: type[CharrnnError], *paths: Path | str, encoding: str = "utf-8") -> str:
    """The message of the error that reading these ends with: one line, which names what it is about."""
    with pytest.raises(CharrnnError) as caught:
        read(*paths, encoding=encoding)
    message = str(caught.value)
    assert type(caught.value) is error, message
    assert len(message.splitlines()) == 1
    return message


@every_compression
def test_a_compressed_text_reads_as_the_plain_one(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    assert read(put(tmp_path, "packed", pack(TEXT.encode()))) == TEXT


@every_compression
def test_compressed_files_joined_end_to_end_read_as_one(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    data = TEXT.encode()
    path = put(tmp_path, "packed", pack(data[:50]) + pack(data[50:]))
    assert read(path) == TEXT


@pytest.mark.parametrize("start", ["BZh", "BZh9 was here", "7zXZ", "(\x05/"])
def test_a_text_that_begins_like_a_compressed_file_is_text(start: str, tmp_path: Path) -> None:
    assert read(put(tmp_path, "a.txt", start + "\n")) == start + "\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "gb18030", "shift_jis"])
@laws
@given(text=st.text("\r\nab日本", max_size=30), chunk_bytes=st.integers(1, 7))
@example(text="a\r\nb", chunk_bytes=2)
@example(text="\r\r\n\r", chunk_bytes=1)
def test_line_ends_and_characters_are_whole_wherever_chunks_are_cut(
    encoding: str, text: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    path = put(tmp_path, "a.txt", text.encode(encoding))
    assert read(path, encoding=encoding) == re.sub("\r\n?", "\n", text)


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030"])
def test_a_byte_order_mark_is_dropped_at_the_beginning_only(
    encoding: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    data = "\ufeffa\ufeffb\n".encode(encoding.removesuffix("-sig"))
    path = put(tmp_path, "a.txt", data)
    assert read(path, path, encoding=encoding) == "a\ufeffb\n" * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "gb18030"])
def test_an_encoding_of_all_of_unicode_reads_right(encoding: str, tmp_path: Path) -> None:
    assert read(put(tmp_path, "a.txt", TEXT.encode(encoding)), encoding=encoding) == TEXT


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("latin-1", "Été\n"), ("cp1252", "“Œuvre” 5 €\n"), ("koi8-r", "Жили-были\n"), ("shift_jis", "むかしむかし\n")],
)
def test_an_older_encoding_reads_right(encoding: str, text: str, tmp_path: Path) -> None:
    assert read(put(tmp_path, "a.txt", text.encode(encoding)), encoding=encoding) == text


def tree(folder: Path, names: list[str]) -> Path:
    """Files whose text is their own name, among others that are no text."""
    for name in names:
        put(folder, name, f"{name}\n")
    put(folder, ".hidden", "hidden\n")
    put(folder, ".git/config", "hidden\n")
    put(folder, "sub/.secret/a.txt", "hidden\n")
    put(folder, "image.png", b"\x89PNG\r\n\x1a\n\0\0\0")
    put(folder, "old.txt", FRENCH.encode("cp1252"))
    put(folder, "empty.txt", b"")
    put(folder, "cut.gz", gzip.compress(b"cut short")[:-9])
    return folder


def test_a_folder_is_read_in_order_whatever_order_it_was_written_in(tmp_path: Path) -> None:
    names = ["a.txt", "b.md", "sub/a.txt", "sub/deeper/z", "t.txt"]
    forward, backward = tree(tmp_path / "forward", names), tree(tmp_path / "backward", names[::-1])
    assert read(forward) == "".join(f"{name}\n" for name in names) == read(backward)


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path: Path) -> None:
    put(tmp_path, ".notes/a.txt", "a\n")
    assert read(tmp_path / ".notes") == "a\n"


def test_compressed_texts_in_a_folder_are_read(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "a\n")
    for name, pack in COMPRESSIONS.items():
        put(tmp_path, f"b.{name}", pack(b"b\n"))
    assert read(tmp_path) == "a\nb\nb\nb\nb\n"


def test_a_long_text_in_a_folder_is_text_though_the_sample_ends_within_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SAMPLE_BYTES", 4)
    put(tmp_path, "a.txt", "日本")
    assert read(tmp_path) == "日本"


def test_a_glob_is_read_in_order(tmp_path: Path) -> None:
    tree(tmp_path, ["b.txt", "a.txt", "sub/c.txt", "d.md"])
    os.unlink(tmp_path / "old.txt")
    assert read(tmp_path / "*.txt") == "a.txt\nb.txt\n"
    assert read(tmp_path / "**" / "*.txt") == "a.txt\nb.txt\nsub/c.txt\n"
    assert read(tmp_path / "s*" / "?.txt") == "sub/c.txt\n"


def test_a_name_with_the_letters_of_a_glob_is_a_name(tmp_path: Path) -> None:
    put(tmp_path, "a.txt", "other\n")
    assert read(put(tmp_path, "[a].txt", "this\n")) == "this\n"


def test_inputs_are_joined_in_the_order_they_are_given(tmp_path: Path) -> None:
    a, b = put(tmp_path, "a", "a"), put(tmp_path, "b", "b")
    assert read(b, a, b) == "bab"


@pytest.mark.parametrize("pack", [bytes, *COMPRESSIONS.values()], ids=["plain", *COMPRESSIONS])
def test_standard_input_can_be_read_again_and_by_nobody_else(
    pack: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(TEXT.encode()))))
    text = find_text(["-"])
    assert "".join(text.chunks()) == "".join(text.chunks()) == TEXT
    assert text.sources[0].path.stat().st_mode & 0o077 == 0


def test_a_pipe_can_be_read_again() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, TEXT.encode())
        os.close(writer)
        text = find_text([f"/dev/fd/{reader}"])
    finally:
        os.close(reader)
    assert "".join(text.chunks()) == "".join(text.chunks()) == TEXT


# What an error says


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "gb18030", "shift_jis", "euc_kr"])
@laws
@given(before=st.text("ab \n日本", max_size=20), chunk_bytes=st.integers(1, 9), bad=st.sampled_from([b"\xff", b"\x81"]))
@example(before="", chunk_bytes=1, bad=b"\xff")
def test_an_error_names_the_position_of_the_first_wrong_byte(
    encoding: str, before: str, chunk_bytes: int, bad: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    start = (before if encoding != "ascii" else ascii(before)).encode(encoding)
    message = complaint(UsageError, put(tmp_path, "a.txt", start + bad + b"\n or so"), encoding=encoding)
    assert message.startswith(f"{tmp_path / 'a.txt'}: byte {len(start)} is not {encoding}; ")


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 4, 5, 1000])
@pytest.mark.parametrize(
    ("data", "position"),
    [(b"\xef\xbb\xbfabc\xff", 6), ("日本".encode()[:-1], 3), (b"ab\xc3(", 2), (b"\r\xff", 1), (b"a\r\n\xff", 3)],
)
def test_a_position_counts_the_mark_line_ends_and_characters_cut_short(
    data: bytes, position: int, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    assert f": byte {position} is not utf-8" in complaint(UsageError, put(tmp_path, "a.txt", data))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("ascii_bytes", [0, 60, reading.SAMPLE_BYTES // 2, reading.SAMPLE_BYTES, reading.CHUNK_BYTES])
@in_old_encodings
def test_an_error_says_which_encoding_would_do(
    text: str, encoding: str, ascii_bytes: int, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    plain = ("A line of plain letters\n" * (ascii_bytes // 24 + 1))[:ascii_bytes]
    data = (plain + text * 20).encode(encoding)
    path = put(tmp_path, "a.txt", pack(data))
    message = complaint(UsageError, path)
    position = next(i for i, byte in enumerate(data) if byte >= 0x80)
    assert message == f"{path}: byte {position} is not utf-8; try --encoding {encoding}"
    assert read(path, encoding=encoding) == plain + text * 20


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("plain_lines", [1, 10_000])
def test_a_sample_that_ends_within_a_character_tells_the_encoding(plain_lines: int, shift: int, tmp_path: Path) -> None:
    text = "plain\n" * plain_lines + "a" * shift + CHINESE * (2 * reading.SAMPLE_BYTES // len(CHINESE))
    assert complaint(UsageError, put(tmp_path, "a.txt", text.encode("gb18030"))).endswith("try --encoding gb18030")


@in_old_encodings
def test_the_right_encoding_is_told_from_a_last_line_without_an_end(text: str, encoding: str, tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", ("Plain letters\n" + text.strip()).encode(encoding))
    assert complaint(UsageError, path).endswith(f"try --encoding {encoding}")


@pytest.mark.parametrize("encoding", ["ascii", "euc_jp"])
def test_utf_8_read_as_something_else_is_told_too(encoding: str, tmp_path: Path) -> None:
    message = complaint(UsageError, put(tmp_path, "a.txt", TEXT), encoding=encoding)
    assert message.endswith("try --encoding utf_8")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_utf_16_read_as_something_else_is_told_too(encoding: str, tmp_path: Path) -> None:
    data = TEXT.encode(encoding) if encoding == "utf-16" else ("\ufeff" + TEXT).encode(encoding)
    assert complaint(UsageError, put(tmp_path, "a.txt", data)).endswith("add --encoding utf-16")


@every_compression
@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.999])
def test_a_compressed_file_cut_short_is_damaged(
    kept: float, pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", 64)
    data = pack(hashlib.sha256(b"").hexdigest().encode() * 10 + TEXT.encode())
    path = put(tmp_path, "packed", data[: max(int(len(data) * kept), 6)])
    assert str(path) in complaint(CharrnnError, path)


@every_compression
@laws
@given(share=st.floats(0.1, 0.9), junk=st.binary(min_size=8, max_size=8))
def test_a_damaged_compressed_file_is_one_line(
    pack: Callable[[bytes], bytes], share: float, junk: bytes, tmp_path: Path
) -> None:
    data = pack(TEXT.encode())
    start = int(len(data) * share)
    path = put(tmp_path, "packed", data[:start] + junk + data[start + 8 :])
    assert str(path) in complaint(CharrnnError, path)


def test_a_zero_byte_is_no_text(tmp_path: Path) -> None:
    message = complaint(UsageError, put(tmp_path, "a.bin", b"\x7fELF\x02\0\0"))
    assert message == f"{tmp_path / 'a.bin'}: not a text file (a zero byte at position 5)"


@pytest.mark.parametrize("name", ["missing.txt", "missing/", "*.txt", "**/[ab]?"])
def test_what_is_missing_is_named(name: str, tmp_path: Path) -> None:
    put(tmp_path, "other.md", "text")
    assert complaint(UsageError, f"{tmp_path}/{name}").startswith(f"{tmp_path}/{name}: no such file")


def test_an_empty_name_is_no_folder() -> None:
    assert "empty" in complaint(UsageError, "")


def test_a_folder_without_text_is_an_error(tmp_path: Path) -> None:
    folder = tree(tmp_path / "folder", [])
    assert complaint(UsageError, folder) == f"{folder}: no text files in this folder"


@pytest.mark.parametrize("encoding", ["nonsense", "", "utf-9", "hex", "rot13", "zlib"])
def test_an_unknown_encoding_is_named(encoding: str, tmp_path: Path) -> None:
    message = complaint(UsageError, put(tmp_path, "a.txt", "text"), encoding=encoding)
    assert message.startswith(f"unknown encoding {encoding!r}")


def test_utf_16_without_a_mark_is_one_line(tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", TEXT.encode("utf-16-le"))
    assert "utf-16" in complaint(UsageError, path, encoding="utf-16")


def test_a_file_that_has_gone_is_one_line(tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", "text")
    text = find_text([str(path)])
    path.unlink()
    with pytest.raises(CharrnnError, match=r"a\.txt: cannot be read: No such file"):
        list(text.chunks())


# Slices and measure


def text_of(folder: Path, parts: list[str]) -> Text:
    return find_text([str(put(folder, f"{i}.txt", part)) for i, part in enumerate(parts)])


some_parts = st.lists(st.text("ab\r\né日😀", max_size=12), min_size=1, max_size=4)


@laws
@given(parts=some_parts, bounds=st.tuples(st.integers(0, 50), st.integers(0, 50)), chunk_bytes=st.integers(1, 20))
def test_a_slice_is_that_of_the_whole_text(
    parts: list[str], bounds: tuple[int, int], chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    text = text_of(tmp_path, parts)
    whole, (start, stop) = "".join(text.chunks()), sorted(bounds)
    assert "".join(text.slice(start, stop)) == whole[start:stop]
    assert "".join(text.slice(start, None)) == whole[start:]
    assert all(text.slice(start, stop)), "a slice has no empty chunks"


@laws
@given(parts=some_parts, chunk_bytes=st.integers(1, 20))
def test_lines_are_those_of_the_whole_text(
    parts: list[str], chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    text = text_of(tmp_path, parts)
    whole = "".join(text.chunks())
    assert list(text.lines()) == whole.removesuffix("\n").split("\n") * bool(whole)


@laws
@given(parts=some_parts, chunk_bytes=st.integers(1, 20))
def test_the_measure_is_of_the_whole_text(
    parts: list[str], chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", chunk_bytes)
    text = text_of(tmp_path, parts)
    whole = "".join(text.chunks())
    assert whole == "".join(re.sub("\r\n?", "\n", part) for part in parts)
    assert text.measure() == (len(whole), hashlib.sha256(whole.encode()).hexdigest())


def test_chunks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK_BYTES", 10)
    path = put(tmp_path, "a.gz", gzip.compress(b"a" * 1000))
    assert max(map(len, find_text([str(path)]).chunks())) <= 10
