"""From scores to probabilities that mean what they say.

The network's logits, the linear model's scores and those of the classes' n-gram models are added, each times a weight
fitted on validation texts (its inverse temperature, Guo et al. 2017; together they are a product of experts).

Shapes: N texts, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15
MODELS = ("network", "linear", "ngrams")  # in the order in which their scores are given
PRIOR = 0.1  # nats in all that a weight of e or 1/e costs: what bounds them where validation has no mistakes


@dataclass(frozen=True)
class Blend:
    """How much each model says."""

    network: float = 1.0
    linear: float = 0.0
    ngrams: float = 0.0
    bias: float = 0.0  # with several labels a text

    def logits(self, network: Tensor, linear: Tensor, ngrams: Tensor | None = None) -> Tensor:
        """(N, C) of each → (N, C)."""
        logits = self.network * network + self.linear * linear + self.bias
        return logits if ngrams is None else logits + self.ngrams * ngrams


def probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """(N, C) → (N, C): shares of one, or with several labels a text each on its own."""
    return logits.sigmoid() if multi_label else logits.softmax(-1)


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over texts: targets (N,) are classes, or (N, C) zeros and ones, whose nats are added up."""
    if targets.dim() == 1:
        return F.cross_entropy(logits, targets)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").sum(-1).mean()


def accuracy(scores: Tensor, targets: Tensor) -> float:
    """Share of texts whose class (N,), or whose very set of classes (N, C), is found by scores (N, C) above zero."""
    if targets.dim() == 1:
        return (scores.argmax(1) == targets).double().mean().item()
    return ((scores > 0) == targets.bool()).all(1).double().mean().item()


def fit_blend(scores: Sequence[Tensor], targets: Tensor) -> Blend:
    """The weights that make validation texts likeliest: (N, C) of each model, in the order of `Blend`, targets as in
    `nats`."""
    stacked = torch.stack(list(scores)).double()
    logs = torch.zeros(len(scores), dtype=torch.double, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.double, requires_grad=targets.dim() > 1)
    optimizer = torch.optim.LBFGS([logs, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        prior = PRIOR / len(targets) * logs.square().sum()
        value = nats(torch.tensordot(logs.exp(), stacked, 1) + bias, targets) + prior
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Blend(**dict(zip(MODELS, logs.detach().exp().tolist(), strict=False)), bias=bias.item())


def calibrated_nats(logits: Tensor, targets: Tensor) -> float:
    """`nats` at the best of some temperatures: how much is known, however boldly it is said."""
    scales = torch.linspace(math.log(0.1), math.log(10), 33).exp().tolist()
    return min(nats(scale * logits, targets).item() for scale in scales)


def expected_calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Mean distance between what is said, (N,) from 0 to 1, and what is true, (N,), over bins of like confidence."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.double).index_add(0, bins, (correct.double() - confidence.double()))
    return gaps.abs().sum().item() / max(len(confidence), 1)
