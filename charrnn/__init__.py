"""Character-level and subword text modelling with recurrent networks.

    model = charrnn.load("model")
    model.generate("Once", temperature=0.8)[0].text
    model.score("some text").bits_per_char

`charrnn.train` makes such a model from text files, `charrnn.train_classifier` one that labels texts (and
`charrnn.TextClassifier` is the same as scikit-learn has it), `charrnn.train_seq2seq` one that translates or summarizes.
Everything is imported when first used.
"""

from typing import TYPE_CHECKING, Any

from charrnn.errors import CharrnnError, UsageError

if TYPE_CHECKING:
    from charrnn.api import (
        TextClassifier,
        load,
        resume,
        resume_classifier,
        resume_seq2seq,
        train,
        train_classifier,
        train_seq2seq,
    )

__all__ = [
    "CharrnnError",
    "TextClassifier",
    "UsageError",
    "load",
    "resume",
    "resume_classifier",
    "resume_seq2seq",
    "train",
    "train_classifier",
    "train_seq2seq",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in __all__:  # the errors are here already
        from charrnn import api

        return getattr(api, name)
    raise AttributeError(f"module 'charrnn' has no attribute {name!r}")
