"""The models beside a classifier's network: what they count in texts takes seconds to learn, and errs elsewhere.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from charrnn.tasks.classifier.class_ngrams import ClassNGrams
from charrnn.tasks.classifier.linear import LinearConfig, LinearModel, as_meant


@dataclass(frozen=True)
class Beside:
    """A linear model, and n-gram models of the classes, which read unknown words as it does."""

    linear: LinearModel
    ngrams: ClassNGrams | None  # none for very many classes, or where a text has several labels

    def scores(self, texts: Sequence[str]) -> list[Tensor]:
        """Those of each model, (N, C)."""
        read = as_meant(texts, self.linear.spelling)
        scores = [self.linear.scores(*read)]
        return scores if self.ngrams is None else [*scores, self.ngrams.scores(*read)]

    def tensors(self) -> dict[str, Tensor]:
        """What is saved of them, by name."""
        parts = {"linear": self.linear.tensors(), "ngrams": {} if self.ngrams is None else self.ngrams.tensors()}
        return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, config: LinearConfig, tensors: Mapping[str, Tensor], num_classes: int) -> Beside:
        """What `tensors` gave, others among them. Raises KeyError or ValueError if it is not whole."""
        linear = LinearModel.from_tensors(config, under("linear", tensors))
        own = under("ngrams", tensors)
        ngrams = ClassNGrams.from_tensors(config.class_chars, own) if own else None
        if linear.bias.shape != (num_classes,) or (ngrams is not None and len(ngrams.models) != num_classes):
            raise ValueError("the models beside the network have another number of labels")
        return cls(linear, ngrams)


def under(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of one part, without its name before theirs."""
    start = f"{part}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
