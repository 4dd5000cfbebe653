"""Downloads that survive a broken line, and the bytes inside what was downloaded."""

import bz2
import gzip
import http.client
import json
import lzma
import os
import re
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from charrnn import storage
from charrnn.errors import CharrnnError, UsageError

ATTEMPTS = 4
PAUSE_SECONDS = 0.5  # before the second attempt; each further one waits twice as long
TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 18

_DAMAGE = (
    OSError,  # gzip and bz2
    EOFError,
    RuntimeError,  # a zip that is encrypted, or packed by an unknown method
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)


class _BrokenOffError(Exception):
    """The server could not be reached, or its answer ended early. Another attempt may do better."""


def download(url: str, path: Path, *, progress: bool = True) -> None:
    """Fetch `url` into `path`, whole or not at all; a bar on a terminal's standard error if `progress`.

    What has come so far lies in `<path>.part`. After a break, here or in a later call, only the rest is asked
    for, provided the server can say (by ETag or Last-Modified) that the file is still the same one.

    Raises `CharrnnError` if the server refuses, or if the answer still breaks off after `ATTEMPTS` attempts.
    """
    if not url.startswith(("https://", "http://")):
        raise UsageError(f"{url}: only https and http addresses can be downloaded")
    part = path.with_name(path.name + ".part")
    memory = path.with_name(path.name + ".part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file, _bar(path.name, progress) as bar:
            _lock(file, part)
            _fetch_all(url, file, memory, bar)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        memory.unlink(missing_ok=True)
    except OSError as error:
        raise CharrnnError(f"cannot write {part}: {error.strerror or error}") from error


def unpacked(archive: Path, unpack: str | None, member: str | None = None) -> Iterator[bytes]:
    """The bytes inside `archive`, in blocks of at most `BLOCK_BYTES`; nothing is written.

    `unpack` is None (plain), "gz", "bz2", "xz", "zip" or "tar". Of a zip or tar, the files whose names match
    the shell pattern `member` come one after the other, sorted by name.

    Raises `CharrnnError` if the archive is damaged or holds no such file.
    """
    try:
        for stream in _streams(archive, unpack, member):
            while block := stream.read(BLOCK_BYTES):
                yield block
    except _DAMAGE as error:
        raise CharrnnError(f"not a whole {unpack or 'plain'} file ({_one_line(error)})") from error


def _fetch_all(url: str, file: IO[bytes], memory: Path, bar: Any) -> None:
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            _fetch_rest(url, file, memory, bar)
            return
        except _BrokenOffError as error:
            reason = str(error)
    held = file.seek(0, os.SEEK_END)
    if held and _recall(memory, url):
        raise CharrnnError(
            f"{url} broke off at {held:,} bytes ({reason}); they are kept, and the same command run again resumes there"
        )
    raise CharrnnError(f"{url} could not be downloaded ({reason})")


def _fetch_rest(url: str, file: IO[bytes], memory: Path, bar: Any) -> None:
    """Ask for what `file` lacks and append it. `file` is whole unless this raises."""
    validator = _recall(memory, url)
    if validator is None:  # nothing says that what lies here belongs to what would come
        file.truncate(0)
    held = file.seek(0, os.SEEK_END)
    with _ask(url, held, validator) as answer:
        start, total = _extent(answer)
        if answer.status == 416 and total == held:
            return  # an earlier call had everything, and was stopped just before the end
        if answer.status == 200:
            held = file.truncate(0)
            _remember(memory, url, _validator(answer.headers))
        elif start != held or _validator(answer.headers) not in (None, validator):
            file.truncate(0)
            raise _BrokenOffError("the file on the server has changed")
        bar.total, bar.n = total, held
        for block in _blocks(answer):
            file.write(block)
            bar.update(len(block))
    held = file.seek(0, os.SEEK_END)
    if total is not None and held != total:
        raise _BrokenOffError(f"the server announced {total:,}")


def _ask(url: str, held: int, validator: str | None) -> Any:
    """The server's answer (200, 206 or 416), from byte `held` on if its file is still the `validator`'s."""
    # A compressed transfer would make the offsets and the length those of another stream of bytes.
    headers = {"User-Agent": "charrnn", "Accept-Encoding": "identity"}
    if held and validator:
        headers |= {"Range": f"bytes={held}-", "If-Range": validator}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error
        with error:
            if error.code >= 500 or error.code == 429:
                raise _BrokenOffError(f"the server answered {error.code} {error.reason}") from error
            raise CharrnnError(f"{url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _BrokenOffError(_one_line(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(_one_line(error)) from error


def _blocks(answer: Any) -> Iterator[bytes]:
    try:
        # read1, not read: what has arrived when the line breaks is worth keeping.
        while block := answer.read1(BLOCK_BYTES):
            yield block
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(_one_line(error)) from error


def _extent(answer: Any) -> tuple[int | None, int | None]:
    """Where the answer's first byte stands in the file, and the file's length; None where it doesn't say."""
    if answer.status == 200:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", answer.headers.get("Content-Range", ""))
    start, total = match.groups() if match else (None, None)
    return int(start) if start else None, int(total) if total else None


def _validator(headers: Message) -> str | None:
    """What tells this version of the file from others. A weak ETag doesn't: it promises no equal bytes."""
    etag: str | None = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified")


def _remember(memory: Path, url: str, validator: str | None) -> None:
    storage.atomic_write(memory, json.dumps({"url": url, "validator": validator}))


def _recall(memory: Path, url: str) -> str | None:
    """The validator of the bytes in the part, or None if they are of another address or unknown origin."""
    try:
        noted = json.loads(memory.read_text(encoding="utf-8"))
        return noted["validator"] if noted["url"] == url else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _bar(name: str, progress: bool) -> Any:
    from tqdm import tqdm

    # disable=None: shown on a terminal, silent in a log.
    hidden = None if progress else True
    return tqdm(desc=name, unit="B", unit_scale=True, leave=False, file=sys.stderr, disable=hidden)


def _lock(file: IO[bytes], part: Path) -> None:
    """Keep a second process from writing to the same part; the lock goes when the file is closed."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CharrnnError(f"another process is downloading {part}; wait for it to finish") from error


def _streams(archive: Path, unpack: str | None, member: str | None) -> Iterator[IO[bytes]]:
    if unpack == "zip":
        with zipfile.ZipFile(archive) as opened:
            for name in _matching(opened.namelist(), member):
                with opened.open(name) as stream:
                    yield stream
    elif unpack == "tar":
        with tarfile.open(archive) as tar:
            files = {entry.name: entry for entry in tar if entry.isfile()}
            for name in _matching(files, member):
                extracted = tar.extractfile(files[name])
                assert extracted is not None  # only a directory or a device has no bytes
                with extracted:
                    yield extracted
    else:
        with _open_single(archive, unpack) as stream:
            yield stream


def _open_single(path: Path, unpack: str | None) -> IO[bytes]:
    openers: dict[str | None, Callable[[Path], Any]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    opened: IO[bytes] = openers.get(unpack, _open_plain)(path)
    return opened


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _matching(names: Iterable[str], member: str | None) -> list[str]:
    found = sorted(name for name in names if member and fnmatchcase(name, member))
    if not found:
        raise CharrnnError(f"the archive holds no file '{member}'")
    return found


def _one_line(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error)  # without "[Errno 111]"
    return " ".join(text.split()) or type(error).__name__
