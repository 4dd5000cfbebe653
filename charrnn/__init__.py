"""Character-level and subword text modelling with recurrent networks.

    model = charrnn.load("model")
    model.generate("Once", temperature=0.8)[0].text
    model.score("some text").bits_per_char

`charrnn.train` makes such a model from text files. Everything is imported when first used.
"""

from typing import TYPE_CHECKING, Any

from charrnn.errors import CharrnnError, UsageError

if TYPE_CHECKING:
    from charrnn.api import load, resume, train

__all__ = ["CharrnnError", "UsageError", "load", "resume", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in ("load", "resume", "train"):
        from charrnn import api

        return getattr(api, name)
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
