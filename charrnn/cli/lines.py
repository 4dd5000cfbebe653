"""Lines of standard input as they come, and answers to standard output."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from charrnn.errors import CharrnnError

READ_BYTES = 1 << 16  # of standard input at once: what a pipe holds


def lenient_decoder(encoding: str) -> codecs.IncrementalDecoder:
    """A decoder that puts U+FFFD for what is no text. Raises UsageError for an unknown encoding."""
    from charrnn.text.reading import check_encoding

    check_encoding(encoding)
    return codecs.getincrementaldecoder(encoding)(errors="replace")


def read_lines(stream: BinaryIO, decoder: codecs.IncrementalDecoder) -> Iterator[list[str]]:
    """The lines of a stream, as many at once as have come. Raises CharrnnError for what the decoder cannot replace."""
    parts: list[str] = []  # of a line whose end has not come yet
    first = True
    while data := stream.read1(READ_BYTES):  # type: ignore[attr-defined]
        text = _decoded(decoder, data)
        if first:
            text, first = text.removeprefix("\ufeff"), False
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = "".join([*parts, lines[0]])
            parts = []
            yield lines
        parts.append(rest)
    last = "".join([*parts, _decoded(decoder, b"")])
    if last:
        yield [last]


def _decoded(decoder: codecs.IncrementalDecoder, data: bytes) -> str:
    try:
        return decoder.decode(data, final=not data)
    except UnicodeError as error:  # such as a missing byte order mark
        raise CharrnnError(f"standard input: cannot be read: {error}") from None


def write(lines: Iterable[str]) -> None:
    """Write to standard output at once."""
    # Bytes, so that no terminal setting can make a character an error; lone surrogates become "?".
    sys.stdout.buffer.write("".join(lines).encode("utf-8", errors="replace"))
    sys.stdout.buffer.flush()
