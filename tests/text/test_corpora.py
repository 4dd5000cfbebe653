"""The catalogue, the texts made from the running Python, and the checks on downloaded ones."""

import gzip
import hashlib
import io
import json
import platform
import sysconfig
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import CharrnnError, UsageError
from charrnn.text import corpora

BOOK = (
    "\ufeffThe Project Gutenberg eBook of Nothing\r\n\r\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK NOTHING ***\r\n\r\n\r\n"
    "Chapter I\r\n\r\nÉté — naught.\r\n\r\n"
    "*** END OF THE PROJECT GUTENBERG EBOOK NOTHING ***\r\nlicence, licence\r\n"
).encode()
PTB = b" a _ c a t \n s a t _ o n _ < u n k > \n"


class Site:
    """A server of a few files, and a catalogue that lists them."""

    def __init__(self, server: ThreadingHTTPServer, catalogue: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{server.server_port}/"
        self.catalogue = catalogue
        catalogue.write_text("")
        server.site = self  # type: ignore[attr-defined]

    def offer(self, name: str, file: str, content: bytes, **keys: str) -> None:
        self.files[file] = content
        keys = {"description": "d", "language": "l", "licence": "free", "url": self.address + file, **keys}
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        entry = "\n".join([f"[{name}]", *lines, "download_mb = 0.1", "text_mb = 1", "", ""])
        self.catalogue.write_text(self.catalogue.read_text() + entry)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        name = self.path.removeprefix("/")
        site.asked.append(name)
        self.send_response(200)
        self.send_header("Content-Length", str(len(site.files[name])))
        self.end_headers()
        self.wfile.write(site.files[name])

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def site(server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    catalogue = tmp_path / "catalogue.toml"
    monkeypatch.setattr(corpora, "catalogue_path", lambda: catalogue)
    return Site(server, catalogue)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "corpora"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fetched(name: str) -> tuple[Path, list[str]]:
    notes: list[str] = []
    return corpora.get(name, report=notes.append), notes


def test_every_entry_of_the_catalogue_says_all_it_should() -> None:
    entries = corpora.catalogue().values()
    for entry in entries:
        assert entry.name == entry.name.lower().strip()
        assert entry.description
        assert entry.licence
        assert entry.text_mb > 0
        if entry.url is not None:
            assert entry.url.startswith("https://")
            assert entry.download_mb > 0
    assert {"tiny-shakespeare", "text8", "enwik8", "ptb-char", "war-and-peace"} <= {e.name for e in entries}
    assert len({entry.language for entry in entries}) > 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('colour = "red"', "unknown key 'colour'"),
        ("text_mb = true", "bad value for 'text_mb'"),
        ("url = 3", "bad value for 'url'"),
        ('unpack = "rar"', "bad value for 'unpack'"),
        ('unpack = "zip"', "needs 'member'"),
        ('member = "a.txt"', "needs 'member'"),
        ('clean = "soap"', "bad value for 'clean'"),
        ('sha256 = "abc"', "bad value for 'sha256'"),
        ("language =", "cannot read the catalogue"),
        ("", "lacks the key 'text_mb'"),
    ],
)
def test_a_bad_catalogue_is_an_error_that_names_the_key(site: Site, change: str, complaint: str) -> None:
    keys = ['description = "d"', 'language = "l"', 'licence = "free"', 'url = "https://a"', "download_mb = 1"]
    if change:
        keys = [key for key in keys if key.split()[0] != change.split()[0]]
        keys.append("text_mb = 1" if "text_mb" not in change else "")
    site.catalogue.write_text("\n".join(["[bad]", *keys, change]))
    with pytest.raises(CharrnnError, match=complaint) as caught:
        corpora.catalogue()
    assert str(site.catalogue) in str(caught.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"did you mean 'tiny-shakespeare'\?.*charrnn corpus list"):
        corpora.get("tiny-shakespere")


@pytest.mark.parametrize("name", ["python-docs", "python-code"])
def test_a_built_in_text_is_the_same_each_time_and_named_for_its_python(name: str, tmp_path: Path, cache: Path) -> None:
    path = corpora.get(name)
    assert path == cache / f"{name}-{platform.python_version()}.txt"
    text = path.read_text(encoding="utf-8")
    assert len(text) > 100_000
    again = corpora.get(name, tmp_path / "elsewhere")
    assert again.read_bytes() == path.read_bytes()


def test_python_docs_are_the_topics_in_order_of_their_names() -> None:
    text = corpora.get("python-docs").read_text(encoding="utf-8")
    assert 0 <= text.index('The "assert" statement') < text.index('The "while" statement')


