"""An n-gram model of characters for each class: how likely a text is among the texts of the class.

A naive Bayes classifier that knows in what order characters come (Peng, Schuurmans and Wang 2004). Alone it is near the
others on single words, behind them on longer texts; as it learns what a class is like, not what tells it from others,
it errs elsewhere.

Shapes: N texts, C classes, K characters, R n-grams of all classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn.text.ngram_model import END, START, NGramModel

MOST_CLASSES = 100  # each has to read every text
MOST_CHARS = 4_000_000  # of the texts that are learned from
NAMES = ("characters", "starts", "keys", "log_p", "log_backoff", "log_unknown", "log_prior")

Array = npt.NDArray[Any]


class ClassNGrams:
    """`scores(points, starts)`: (N, C), log-probabilities in nats."""

    def __init__(self, order: int, characters: Array, models: Sequence[NGramModel], log_prior: Array) -> None:
        """`characters` (K,) that training texts have, in order, the model of each class, and log_prior (C,)."""
        self.order, self.characters, self.models, self.log_prior = order, characters, tuple(models), log_prior

    @classmethod
    def fit(cls, points: Array, starts: Array, belongs: Array, order: int, *, balanced: bool = False) -> ClassNGrams:
        """Train on texts as `code_points` gives them, and their classes, belongs (N, C) true or false, one for each.

        `balanced`: classes are as likely as each other before a text is read.
        """
        characters = np.unique(points).astype(np.int64)
        texts = [points[start:end] for start, end in pairwise(starts.tolist())]
        stride = -(-len(points) // MOST_CHARS)
        models = []
        for of_class in belongs.T:
            own = [2 + np.searchsorted(characters, texts[i]) for i in np.flatnonzero(of_class)[::stride]]
            models.append(_rounded(NGramModel.learn(own or [texts[0][:0]], len(characters) + 3, order)))
        share = np.ones(belongs.shape[1]) if balanced else belongs.mean(0).clip(1 / len(texts))
        return cls(order, characters, models, np.log(share / share.sum()).astype(np.float32))

    def scores(self, points: Array, starts: Array) -> Tensor:
        """How likely each text is, with its class: texts as `code_points` gives them → (N, C)."""
        places = np.searchsorted(self.characters, points).clip(max=len(self.characters) - 1)
        known = self.characters[places] == points
        ids = np.insert(2 + np.where(known, places, len(self.characters)), starts[:-1], START)
        ids = np.insert(ids, starts[1:] + np.arange(1, len(starts)), END)
        begins = starts + 2 * np.arange(len(starts))
        found = np.stack([model.log_likelihoods(ids, begins) for model in self.models], axis=1)
        return torch.from_numpy((found + self.log_prior).astype(np.float32))

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of it, by name."""
        joined = {name: np.concatenate([getattr(model, name) for model in self.models]) for name in NAMES[2:5]}
        arrays = {
            "characters": self.characters,
            "starts": np.cumsum([0, *(len(model.keys) for model in self.models)]),
            "keys": joined["keys"].view(np.int64),
            "log_p": joined["log_p"].astype(np.float16),
            "log_backoff": joined["log_backoff"].astype(np.float16),
            "log_unknown": np.array([model.log_unknown for model in self.models]),
            "log_prior": self.log_prior,
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, order: int, tensors: dict[str, Tensor]) -> ClassNGrams:
        """What `tensors` gave. Raises KeyError or ValueError if it is not whole."""
        characters, starts, keys, log_p, log_backoff, log_unknown, log_prior = (tensors[name].numpy() for name in NAMES)
        if not len(starts) - 1 == len(log_unknown) == len(log_prior) or not len(keys) == len(log_p) == len(log_backoff):
            raise ValueError("the n-gram models of the classes do not fit each other")
        models = [
            NGramModel(
                keys[start:end].view(np.uint64),
                log_p[start:end].astype(np.float32),
                log_backoff[start:end].astype(np.float32),
                float(unknown),
                order,
            )
            for (start, end), unknown in zip(pairwise(starts.tolist()), log_unknown, strict=True)
        ]
        return cls(order, characters, models, log_prior)


def _rounded(model: NGramModel) -> NGramModel:
    """In half precision, as it is saved, so that a model gives the same after loading."""
    log_p, log_backoff = (array.astype(np.float16).astype(np.float32) for array in (model.log_p, model.log_backoff))
    return NGramModel(model.keys, log_p, log_backoff, model.log_unknown, model.order)
