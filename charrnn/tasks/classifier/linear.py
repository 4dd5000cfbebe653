"""A linear support vector machine over n-grams of characters, words, pairs of near words, and of the first words with
all others: what a text says, however it is arranged.

All are hashed into buckets; those that training texts hold become features, weighted by term frequency times inverse
document frequency. What a text's words mean, where word vectors are given, are a few hundred features more. One machine
a class tells it from all others. Where a spelling is given, texts with words that training texts do not hold are first
read as they were probably meant. Copies of the training texts with typing mistakes, which it may learn from too, add no
features of their own.

Shapes: N texts, F features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.tasks.classifier import kernels
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.tokens import code_points
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.classifier.words import WordVectors

NUM_BUCKETS = 1 << 23
MAX_FEATURES = 1 << 20
MAX_WEIGHTS = 1 << 24  # F·C at most: many classes leave room for fewer features
MAX_VISITS = 1e10  # of features while training: very many texts of very many classes get fewer epochs
MAX_EPOCHS = 50
OPENING_WORDS = 40  # of a text, which its first two are paired with

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LinearConfig:
    """What the models beside the network look at, and how freely they fit."""

    min_chars: int = 1  # n-grams of characters, within words
    max_chars: int = 5
    pair_distance: int = 4  # of two words in a text that count as a pair, at most; the beginning is a word too
    openings: bool = True  # the first two words of a text may be paired with each of the others
    min_texts: int = 1  # of training in which a feature occurs
    svm_cost: float = 1.0  # the higher, the closer the fit to the training texts
    spelling: bool = True  # unknown words may be read as known ones
    noisy_copies: int = 4  # of training texts, with typing mistakes, at most; none unless unknown words are respelled
    self_training: float = 3.0  # times as many texts of each label are heard, at most, from text without labels
    class_chars: int = 5  # of an n-gram in the model of each class, at most; 0: no such models
    refit: bool = True  # once all is chosen: on what was split off for validation too

    def __post_init__(self) -> None:
        if not 1 <= self.min_chars <= self.max_chars:
            raise UsageError(f"min_chars must lie between 1 and max_chars, not {self.min_chars}")
        for name in ("pair_distance", "min_texts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("noisy_copies", "self_training", "class_chars"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be a number from 0 on, not {getattr(self, name)}")
        if not self.svm_cost > 0:
            raise UsageError(f"svm_cost must be above 0, not {self.svm_cost}")


class LinearModel:
    """`scores(*as_meant(texts, spelling))`: (N, C), the higher the likelier."""

    def __init__(
        self,
        config: LinearConfig,
        buckets: Array,
        idf: Array,
        weight: Tensor,
        bias: Tensor,
        words: WordVectors | None = None,
        spelling: Spelling | None = None,
    ) -> None:
        """buckets (F,), idf (F,), weight (F, C), its last rows those of the words' features, and bias (C,)."""
        self.config = config
        self.words = words
        self.spelling = spelling
        self.buckets, self.idf = buckets, idf
        self.weight, self.bias = weight, bias
        self.feature_of = np.full(NUM_BUCKETS, -1, dtype=np.int32)
        self.feature_of[buckets] = np.arange(len(buckets), dtype=np.int32)

    @classmethod
    def fit(
        cls,
        points: Array,
        starts: Array,
        belongs: Array,
        config: LinearConfig,
        *,
        words: WordVectors | None = None,
        spelling: Spelling | None = None,
        balanced: bool = False,
        seed: int = 0,
    ) -> LinearModel:
        """Train on N texts, as `as_meant` gives them, and their classes, belongs (N, C) true or false. Behind the texts
        copies of them with typing mistakes may stand, all in the same order, any number of times over. `balanced`: rare
        classes weigh more."""
        num_texts, num_classes = belongs.shape
        counts = kernels.document_counts(points, starts[: num_texts + 1], *_reach(config), NUM_BUCKETS)
        found = np.flatnonzero(counts >= config.min_texts)
        if not len(found):
            raise UsageError(f"no word or run of characters is in {config.min_texts} texts: lower min_texts")
        limit = min(MAX_FEATURES, MAX_WEIGHTS // num_classes)
        buckets = np.sort(found[np.argsort(-counts[found], kind="stable")[:limit]])
        idf = (np.log((1 + num_texts) / (1 + counts[buckets])) + 1).astype(np.float32)
        num_features = len(buckets) + (0 if words is None else words.num_features)
        empty = torch.zeros(num_features, num_classes)
        model = cls(config, buckets.astype(np.int32), idf, empty, torch.zeros(num_classes), words, spelling)
        offsets, features, values = model._features(points, starts)
        epochs = int(np.clip(MAX_VISITS / (len(features) * num_classes + 1), 3, MAX_EPOCHS))
        share = belongs.mean(0).clip(1 / num_texts)
        belongs = np.tile(belongs, ((len(starts) - 1) // num_texts, 1))
        own_costs = config.svm_cost / (num_classes * share) if balanced else np.full(num_classes, config.svm_cost)
        weights = kernels.train_svm(
            *(offsets, features, values, np.ascontiguousarray(belongs.T), config.svm_cost, own_costs.astype(float)),
            *(num_features, epochs, 0.01, seed),
        )
        # Half precision, as it is saved, so that a model gives the same after loading.
        weight = torch.from_numpy(weights[:, :-1]).half().float().T.contiguous()
        return cls(config, model.buckets, idf, weight, torch.from_numpy(weights[:, -1].copy()), words, spelling)

    def scores(self, points: Array, starts: Array) -> Tensor:
        """Distance of each text, as `as_meant` gives it, from the border of each class: (N, C), positive inside."""
        offsets, features, values = map(torch.from_numpy, self._features(points, starts))
        sums = F.embedding_bag(
            features.long(),
            self.weight,
            offsets,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        )
        return sums + self.bias

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of it, by name."""
        return {
            "buckets": torch.from_numpy(self.buckets),
            "idf": torch.from_numpy(self.idf),
            "weight": self.weight.half(),
            "bias": self.bias,
            **({} if self.words is None else self.words.tensors()),
            **({} if self.spelling is None else self.spelling.counts.tensors()),
        }

    @classmethod
    def from_tensors(cls, config: LinearConfig, tensors: dict[str, Tensor]) -> LinearModel:
        """What `tensors` gave. Raises KeyError or ValueError if it is not whole."""
        buckets, idf, weight, bias = (tensors[name] for name in ("buckets", "idf", "weight", "bias"))
        words = WordVectors.from_tensors(tensors)
        num_features = len(buckets) + (0 if words is None else words.num_features)
        if len(buckets) != len(idf) or len(weight) != num_features or weight.shape[1:] != bias.shape:
            raise ValueError("the parts of the linear model do not fit each other")
        if len(buckets) and not 0 <= int(buckets.min()) <= int(buckets.max()) < NUM_BUCKETS:
            raise ValueError("the linear model has buckets out of range")
        counts = WordCounts.from_tensors(tensors)
        spelling = None if counts is None else Spelling(counts)
        return cls(config, buckets.numpy(), idf.numpy(), weight.float(), bias, words, spelling)

    def _features(self, points: Array, starts: Array) -> tuple[Array, Array, Array]:
        """Sparse: offsets (N + 1,), features (…,) and values (…,) of text after text."""
        kinds = (self.buckets & 3).astype(np.int64)
        offsets, features, values = kernels.feature_values(
            points, starts, *_reach(self.config), self.feature_of, kinds, self.idf
        )
        if self.words is None:
            return offsets, features, values
        dense = self.words.features(points, starts).numpy()  # of each text, behind the sparse ones
        ends, numbers = offsets[1:, None], np.arange(dense.shape[1], dtype=np.int32)
        places = np.broadcast_to(ends, dense.shape).ravel()
        features = np.insert(features, places, np.broadcast_to(numbers + np.int32(len(self.idf)), dense.shape).ravel())
        values = np.insert(values, places, dense.ravel())
        return offsets + dense.shape[1] * np.arange(len(offsets)), features, values


def as_meant(texts: Sequence[str], spelling: Spelling | None) -> tuple[Array, Array]:
    """Code points of texts and where each starts (N + 1,), as they were probably meant where a spelling is given."""
    points, starts = code_points(texts)
    return (points, starts) if spelling is None else spelling.correct(points, starts)


def _reach(config: LinearConfig) -> tuple[tuple[int, int], int, int]:
    return (config.min_chars, config.max_chars), config.pair_distance, OPENING_WORDS if config.openings else 0
