"""Dynamic evaluation (Krause et al. 2018, arXiv 1709.07432): a network that learns from the text while it reads it.

The text is read once, in order, in segments with carried state. Each segment is scored first; then the weights w of
a copy take a step down the gradient g of its mean nats, and are drawn back a little towards the loaded weights w₀:

    w ← w − lr · g / √(mean of g²),    w ← w + decay · (w₀ − w)

So no target is scored by weights that have seen it. Krause et al. gather the mean of g² over the training text; here,
where that is not at hand, it is that of the segments read so far.

Shapes: T time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from charrnn.errors import CharrnnError, UsageError
from charrnn.network.evaluation import WINDOW, score_stream
from charrnn.network.model import Network, State, detach

MEMORY = 1000  # segments over which squared gradients are averaged, once so many are read
EPSILON = 1e-8  # so that a weight without gradient stays where it is


@dataclass(frozen=True)
class DynamicConfig:
    """How a network adapts to the text it scores."""

    segment_len: int = 64  # tokens scored before each step
    lr: float = 3e-4  # how far a step moves a typical weight
    decay: float = 2e-3  # share of the way back to the loaded weights after each step

    def __post_init__(self) -> None:
        if not 1 <= self.segment_len <= WINDOW:
            raise UsageError(f"segment_len must lie between 1 and {WINDOW}, not {self.segment_len}")
        if not 0 <= self.lr < math.inf:
            raise UsageError(f"the learning rate of dynamic evaluation must be 0 or more, not {self.lr}")
        if not 0 <= self.decay <= 1:
            raise UsageError(f"decay must lie between 0 and 1, not {self.decay}")


def score_dynamic(
    network: Network, chunks: Iterable[Tensor], first: int, config: DynamicConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """Plain and dynamic nats, each (T,), of every id in `chunks` (each (T,)), read after the entry `first`.

    Both readers go through the text side by side, a segment at a time, in bounded memory; `network` stays as it is.
    Raises CharrnnError if the adapting network diverges.
    """
    plain, dynamic = itertools.tee(_segments(chunks, config.segment_len))
    return zip(score_stream(network, plain, first), _adapt(network, dynamic, first, config), strict=True)


def _adapt(network: Network, segments: Iterable[Tensor], first: int, config: DynamicConfig) -> Iterator[Tensor]:
    learner = _Learner(network, config)
    state = network.initial_state(1)
    previous = torch.tensor([first])
    for targets in segments:
        inputs = torch.cat([previous, targets[:-1]])
        nats, state = learner.read(inputs, targets, state)
        if not nats.isfinite().all():
            raise CharrnnError(f"dynamic evaluation diverged: try a learning rate below {config.lr}")
        yield nats
        previous = targets[-1:]


class _Learner:
    """A copy of a network, and what its steps need."""

    def __init__(self, network: Network, config: DynamicConfig) -> None:
        self.config = config
        device = network.head.weight.device
        # For cuDNN's sake: `to` lays the copied weights side by side again, and it has gradients in training mode only.
        self.network = deepcopy(network).to(device).train().requires_grad_()
        self.network.set_dropout(0.0)
        self.weights, self.loaded = _adapted(self.network), _adapted(network)
        self.squares = [torch.zeros_like(weight) for weight in self.weights]
        self.num_steps = 0

    def read(self, inputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
        """Score a segment, then learn from it: inputs, targets (T,) and a state → nats (T,), and the next state."""
        device = self.loaded[0].device
        with torch.enable_grad():
            logits, state = self.network(inputs[:, None].to(device), state)
            nats = self.network.nats(logits, targets[:, None].to(device))[:, 0]
            grads = torch.autograd.grad(nats.mean(), self.weights)
        self._step(grads)
        return nats.detach().cpu(), detach(state)

    @torch.no_grad()
    def _step(self, grads: tuple[Tensor, ...]) -> None:
        self.num_steps += 1
        share = 1 / min(self.num_steps, MEMORY)
        for weight, loaded, square, grad in zip(self.weights, self.loaded, self.squares, grads, strict=True):
            square.lerp_(grad.square(), share)
            weight.addcdiv_(grad, square.sqrt().add_(EPSILON), value=-self.config.lr)
            weight.lerp_(loaded, self.config.decay)


def _adapted(network: Network) -> list[nn.Parameter]:
    """All but the embeddings of n-grams, which are many, and of which a segment sees few."""
    return [weight for name, weight in network.named_parameters() if not name.startswith("ngrams.")]


def _segments(chunks: Iterable[Tensor], length: int) -> Iterator[Tensor]:
    """The ids of all chunks in segments (T,) of this length, the last one shorter, wherever the chunks end."""
    rest = torch.empty(0, dtype=torch.long)
    for chunk in chunks:
        ids = torch.cat([rest, chunk])
        stop = len(ids) - len(ids) % length
        for start in range(0, stop, length):
            yield ids[start : start + length]
        rest = ids[stop:]
    if len(rest):
        yield rest
