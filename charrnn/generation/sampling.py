"""From logits to the next entry: pure functions, one step at a time for all to see.

What writes text does the same in compiled code (`charrnn.generation.kernels`) and is held to these.

Shapes: V entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charrnn.errors import UsageError

Floats = npt.NDArray[np.float32 | np.float64]

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


def probabilities(logits: Floats, config: SamplingConfig, recent: npt.NDArray[np.integer] | None = None) -> Floats:
    """The distribution to draw from: logits (V,) → (V,), summing to 1.

    In this order: repetition penalty on the entries in `recent` (N,), temperature, top-k, top-p, min-p. The
    likeliest entry always stays; logits of −∞ never get a chance.
    """
    logits = np.asarray(logits, np.float64)
    if config.repetition_penalty is not None and recent is not None:
        logits = penalize_repetition(logits, recent, config.repetition_penalty)
    best = int(logits.argmax())
    if config.temperature == 0:
        certain: Floats = (np.arange(len(logits)) == best).astype(np.float64)
        return certain
    # The greatest logit becomes 0 first, so that a tiny temperature cannot overflow.
    scaled = (logits - logits[best]) / min(max(config.temperature, 1e-38), 1e38)
    if config.top_k is not None and config.top_k < len(scaled):
        scaled = np.where(logits < np.sort(logits)[-config.top_k], -np.inf, scaled)
    probs = np.exp(scaled) / np.exp(scaled).sum()
    if config.top_p is not None and config.top_p < 1:
        order = np.argsort(-probs, kind="stable")
        before = np.cumsum(probs[order]) - probs[order]
        before[0] = -1.0
        probs[order[before >= config.top_p]] = 0.0
    if config.min_p is not None:
        probs = np.where(probs < config.min_p * probs.max(), 0.0, probs)
    normalized: Floats = probs / probs.sum()
    return normalized


def penalize_repetition(logits: Floats, recent: npt.NDArray[np.integer], penalty: float) -> Floats:
    """Make the entries in `recent` (N,) less likely: positive logits (V,) divided by `penalty`, others times it."""
    penalized = logits.copy()
    chosen = logits[recent]
    penalized[recent] = np.where(chosen > 0, chosen / penalty, chosen * penalty)
    return penalized


def draw(probs: Floats, uniform: float) -> int:
    """The entry at which the running sum of probs (V,) passes `uniform`, from 0 to 1, of their sum."""
    reached = np.cumsum(probs.astype(np.float64))
    return int(np.searchsorted(reached, min(uniform * reached[-1], np.nextafter(reached[-1], 0)), side="right"))
