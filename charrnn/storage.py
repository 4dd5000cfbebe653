"""Where things lie on disk, and how they are written: whole or not at all."""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; put it in `path`'s place when the block ends well.

    A reader, or a run killed at any moment, sees the old file or the new one, never a part. If the block
    raises (a full disk, Ctrl-C), the temporary file goes and `path` stays as it was.
    """
    _clear_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
    """Write `data` (text as UTF-8) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def _clear_abandoned(path: Path) -> None:
    """Remove what a killed process left of an earlier write of `path`."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        try:
            os.kill(int(partial.name.split(".")[-2]), 0)
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
