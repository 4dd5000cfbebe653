"""From logits to the next entry: pure functions.

Shapes: B samples, V entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from charrnn.errors import UsageError

REPETITION_WINDOW = 64  # the last entries that the repetition penalty looks at


@dataclass(frozen=True)
class SamplingConfig:
    """How text is drawn. `None` switches a filter off."""

    temperature: float = 0.8  # 0: always the likeliest entry
    top_k: int | None = None  # the k likeliest entries only (more where the k-th has ties)
    top_p: float | None = None  # the fewest likeliest entries whose probabilities reach p (Holtzman et al. 2020)
    min_p: float | None = None  # entries at least this share as likely as the likeliest (Nguyen et al. 2024)
    repetition_penalty: float | None = None  # above 1: recent entries less likely (Keskar et al. 2019)

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {self.top_k}")
        for name, value in (("top_p", self.top_p), ("min_p", self.min_p)):
            if value is not None and not 0 <= value <= 1:
                raise UsageError(f"{name} must lie between 0 and 1, not {value}")
        if self.repetition_penalty is not None and not 0 < self.repetition_penalty < float("inf"):
            raise UsageError(f"repetition_penalty must be above 0, not {self.repetition_penalty}")


def probabilities(logits: Tensor, config: SamplingConfig, recent: Tensor | None = None) -> Tensor:
    """The distribution to draw from: logits (B, V) → (B, V), each row summing to 1.

    In this order: repetition penalty on the entries in `recent` (B, N), temperature, top-k, top-p, min-p. The
    likeliest entry always stays.
    """
    logits = logits.float()
    if config.repetition_penalty is not None and recent is not None:
        logits = penalize_repetition(logits, recent, config.repetition_penalty)
    if config.temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    # The greatest logit becomes 0 first, so that a tiny temperature cannot overflow; float32 has no tinier one.
    temperature = min(max(config.temperature, 1e-38), 1e38)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if config.top_k is not None and config.top_k < logits.shape[-1]:
        kth = logits.topk(config.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    probs = logits.softmax(-1)
    if config.top_p is not None and config.top_p < 1:
        ordered, order = probs.sort(descending=True, stable=True)
        reached_before = ordered.cumsum(-1) - ordered >= config.top_p
        reached_before[:, 0] = False
        probs = probs.masked_fill(torch.zeros_like(reached_before).scatter(-1, order, reached_before), 0.0)
    if config.min_p is not None:
        probs = probs.masked_fill(probs < config.min_p * probs.amax(-1, keepdim=True), 0.0)
    return probs / probs.sum(-1, keepdim=True)


def penalize_repetition(logits: Tensor, recent: Tensor, penalty: float) -> Tensor:
    """Make the entries in `recent` (B, N) less likely: positive logits (B, V) divided by `penalty`, others times it."""
    chosen = logits.gather(-1, recent)
    return logits.scatter(-1, recent, torch.where(chosen > 0, chosen / penalty, chosen * penalty))
