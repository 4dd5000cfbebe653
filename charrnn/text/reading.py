"""Reading text: files, folders, globs and standard input, in any encoding, plain or compressed.

Text is given in chunks of bounded size, as Unicode without a byte order mark and with `\\n` for line ends.
"""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import hashlib
import io
import lzma
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from charrnn.errors import CharrnnError, UsageError
from charrnn.storage import cache_dir

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch, CharsetMatches

CHUNK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 16
COMMON_ENCODINGS = (
    *("cp1252", "gb18030", "shift_jis", "cp1251", "big5", "euc_kr", "euc_jp", "koi8_r"),
    *("cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
)


@dataclass(frozen=True)
class Source:
    """One input: where its bytes lie, and the name a user knows it by."""

    path: Path
    name: str


@dataclass(frozen=True)
class Text:
    """A text in one or more sources, read as if they were joined end to end."""

    sources: tuple[Source, ...]
    encoding: str = "utf-8"

    def chunks(self) -> Iterator[str]:
        """The text from its beginning, in chunks of at most about a million characters.

        Raises UsageError if a source is not text in this encoding.
        """
        for source in self.sources:
            yield from read_chunks(source, self.encoding)

    def lines(self) -> Iterator[str]:
        """The text line by line, without line ends."""
        begun: list[str] = []  # of a line whose end has not come yet
        for chunk in self.chunks():
            first, *others = chunk.split("\n")
            begun.append(first)
            if others:
                yield "".join(begun)
                yield from others[:-1]
                begun = others[-1:]
        if last := "".join(begun):
            yield last

    def slice(self, start: int, stop: int | None) -> Iterator[str]:
        """Chunks of the characters from `start` up to `stop` (None: to the end)."""
        position = 0
        for chunk in self.chunks():
            begin, position = position, position + len(chunk)
            part = chunk[max(start - begin, 0) : None if stop is None else max(stop - begin, 0)]
            if part:
                yield part
            if stop is not None and position >= stop:
                return

    def measure(self) -> tuple[int, str]:
        """Number of characters, and the SHA-256 of the text in UTF-8."""
        length, digest = 0, hashlib.sha256()
        for chunk in self.chunks():
            length += len(chunk)
            try:
                digest.update(chunk.encode("utf-8"))
            except UnicodeEncodeError as error:  # some codecs, such as utf-7, let half a character through
                raise UsageError(f"not {self.encoding} text: {error.reason}") from None
        return length, digest.hexdigest()


def check_encoding(encoding: str) -> None:
    """Raise UsageError unless text can be read so."""
    try:
        codecs.lookup(encoding)  # refuses "locale"
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses "hex" and "rot13"
    except LookupError:
        raise UsageError(f"unknown encoding {encoding!r}: try utf-8, utf-16, latin-1, cp1252 or gb18030") from None


def find_text(paths: Sequence[str], encoding: str = "utf-8") -> Text:
    """The text in `paths`: files, folders (read recursively), globs, or `-` for standard input.

    In a folder, hidden files and files that are not text are passed over.
    Raises UsageError for what is missing, empty of text, or an unknown encoding.
    """
    check_encoding(encoding)
    sources = [source for path in paths for source in _expand(path, encoding)]
    return Text(tuple(sources), encoding)


def read_chunks(source: Source, encoding: str) -> Iterator[str]:
    """The text of one source in chunks. Raises UsageError where it is not text in `encoding`."""
    # "utf-8-sig" would drop a byte order mark by itself, but not count it in the position of an error.
    codec = "utf-8" if codecs.lookup(encoding).name == "utf-8-sig" else encoding
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)(), translate=True)
    position, mark = 0, "\ufeff"
    try:
        with open_bytes(source) as stream:
            while data := stream.read(CHUNK_BYTES):
                pending = len(decoder.getstate()[0])
                if position == 0:
                    _refuse_binary(source, data, encoding)
                if text := decoder.decode(cast(str, data)):
                    yield text.removeprefix(mark)
                    mark = ""
                position += len(data)
            pending, data = len(decoder.getstate()[0]), b""
            yield decoder.decode(cast(str, b""), final=True)
    except UnicodeDecodeError as error:
        raise _not_text(source, encoding, max(position - pending, 0) + error.start) from None
    except UnicodeError as error:
        raise UsageError(f"{source.name}: not {encoding} text: {error}") from None
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise CharrnnError(f"{source.name}: the compressed file is damaged or cut short: {error}") from None
    except OSError as error:
        raise CharrnnError(f"{source.name}: cannot be read: {error.strerror or error}") from None