def test_python_code_is_the_library_without_tests_and_what_is_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "test" / "lib"  # a folder above the library doesn't count
    kept = {"b.py": "b = 1\r\n", "a/z.py": "z = 'é'\n", "a/empty.py": ""}
    left = [
        "test/t.py",
        "a/tests/t.py",
        "site-packages/s.py",
        "a/__pycache__/c.py",
        "_sysconfigdata_x.py",
        "n.txt",
    ]
    for name in [*kept, *left]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(kept.get(name, "unwanted").encode())
    (root / "latin.py").write_bytes("# é\n".encode("latin-1"))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(root))
    assert corpora.get("python-code").read_text(encoding="utf-8") == "z = 'é'\n\n\nb = 1\n\n\n"


def test_a_text_is_downloaded_once(site: Site, cache: Path) -> None:
    site.offer("plain", "plain.txt", "één\n".encode())
    path, notes = fetched("plain")
    assert path == cache / "plain.txt"
    assert path.read_text(encoding="utf-8") == "één\n"
    assert fetched("plain") == (path, [])
    assert site.asked == ["plain.txt"]
    assert len(notes) == 1


def test_without_a_published_checksum_the_first_one_is_recorded_and_enforced(site: Site, cache: Path) -> None:
    site.offer("plain", "plain.txt", b"text\n")
    path, notes = fetched("plain")
    digest = hashlib.sha256(b"text\n").hexdigest()
    assert notes == [f"plain: unverified: no published checksum; recorded sha256 {digest} in {cache / 'plain.json'}"]
    record = json.loads((cache / "plain.json").read_text())
    assert (record["sha256"], record["bytes"], record["url"]) == (digest, 5, site.address + "plain.txt")

    path.unlink()
    assert "same sha256" in fetched("plain")[1][0]

    path.unlink()
    site.files["plain.txt"] = b"other\n"
    other = hashlib.sha256(b"other\n").hexdigest()
    with pytest.raises(CharrnnError, match=f"{other}.*{digest}.*delete"):
        corpora.get("plain")
    assert names(cache) == ["plain.json"]

    (cache / "plain.json").unlink()
    assert corpora.get("plain").read_bytes() == b"other\n"


def test_a_published_checksum_is_enforced(site: Site, cache: Path) -> None:
    content = gzip.compress(b"text\n")
    good = hashlib.sha256(content).hexdigest()
    site.offer("good", "file.gz", content, unpack="gz", sha256=good)
    site.offer("bad", "copy.gz", content, unpack="gz", sha256="0" * 64)
    path, notes = fetched("good")
    assert path.read_bytes() == b"text\n"
    assert notes == [f"good: verified, sha256 {good}"]
    with pytest.raises(CharrnnError, match=f"{good}.*{'0' * 64}"):
        corpora.get("bad")
    assert "bad" not in "".join(names(cache))


@pytest.mark.parametrize(
    ("content", "unpack", "complaint"),
    [
        (b"<!DOCTYPE html><html></html>", "", "web page"),
        (b"<html></html>", "gz", "not a whole gz file"),
        (b"\xff\xfe", "", "not UTF-8"),
        ("é".encode()[:1], "", "not UTF-8"),
        (b"", "", "empty"),
    ],
)
def test_what_is_not_a_text_is_one_line_and_leaves_nothing(
    site: Site, cache: Path, content: bytes, unpack: str, complaint: str
) -> None:
    site.offer("odd", "odd", content, **({"unpack": unpack} if unpack else {}))
    with pytest.raises(CharrnnError, match=complaint) as caught:
        corpora.get("odd")
    assert "\n" not in str(caught.value)
    assert site.address in str(caught.value)
    assert names(cache) == []


def test_a_book_comes_without_licence_byte_order_mark_and_carriage_returns(site: Site) -> None:
    site.offer("book", "book.txt", BOOK, clean="gutenberg")
    assert fetched("book")[0].read_bytes() == "Chapter I\n\nÉté — naught.\n".encode()


def test_all_texts_of_one_archive_come_with_one_download(site: Site, cache: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {"./data/train.txt": PTB, "./data/test.txt": b" d o g \n"}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    for part in ("train", "test"):
        site.offer(part, "all.tgz", buffer.getvalue(), unpack="tar", member=f"*/{part}.txt", clean="ptb")
    assert fetched("train")[0].read_text() == "a cat\nsat on <unk>\n"
    assert fetched("test")[0].read_text() == "dog\n"
    assert site.asked == ["all.tgz"]
    assert names(cache) == ["test.json", "test.txt", "train.json", "train.txt"]


def test_a_download_that_was_not_unpacked_yet_is_not_fetched_again(site: Site, cache: Path) -> None:
    site.offer("plain", "plain.txt", b"text\n")
    cache.mkdir(parents=True)
    (cache / "plain.download").write_bytes(b"text\n")
    assert fetched("plain")[0].read_bytes() == b"text\n"
    assert site.asked == []
    assert names(cache) == ["plain.json", "plain.txt"]
