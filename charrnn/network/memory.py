"""The memory of this process: what was freed is kept for the next step.

A training step allocates and frees the same large arrays again and again. The C library gives each back to the system,
which fills it with zeros when it is asked for again, page by page: a third of the time of a step with a large
vocabulary.
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of mallopt(3)
NEVER = -1


def _gnu_c_library() -> ctypes.CDLL | None:
    """Other libraries have no mallopt, and are left as they are."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") else None


_library = _gnu_c_library()


def keep_freed_memory() -> None:
    """From now on the process keeps what it frees, up to the most it ever held."""
    if _library is not None:
        _library.mallopt(MMAP_MAX, 0)
        _library.mallopt(TRIM_THRESHOLD, NEVER)


def give_memory_back() -> None:
    """Give what is free at the moment back to the system."""
    if _library is not None:
        _library.malloc_trim(0)
