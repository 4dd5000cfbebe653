"""Where things lie on disk, and how they are written: whole or not at all."""

import glob
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from charrnn.errors import UsageError

HOST = re.sub(r"\W", "_", socket.gethostname())  # numbers of processes tell them apart on one machine only


def cache_dir(*parts: str) -> Path:
    """The folder for encoded text and downloaded corpora, or a folder in it; made if missing.

    `$CHARRNN_CACHE`, else `$XDG_CACHE_HOME/charrnn`, else `~/.cache/charrnn`. Only its owner can read it,
    since encoded private text is still private text.
    """
    configured = os.environ.get("CHARRNN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(configured) if configured else Path(home) / "charrnn"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = root.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def require_replaceable(path: Path) -> None:
    """Raise UsageError where no file can be put: a folder, a device, no folder to put it in."""
    _require_file_or_nothing(path)
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to put {path.name} in")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; put it in `path`'s place when the block ends well.

    A reader, or a run killed at any moment, sees the old file or the new one, never a part. If the block
    raises (a full disk, Ctrl-C), the temporary file goes and `path` stays as it was. Raises UsageError for a folder
    or a device.
    """
    _require_file_or_nothing(path)
    _clear_abandoned(path)
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}.partial")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # some writers make their files private to their owner
        yield temporary
        temporary.chmod(mode)
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def atomic_write(path: Path, data: str | bytes) -> None:
    """Write `data` (text as UTF-8, lone surrogates as "?") to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8", errors="replace") if isinstance(data, str) else data)


def _require_file_or_nothing(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: is a folder: give the name of a file in it")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no file that could be replaced")


def _clear_abandoned(path: Path) -> None:
    """Remove what a killed process left of an earlier write of `path`."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.{HOST}-*.partial"):
        try:
            os.kill(int(partial.stem.rpartition("-")[2]), 0)
        except ProcessLookupError:
            partial.unlink(missing_ok=True)
        except (ValueError, PermissionError):
            continue  # not ours, or its writer is alive


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
