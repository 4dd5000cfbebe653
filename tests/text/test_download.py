"""Downloads against a server that breaks off, changes its file, or knows no ranges."""

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import CharrnnError, UsageError
from charrnn.text import download as module
from charrnn.text.download import download, unpacked

BODY = bytes(range(256)) * 40


@dataclass
class Site:
    """What the server serves, how often it breaks off, and what it was asked for."""

    url: str = ""
    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"one"'})
    ranges: bool = True
    heeds_if_range: bool = True
    status: int = 0  # answer with this error instead
    cuts: list[int] = field(default_factory=list)  # bytes to send before hanging up, answer by answer
    cut_always: int | None = None
    asked: list[str | None] = field(default_factory=list)  # the Range of each request

    def cut(self) -> int | None:
        return self.cuts.pop(0) if self.cuts else self.cut_always


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        asked = self.headers.get("Range")
        site.asked.append(asked)
        if site.status:
            self.send_error(site.status)
            return
        same = self.headers.get("If-Range") in (*site.headers.values(), None) or not site.heeds_if_range
        if asked and site.ranges and same:
            self.answer_part(site, int(asked.removeprefix("bytes=").removesuffix("-")))
        else:
            self.answer(200, site, site.body, {})

    def answer_part(self, site: Site, start: int) -> None:
        total = len(site.body)
        if start < total:
            self.answer(206, site, site.body[start:], {"Content-Range": f"bytes {start}-{total - 1}/{total}"})
        else:
            self.answer(416, site, b"", {"Content-Range": f"bytes */{total}"})

    def answer(self, status: int, site: Site, content: bytes, extra: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**site.headers, **extra, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content[: site.cut()])

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
def site(server: ThreadingHTTPServer) -> Site:
    return serve(server, Site())


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


