"""Settings of a training run, and the learning rate they give at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from charrnn.errors import UsageError
from charrnn.network.device import Precision

MOST_VALIDATIONS = 12
WEIGHT_DECAY = 0.05


MOST = 1 << 63  # what fits no longer in an integer of torch


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained. The budget is `minutes` or `epochs`, or whichever of both is less, or `steps`."""

    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None
    batch_size: int | None = None  # lanes; None: what suits the budget
    bptt_len: int | None = None  # tokens of one lane in one step; None: what suits the budget
    lr: float | None = None  # None: what suits the cell and the budget
    weight_decay: float | None = None  # None: what suits the run
    beta2: float = 0.99
    warmup_steps: int = 50
    max_grad_norm: float = 1.0
    num_validations: int | None = None  # evenly spaced over the run; None: four a minute, at most 12
    patience: int = 5  # validations without improvement before the run stops early
    device: str = "auto"
    precision: Precision = "auto"
    compile: bool = False  # the network, by torch.compile, on a GPU: takes a while before the first step
    seed: int = 0

    def __post_init__(self) -> None:
        budgets = [name for name in ("minutes", "steps", "epochs") if getattr(self, name) is not None]
        if len(budgets) > 1 and self.steps is not None:
            raise UsageError(f"give one budget, not {' and '.join(f'--{name}' for name in budgets)}")
        for name in ("minutes", "steps", "epochs", "batch_size", "bptt_len", "lr", "max_grad_norm"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise UsageError(f"{name} must be above 0, not {value}")
        for name in ("num_validations", "patience"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("weight_decay", "warmup_steps", "seed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < MOST:
                raise UsageError(f"{name} must lie in [0, 2^63), not {value}")
        if not 0 < self.beta2 < 1:
            raise UsageError(f"beta2 must lie between 0 and 1, not {self.beta2}")

    def part(self, share: float) -> TrainingConfig:
        """The same with a share of the budget."""
        if self.steps is not None:
            return replace(self, steps=max(round(share * self.steps), 1))
        minutes, epochs = (None if amount is None else share * amount for amount in (self.minutes, self.epochs))
        return replace(self, minutes=minutes, epochs=epochs)

    @property
    def validations(self) -> int:
        """How many there are in the run: few in a short one, since each takes time from training."""
        if self.num_validations is not None:
            return self.num_validations
        return MOST_VALIDATIONS if self.minutes is None else min(max(round(4 * self.minutes), 1), MOST_VALIDATIONS)


def lr_factor(step: int, total_steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate at a step (from 0): linear warm-up, then linear decay to near zero."""
    warmup = min(warmup_steps, max(total_steps // 10, 1))
    if step < warmup:
        return (step + 1) / warmup
    return (total_steps - step) / (total_steps - warmup)
