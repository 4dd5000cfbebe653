"""The elementwise recurrence of `mingru`: h_t = (1 − z_t)·h_{t−1} + z_t·c_t.

Shapes: T time, B batch, H hidden. Time comes first, so that each step is one contiguous (B, H) block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def gated_recurrence_reference(gate: Tensor, candidate: Tensor, initial: Tensor) -> Tensor:
    """The recurrence as its formula says. z_t = sigmoid(gate_t); gate, candidate (T, B, H); initial h_{−1} (B, H).

    Returns h (T, B, H) in float32.
    """
    h = initial.float()
    states = []
    for z, c in zip(torch.sigmoid(gate.float()), candidate.float(), strict=True):
        h = (1 - z) * h + z * c
        states.append(h)
    return torch.stack(states)


def gated_recurrence(gate: Tensor, candidate: Tensor, initial: Tensor) -> Tensor:
    """The same as `gated_recurrence_reference`, fast: outputs and gradients."""
    result: Tensor = _GatedRecurrence.apply(gate, candidate, initial)  # type: ignore[no-untyped-call]
    return result


class _GatedRecurrence(torch.autograd.Function):
    """In place and without a graph node per step: a CPU loop costs a few per cent of a training step."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, candidate: Tensor, initial: Tensor) -> Tensor:
        z = torch.sigmoid(gate.float())
        keep = 1 - z
        states = z * candidate.float()
        h = initial.float()
        for state, k in zip(states, keep, strict=True):
            h = state.addcmul_(k, h)
        ctx.save_for_backward(z, keep, candidate, states, initial)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, keep, candidate, states, initial = ctx.saved_tensors
        grad = grads[0].float().clone()
        for t in range(len(grad) - 1, 0, -1):
            grad[t - 1].addcmul_(grad[t], keep[t])
        previous = torch.cat([initial.float()[None], states[:-1]])
        grad_candidate = grad * z
        grad_gate = (candidate.float() - previous) * grad_candidate * keep
        return grad_gate.to(candidate.dtype), grad_candidate.to(candidate.dtype), grad[0] * keep[0]