def serve(server: Any, site: Site) -> Site:
    site.url = f"http://127.0.0.1:{server.server_port}/file"
    server.site = site
    return site


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_download_gives_the_served_bytes_and_leaves_nothing_else(site: Site, tmp_path: Path) -> None:
    download(site.url, tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == BODY
    assert names(tmp_path / "new") == ["file"]
    assert site.asked == [None]


def test_a_broken_download_is_resumed_from_where_it_broke(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000, 500]
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.asked == [None, "bytes=1000-", "bytes=1500-"]


def test_last_modified_does_where_there_is_no_strong_etag(site: Site, tmp_path: Path) -> None:
    site.headers = {"ETag": 'W/"weak"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    site.cuts = [1000]
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.asked == [None, "bytes=1000-"]


@settings(max_examples=25)
@given(
    cuts=st.lists(st.integers(0, len(BODY)), max_size=12),
    ranges=st.booleans(),
    headers=st.sampled_from([{}, {"ETag": '"one"'}, {"ETag": 'W/"one"'}]),
)
def test_however_often_it_breaks_the_bytes_are_the_served_ones(
    server: Any, cuts: list[int], ranges: bool, headers: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = serve(server, Site(cuts=list(cuts), ranges=ranges, headers=headers))
        path = Path(folder) / "file"
        for _ in range(len(cuts) + 1):
            try:
                download(site.url, path)
                break
            except CharrnnError:
                assert not path.exists()
        assert path.read_bytes() == BODY
        assert names(Path(folder)) == ["file"]


def test_always_broken_off_is_one_line_and_the_part_is_kept_and_resumed(site: Site, tmp_path: Path) -> None:
    site.cuts, site.cut_always = [1000], 0
    with pytest.raises(CharrnnError, match=r"broke off at 1,000 bytes .* resumes") as caught:
        download(site.url, tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert site.url in str(caught.value)
    assert len(site.asked) == module.ATTEMPTS
    assert (tmp_path / "file.part").read_bytes() == BODY[:1000]

    site.cut_always, site.asked = None, []
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.asked == ["bytes=1000-"]


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_changed_in_between_is_fetched_anew(site: Site, tmp_path: Path, heeds_if_range: bool) -> None:
    leave_a_part(site, tmp_path / "file")
    site.body, site.headers, site.heeds_if_range = BODY[::-1], {"ETag": '"two"'}, heeds_if_range
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[::-1]


def test_a_part_of_another_address_is_not_resumed(site: Site, tmp_path: Path) -> None:
    leave_a_part(site, tmp_path / "file")
    site.body = BODY[::-1]  # under the same ETag
    download(site.url + "?other", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[::-1]


def test_a_server_without_ranges_is_asked_for_everything_again(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [1000]
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("extra", [b"", b"more than the file has"])
def test_a_part_as_long_as_the_file_or_longer_is_finished(site: Site, tmp_path: Path, extra: bytes) -> None:
    leave_a_part(site, tmp_path / "file")
    (tmp_path / "file.part").write_bytes(BODY + extra)
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_ctrl_c_keeps_the_part(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(answer: Any) -> Iterator[bytes]:
        yield answer.read(700)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download(site.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    download(site.url, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert site.asked == [None, "bytes=700-"]


def test_two_at_once_do_not_write_to_the_same_part(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (tmp_path / "file.part").open("ab") as other:
        module._lock(other, tmp_path / "file.part")
        with pytest.raises(CharrnnError, match="another process"):
            download(site.url, tmp_path / "file")


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, module.ATTEMPTS)])
def test_a_refusal_names_the_address_and_only_a_passing_one_is_retried(
    site: Site, tmp_path: Path, status: int, requests: int
) -> None:
    site.status = status
    with pytest.raises(CharrnnError, match=str(status)) as caught:
        download(site.url, tmp_path / "file")
    assert site.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(site.asked) == requests


def test_a_server_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(CharrnnError, match="could not be downloaded") as caught:
        download(f"http://127.0.0.1:{port}/file", tmp_path / "file")
    assert "\n" not in str(caught.value)


def test_only_the_web_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only https and http"):
        download(Path(__file__).as_uri(), tmp_path / "file")


def test_a_folder_that_cannot_be_written_is_one_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(CharrnnError, match="cannot write"):
        download(site.url, tmp_path / "taken" / "file")


def leave_a_part(site: Site, path: Path) -> None:
    """A download that broke off at byte 1000."""
    site.cuts, site.cut_always = [1000], 0
    with pytest.raises(CharrnnError):
        download(site.url, path)
    site.cut_always = None


FILES = {"top/b.txt": b"second ", "top/a.txt": b"first ", "top/deep/a.md": b"no", "top/c.txt": BODY * 40}
JOINED = FILES["top/a.txt"] + FILES["top/b.txt"] + FILES["top/c.txt"]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PACKED = [
    pytest.param(None, None, JOINED, id="plain"),
    pytest.param("gz", None, gzip.compress(JOINED), id="gz"),
    pytest.param("bz2", None, bz2.compress(JOINED), id="bz2"),
    pytest.param("xz", None, lzma.compress(JOINED), id="xz"),
    pytest.param("zip", "top/?.txt", zipped(), id="zip"),
    pytest.param("tar", "top/?.txt", tarred("w"), id="tar"),
    pytest.param("tar", "top/?.txt", tarred("w:gz"), id="tar.gz"),
    pytest.param("tar", "top/?.txt", tarred("w:xz"), id="tar.xz"),
]


@pytest.mark.parametrize(("unpack", "member", "packed"), PACKED)
def test_unpacking_gives_the_bytes_back_in_small_blocks(
    tmp_path: Path, unpack: str | None, member: str | None, packed: bytes
) -> None:
    (tmp_path / "archive").write_bytes(packed)
    blocks = list(unpacked(tmp_path / "archive", unpack, member))
    assert b"".join(blocks) == JOINED
    assert max(len(block) for block in blocks) <= module.BLOCK_BYTES
    assert names(tmp_path) == ["archive"]


@pytest.mark.parametrize("damage", ["cut", "web page"])
@pytest.mark.parametrize(("unpack", "member", "packed"), PACKED[1:])
def test_a_damaged_archive_is_one_line(
    tmp_path: Path, unpack: str | None, member: str | None, packed: bytes, damage: str
) -> None:
    damaged = packed[: len(packed) // 2] if damage == "cut" else b"<!DOCTYPE html><html></html>"
    (tmp_path / "archive").write_bytes(damaged)
    with pytest.raises(CharrnnError) as caught:
        list(unpacked(tmp_path / "archive", unpack, member))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("unpack", "packed"), [("zip", zipped()), ("tar", tarred("w:gz"))])
def test_a_member_that_is_not_there_is_named(tmp_path: Path, unpack: str, packed: bytes) -> None:
    (tmp_path / "archive").write_bytes(packed)
    with pytest.raises(CharrnnError, match=r"no file 'other\.txt'"):
        list(unpacked(tmp_path / "archive", unpack, "other.txt"))
