"""Texts varied at random: characters replaced, dropped and swapped as in typing, subwords taken apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from charrnn.text.vocab import Ids


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


def bpe_dropout(
    sequences: Sequence[Ids], merges: npt.NDArray[np.int64], share: float, draw: np.random.Generator
) -> list[Ids]:
    """Sequences of ids of the same texts, with this share of the merges (V, 2) undone, and so on among the parts.

    A form of BPE dropout (Provilkov et al. 2020, arXiv 1910.13267), which leaves out merges before they are made.
    """
    ids = np.concatenate(sequences).astype(np.int64)
    owners = np.repeat(np.arange(len(sequences)), list(map(len, sequences)))
    undone = np.ones(len(ids), dtype=bool)
    while True:
        undone &= (merges[ids, 0] >= 0) & (draw.random(len(ids)) < share)
        if not undone.any():
            break
        parts, counts = merges[ids[undone]], 1 + undone
        places = (np.cumsum(counts) - counts)[undone]
        ids, owners, undone = (np.repeat(values, counts) for values in (ids, owners, undone))
        ids[places], ids[places + 1] = parts.T
    ends = np.cumsum(np.bincount(owners, minlength=len(sequences)))
    return np.split(ids.astype(sequences[0].dtype), ends[:-1])
