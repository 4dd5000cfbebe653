"""Text sets by name: some made from the running Python, the others downloaded."""

import codecs
import datetime
import difflib
import hashlib
import json
import os
import platform
import re
import sysconfig
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn import storage
from charrnn.errors import CharrnnError, UsageError
from charrnn.text import dates
from charrnn.text.download import download, unpacked


@dataclass(frozen=True)
class Corpus:
    """One text set. `url` is None for the built-in ones; sizes are rough, in 10^6 bytes."""

    name: str
    description: str
    language: str
    licence: str
    text_mb: float
    download_mb: float = 0.0
    url: str | None = None
    unpack: str | None = None
    member: str | None = None
    clean: str | None = None
    sha256: str | None = None


_PYTHON_LICENCE = "PSF-2.0"
_BUILT_IN = (
    Corpus(
        name="python-docs",
        description="The prose of Python's language reference; needs no network",
        language="English",
        licence=_PYTHON_LICENCE,
        text_mb=0.5,
    ),
    Corpus(
        name="python-code",
        description="The standard library's source, comments and all; needs no network",
        language="Python code",
        licence=_PYTHON_LICENCE,
        text_mb=11,
    ),
    Corpus(
        name="dates",
        description="Dates in many forms, a tab, the ISO date: for train_translator; needs no network",
        language="English; 30 more with babel",
        licence="Public domain",
        text_mb=1.2,
    ),
)

_KEYS: dict[str, type | tuple[type, ...]] = {
    "description": str,
    "language": str,
    "licence": str,
    "url": str,
    "text_mb": (int, float),
    "download_mb": (int, float),
    "unpack": str,
    "member": str,
    "clean": str,
    "sha256": str,
}
_OPTIONAL = {"unpack", "member", "clean", "sha256"}
_UNPACK = {"gz", "bz2", "xz", "zip", "tar"}
_ARCHIVES = {"zip", "tar"}

# Beside tests, `pydoc_data` is the language reference again, as one huge literal.
_NOT_LIBRARY = {
    "__pycache__",
    "dist-packages",
    "idle_test",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
}


def catalogue() -> dict[str, Corpus]:
    """All text sets by name, the built-in ones first. Raises `CharrnnError` naming a bad key."""
    path = catalogue_path()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CharrnnError(f"cannot read the catalogue {path}: {error}") from error
    corpora = [*_BUILT_IN, *(_entry(name, table, path) for name, table in tables.items())]
    return {corpus.name: corpus for corpus in corpora}


