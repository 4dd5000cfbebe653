"""The mean of a model's weights over its latest steps, which makes fewer mistakes than the weights of any one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows a model's weights: each step keeps the share `decay` of the mean before it (Polyak & Juditsky 1992)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = model
        self.decay = decay
        self.steps = 0
        self.weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def follow(self) -> None:
        """Draw the mean towards the weights that a step has made."""
        kept = min(self.decay, self.steps / (self.steps + 10))  # the first weights are soon forgotten
        weights = [weight.detach() for weight in self.model.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), weights, 1 - kept)
        self.steps += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean for its weights in this block, and is in evaluation mode."""
        own = {name: weight.detach().clone() for name, weight in self.model.named_parameters()}
        self._put(self.weights)
        self.model.eval()
        try:
            yield
        finally:
            self._put(own)
            self.model.train()

    def state(self) -> dict[str, Tensor]:
        """All that advances, by name."""
        return {f"average.{name}": weight for name, weight in self.weights.items()} | {
            "averaged": torch.tensor(self.steps)
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` gave."""
        self.steps = int(state["averaged"])
        for name, weight in self.weights.items():
            weight.copy_(state[f"average.{name}"].view_as(weight))

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, weight in self.model.named_parameters():
            weight.copy_(weights[name])
