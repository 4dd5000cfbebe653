"""Files are written whole or not at all, and the cache is its owner's alone."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from charrnn.errors import UsageError
from charrnn.storage import HOST, atomic_path, atomic_write, cache_dir, require_replaceable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o027, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("data", ["Été\r\n日本\n", "", b"\x00\xff\r\n"])
def test_what_is_written_replaces_the_old_file_whole(data: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old and much longer than what comes")
    atomic_write(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert names(tmp_path) == ["file"]


def test_the_old_file_stays_in_place_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


def write_half(path: Path, error: type[BaseException]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", ["old", None])
def test_an_error_leaves_everything_as_it_was(error: type[BaseException], old: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error):
        write_half(path, error)
    assert names(tmp_path) == (["file"] if old else [])
    assert old is None or path.read_text() == old


def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing" / "file"):
        with pytest.raises(UsageError):
            require_replaceable(path)
        with pytest.raises((UsageError, FileNotFoundError)):
            atomic_write(path, "new")
    assert names(tmp_path) == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_name_that_is_no_unicode_can_be_written_of(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", os.fsdecode(b"caf\xe9 \xc3\xa9"))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "caf? é"


KILLED = """
import os, sys
from pathlib import Path
from charrnn.storage import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("name", ["file", "odd [name]*.json"])
def test_what_a_killed_process_left_is_removed_by_the_next_write(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    atomic_write(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == [name]


def test_what_a_living_process_is_writing_is_kept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        theirs = tmp_path / f".file.{HOST}-{process.pid}.partial"
        theirs.write_text("half")
        not_ours = tmp_path / ".file.another-1.partial"
        not_ours.write_text("somebody's")
        atomic_write(tmp_path / "file", "new")
        process.communicate(b"\n")
    assert names(tmp_path) == sorted([theirs.name, not_ours.name, "file"])


def test_the_mode_of_a_file_follows_the_umask(umask: int, tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", "text")
    with atomic_path(tmp_path / "from a private writer") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert mode(tmp_path / "file") == mode(tmp_path / "from a private writer") == 0o666 & ~umask


def test_the_cache_lies_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.delenv("CHARRNN_CACHE")
    assert cache_dir("a", "b") == tmp_path / "xdg" / "charrnn" / "a" / "b"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir("a") == tmp_path / "home" / ".cache" / "charrnn" / "a"
    assert cache_dir("a").is_dir()


def test_nobody_else_can_read_the_cache(umask: int, tmp_path: Path) -> None:
    assert cache_dir("ids").is_dir()
    assert mode(cache_dir()) == 0o700