def open_bytes(source: Source) -> IO[bytes]:
    """The source's bytes, unpacked if it is gzip, xz, bzip2 or zstandard (told by its first bytes)."""
    with source.path.open("rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(source.path)  # type: ignore[return-value]
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.open(source.path)
    if magic.startswith(b"BZh") and magic[4:] in (b"1A", b"\x17r"):  # a text may well begin with "BZh"
        return bz2.open(source.path)
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return _open_zstd(source.path)
    return source.path.open("rb")


def _open_zstd(path: Path) -> IO[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    class Reader(zstd.ZstdFile):
        """Damage as an OSError, as gzip and bzip2 report it."""

        def read(self, size: int | None = -1) -> bytes:
            try:
                return super().read(size)
            except zstd.ZstdError as error:
                raise OSError(f"the compressed file is damaged: {error}") from error

    return cast(IO[bytes], Reader(path))


def spool(stream: BinaryIO, name: str) -> Source:
    """Copy a stream that can be read only once to a file in the cache, which is gone when the program ends.

    A program that is killed leaves it there.
    """
    # The handle in `_spooled` keeps it until the program ends.
    file = tempfile.NamedTemporaryFile(dir=cache_dir(), prefix="stdin-")  # noqa: SIM115
    shutil.copyfileobj(stream, file)
    file.flush()
    _spooled.append(file)
    return Source(Path(file.name), name)


_spooled: list[object] = []


def _expand(path: str, encoding: str) -> Iterable[Source]:
    if path == "-":
        return [spool(sys.stdin.buffer, "standard input")]
    if not path:
        raise UsageError("the name of a file or folder is empty")
    if Path(path).is_dir():
        found = _text_files(Path(path), encoding)
        if not found:
            raise UsageError(f"{path}: no text files in this folder")
        return found
    if Path(path).exists() and not Path(path).is_file():  # a pipe, as of `<(…)`, can be read only once
        with open(path, "rb") as stream:
            return [spool(stream, path)]
    if Path(path).exists():
        return [Source(Path(path).absolute(), path)]
    matches = sorted(match for match in glob.glob(path, recursive=True) if Path(match).is_file())
    if not matches:
        raise UsageError(f"{path}: no such file or folder")
    return [Source(Path(match).absolute(), match) for match in matches]


def _text_files(folder: Path, encoding: str) -> list[Source]:
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        source = Source(path.absolute(), str(path))
        if not hidden and path.is_file() and _looks_like_text(source, encoding):
            found.append(source)
    return found


def _looks_like_text(source: Source, encoding: str) -> bool:
    try:
        with open_bytes(source) as stream:
            sample = stream.read(SAMPLE_BYTES)
        _refuse_binary(source, sample, encoding)
        codecs.getincrementaldecoder(encoding)().decode(sample)
    except (OSError, EOFError, UnicodeError, lzma.LZMAError, zlib.error, UsageError):
        return False
    return bool(sample)


def _refuse_binary(source: Source, sample: bytes, encoding: str) -> None:
    if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        return
    # The longer mark first: that of UTF-16 is its beginning.
    for name, mark in (
        ("utf-32", codecs.BOM_UTF32_LE),
        ("utf-16", codecs.BOM_UTF16_LE),
        ("utf-16", codecs.BOM_UTF16_BE),
    ):
        if sample.startswith(mark):
            raise UsageError(f"{source.name}: not {encoding} text; it looks like {name}: add --encoding {name}")
    if b"\0" in sample[:SAMPLE_BYTES]:
        position = sample.index(b"\0")
        raise UsageError(f"{source.name}: not a text file (a zero byte at position {position})")


def _not_text(source: Source, encoding: str, position: int) -> UsageError:
    """An error that names the byte and, where one can be told, the encoding that would do."""
    from charset_normalizer import from_bytes

    with open_bytes(source) as stream:
        before = max(position - SAMPLE_BYTES // 2, 0)
        while before > 0 and (skipped := stream.read(min(before, CHUNK_BYTES))):
            before -= len(skipped)
        sample = stream.read(SAMPLE_BYTES)
    # Whole lines only: half a character at the cut would rule the right encoding out. Plain ASCII tells nothing.
    lines = sample.split(b"\n")[position > SAMPLE_BYTES // 2 : -1]
    lines = [line for line in lines if not line.isascii()]
    odd = [line for line in lines if not _decodes(line, encoding)]
    mixed = codecs.lookup(encoding).name == "utf-8" and len(lines) > 2 * len(odd) > 0
    lines = odd if mixed else lines
    others = [name for name in ("utf_8", *COMMON_ENCODINGS) if codecs.lookup(name) != codecs.lookup(encoding)]
    matches = from_bytes(b"\n".join(lines) or sample, cp_isolation=others)
    best = matches.best()
    if mixed:
        guess = f", probably from {_western_first(best, matches)}" if best else ""
        return UsageError(
            f"{source.name}: byte {position} is not {encoding}; other lines are, so the file mixes encodings: convert "
            f"its odd lines to UTF-8{guess}"
        )
    advice = f"try --encoding {_western_first(best, matches)}" if best else "is it a text file?"
    return UsageError(f"{source.name}: byte {position} is not {encoding}; {advice}")


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True


def _western_first(best: CharsetMatch, matches: CharsetMatches) -> str:
    """The name of the best guess; cp1252 rather than its Central European twin where both read as cleanly."""
    clean = [name for match in matches if match.chaos <= best.chaos for name in match.could_be_from_charset]
    return "cp1252" if best.encoding == "cp1250" and "cp1252" in clean else best.encoding