def catalogue_path() -> Path:
    """The catalogue in the installed package, else in the repository this module lies in."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_corpora" / "catalogue.toml"
    return installed if installed.exists() else package.parent / "corpora" / "catalogue.toml"


def get(
    name: str,
    directory: Path | None = None,
    *,
    progress: bool = True,
    report: Callable[[str], None] = lambda note: None,
) -> Path:
    """The path of `name` as a plain UTF-8 text, made or downloaded if it isn't there yet.

    It lies in `directory`, else in the cache. `report` is told in one line what can be said for a download's
    checksum; `progress` shows a bar on a terminal.

    Raises `UsageError` for an unknown name, and `CharrnnError` if the text can't be had.
    """
    corpus = find(name)
    folder = directory or storage.cache_dir() / "corpora"
    path = folder / _file_name(corpus)
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if corpus.url is None:
            _write(path, _MAKERS[name]())
        else:
            _fetch(corpus, corpus.url, folder, progress, report)
    except OSError as error:
        raise CharrnnError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def find(name: str) -> Corpus:
    """The catalogue's entry for `name`; `UsageError` naming the nearest if there is none."""
    corpora = catalogue()
    if name in corpora:
        return corpora[name]
    near = difflib.get_close_matches(name, corpora, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UsageError(f"no corpus '{name}'; {hint}`charrnn corpus list` shows them all")


def _entry(name: str, table: Any, source: Path) -> Corpus:
    def bad(what: str) -> CharrnnError:
        return CharrnnError(f"{source}: [{name}] {what}")

    if not isinstance(table, dict):
        raise bad("must be a table")
    for key, value in table.items():
        if key not in _KEYS:
            raise bad(f"has an unknown key '{key}'")
        if not isinstance(value, _KEYS[key]) or isinstance(value, bool):
            raise bad(f"has a bad value for '{key}': {value!r}")
    missing = sorted(_KEYS.keys() - _OPTIONAL - table.keys())
    if missing:
        raise bad(f"lacks the key '{missing[0]}'")
    corpus = Corpus(name=name, **table)
    if corpus.unpack is not None and corpus.unpack not in _UNPACK:
        raise bad(f"has a bad value for 'unpack': {corpus.unpack!r}")
    if corpus.clean is not None and corpus.clean not in _CLEANERS:
        raise bad(f"has a bad value for 'clean': {corpus.clean!r}")
    if (corpus.unpack in _ARCHIVES) != (corpus.member is not None):
        raise bad("needs 'member' with a zip or tar, and only there")
    if corpus.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", corpus.sha256):
        raise bad("has a bad value for 'sha256': 64 digits in lower case are wanted")
    return corpus


def _file_name(corpus: Corpus) -> str:
    if corpus.name == "dates":
        return "dates-many.tsv" if dates.has_languages() else "dates-english.tsv"
    if corpus.url is None:  # another Python has another text
        return f"{corpus.name}-{platform.python_version()}.txt"
    return f"{corpus.name}.txt"


def _python_docs() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise CharrnnError("this Python was installed without its documentation (pydoc_data)") from error
    for title in sorted(topics):
        yield topics[title].strip() + "\n\n\n"


def _python_code() -> Iterator[str]:
    root = Path(sysconfig.get_path("stdlib"))
    sources = sorted(_sources(root), key=lambda path: path.relative_to(root).as_posix())
    if not sources:
        raise CharrnnError(f"this Python was installed without its library's sources (none in {root})")
    for source in sources:
        try:
            text = source.read_bytes().decode("utf-8").replace("\r\n", "\n").strip()
        except UnicodeDecodeError:
            continue
        if text:
            yield text + "\n\n\n"


def _sources(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        # In place, so that the walk doesn't enter site-packages, which can be huge.
        folders[:] = [name for name in folders if name not in _NOT_LIBRARY]
        for name in files:
            # `_sysconfigdata` is not source: it records how this one Python was built, paths and all.
            if name.endswith(".py") and not name.startswith("_sysconfigdata"):
                yield Path(folder, name)


def _dates() -> Iterator[str]:
    yield "source\ttarget\n"
    yield from (f"{text}\t{iso}\n" for text, iso in dates.date_pairs())


_MAKERS: dict[str, Callable[[], Iterator[str]]] = {
    "python-docs": _python_docs,
    "python-code": _python_code,
    "dates": _dates,
}


def _fetch(corpus: Corpus, url: str, folder: Path, progress: bool, report: Callable[[str], None]) -> None:
    """Download, check, and write the text of `corpus` and of every other corpus in the same archive."""
    archive = folder / f"{corpus.name}.download"
    if not archive.exists():  # else a run was stopped between downloading and unpacking
        download(url, archive, progress=progress)
    try:
        digest = _digest(archive)
        wanted = [other for other in catalogue().values() if other.url == url]
        missing = [each for each in wanted if not (folder / _file_name(each)).exists()]
        notes = [_verify(each, url, digest, _record_path(folder, each)) for each in missing]
        for each in missing:
            _write(folder / _file_name(each), _text(each, archive))
            _record(_record_path(folder, each), url, digest, archive.stat().st_size)
    except CharrnnError as error:
        archive.unlink()
        raise CharrnnError(f"{corpus.name} from {url}: {error}; the download was deleted") from error
    archive.unlink()
    for note in notes:
        report(note)


def _verify(corpus: Corpus, url: str, digest: str, record: Path) -> str:
    """What can be said for the download's `digest`; raises `CharrnnError` if it should be another."""
    if corpus.sha256 is not None:
        if digest != corpus.sha256:
            raise CharrnnError(f"its sha256 is {digest}, the catalogue's is {corpus.sha256}")
        return f"{corpus.name}: verified, sha256 {digest}"
    known = _recorded(record, url)
    if known is None:
        return f"{corpus.name}: unverified: no published checksum; recorded sha256 {digest} in {record}"
    if digest != known:
        raise CharrnnError(
            f"its sha256 is {digest}, the first download's was {known}; delete {record} to accept the new one"
        )
    return f"{corpus.name}: unverified: no published checksum; the first download had the same sha256 {digest}"


def _record_path(folder: Path, corpus: Corpus) -> Path:
    return folder / f"{corpus.name}.json"


def _record(path: Path, url: str, digest: str, size: int) -> None:
    """Note the first download from `url`; later ones are held against it."""
    if _recorded(path, url) is None:
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        entry = {"url": url, "sha256": digest, "bytes": size, "date": today}
        storage.atomic_write(path, json.dumps(entry, indent=2) + "\n")


def _recorded(path: Path, url: str) -> str | None:
    """The sha256 of the first download from `url`, or None if there was none."""
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
        return str(entry["sha256"]) if entry["url"] == url else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise CharrnnError(f"the record {path} is damaged; delete it") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _text(corpus: Corpus, archive: Path) -> Iterator[str]:
    pieces = _decoded(unpacked(archive, corpus.unpack, corpus.member))
    if corpus.clean is None:
        yield from pieces
    else:  # whole in memory: what needs cleaning is a book, not a benchmark of 100 MB
        yield _CLEANERS[corpus.clean]("".join(pieces))


def _decoded(blocks: Iterable[bytes]) -> Iterator[str]:
    """UTF-8, strictly, without a byte order mark. A web page in place of the text is an error."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    first = True
    try:
        for block in blocks:
            piece = decoder.decode(block)
            if first and re.match(r"\s*<(!doctype html|html)\b", piece, re.IGNORECASE):
                raise CharrnnError("the server answered with a web page, not the text")
            first = False
            yield piece
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise CharrnnError(f"not UTF-8 text ({error.reason})") from error


def _without_licence(text: str) -> str:
    """A Project Gutenberg book between its START and END lines; all of it if it has none."""
    text = text.replace("\r\n", "\n")
    marker = r"^\*\*\* ?{} OF TH(?:E|IS) PROJECT GUTENBERG .*$"
    start = re.search(marker.format("START"), text, re.MULTILINE)
    end = re.search(marker.format("END"), text, re.MULTILINE)
    body = text[start.end() if start else 0 : end.start() if end else None]
    return body.strip() + "\n"


def _joined_characters(text: str) -> str:
    """Mikolov's `a _ c a t` as `a cat`, line by line."""
    return "".join("".join(line.split()).replace("_", " ") + "\n" for line in text.splitlines())


_CLEANERS: dict[str, Callable[[str], str]] = {
    "gutenberg": _without_licence,
    "ptb": _joined_characters,
}


def _write(path: Path, pieces: Iterable[str]) -> None:
    with storage.atomic_path(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        if not temporary.stat().st_size:
            raise CharrnnError("the text is empty")
