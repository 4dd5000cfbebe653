"""Typing mistakes drawn at random: characters replaced, dropped and swapped."""

from __future__ import annotations

import numpy as np


def add_noise(text: str, share: float, letters: str, draw: np.random.Generator) -> str:
    """`text` with about this share of its characters changed, each in one of three ways, equally often.

    A character is replaced by one of `letters`, dropped, or swapped with the next.
    """
    characters = list(text)
    for place in np.flatnonzero(draw.random(len(text)) < share).tolist():
        way = draw.integers(3)
        if way == 0:
            characters[place] = letters[draw.integers(len(letters))]
        elif way == 1:
            characters[place] = ""
        elif place + 1 < len(characters):
            characters[place], characters[place + 1] = characters[place + 1], characters[place]
    return "".join(characters)
