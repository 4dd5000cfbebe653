"""Texts as what the kernels of the linear model and the word vectors read: code points of words parted by spaces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOKEN = re.compile(r"\w+|[^\w\s]")

Array = npt.NDArray[Any]


def words_of(text: str) -> list[str]:
    """Its words, and signs that are no part of one. Case is left out."""
    return [word.lower() for word in TOKEN.findall(text)]


def code_points(texts: Sequence[str]) -> tuple[Array, Array]:
    """Code points of all texts, and where each starts (N + 1,)."""
    parts = [f" {' '.join([*words_of(text), ''])}" for text in texts]
    starts = np.cumsum([0, *map(len, parts)])
    data = "".join(parts).encode("utf-32-le", errors="surrogatepass")
    return np.frombuffer(data, dtype=np.uint32), starts
