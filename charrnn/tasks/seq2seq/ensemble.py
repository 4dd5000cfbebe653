"""Networks from sequence to sequence that are trained side by side and speak as one.

Each begins at weights of its own and drops entries of its own, so each makes mistakes of its own: the mean of their
probabilities makes fewer than any of them (Hansen & Salamon 1990; for translation Sutskever et al. 2014). An ensemble
of one is that network.

Shapes: S source time, T target time, B sources, K hypotheses of each source, N = B·K lanes, V entries of the target.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from charrnn.network.model import State
from charrnn.network.parallel import mean_loss
from charrnn.tasks.seq2seq.network import Memory, Outputs, Seq2SeqConfig, Seq2SeqNetwork

Said = Sequence[tuple[Outputs, Memory]]  # what each network says of the next entries, and what it knows of the sources


class Ensemble(nn.Module):
    """`config.members` networks alike, 1 or more."""

    def __init__(self, config: Seq2SeqConfig, source: tuple[int, int], target: tuple[int, int], shared: bool) -> None:
        """`source`, `target`: of each vocabulary, all entries and those seen in training."""
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(Seq2SeqNetwork(config, source, target, shared) for _ in range(config.members or 1))

    @property
    def networks(self) -> list[Seq2SeqNetwork]:
        """The members."""
        return [cast(Seq2SeqNetwork, member) for member in self.members]

    def forward(self, source: Tensor, source_lengths: Tensor, inputs: Tensor) -> Said:
        """Sources (S, B), lengths (B,) and target entries so far (T, N) to what each says of the next ones."""
        return [network(source, source_lengths, inputs) for network in self.networks]

    def mean_loss(self, loss_of: Callable[[Seq2SeqNetwork], Tensor]) -> Tensor:
        """Mean of what each network loses, a scalar, at the same time: in training none leans on the others."""
        seeds = torch.randint(2**62, (len(self.members),)).tolist()
        for network, seed in zip(self.networks, seeds, strict=True):
            network.seed(seed)
        # For texts this short torch's fused attention for CPUs takes far longer backwards than products one by one.
        # Which is used is a setting of the whole process, so it is made here, not on the networks' threads.
        with sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else nullcontext():
            return mean_loss(self.networks, loss_of)

    def nats(self, said: Said, targets: Tensor) -> Tensor:
        """Negative log-likelihood of targets (T, N) in nats, (T, N): that of the mean of the probabilities."""
        nats = torch.stack([network.nats(*each, targets) for network, each in zip(self.networks, said, strict=True)])
        return math.log(len(nats)) - (-nats).logsumexp(0)

    def read(self, ids: Tensor, lengths: Tensor) -> tuple[Memory, ...]:
        """Sources, ids (S, B) padded at the end and lengths (B,), to what each needs of them."""
        return tuple(network.read(ids, lengths) for network in self.networks)

    def initial_states(self, lanes: int) -> tuple[State, ...]:
        """Those of each at the beginning of `lanes` targets."""
        return tuple(network.decoder.initial_state(lanes) for network in self.networks)

    def step(
        self, inputs: Tensor, states: Sequence[State], memories: Sequence[Memory]
    ) -> tuple[Tensor, tuple[State, ...]]:
        """The latest entries (1, N) to probabilities (N, V) of the next ones, and the next states."""
        probabilities, following = [], []
        for network, state, memory in zip(self.networks, states, memories, strict=True):
            features, state = network.decoder(inputs, state, memory)
            probabilities.append(network.probabilities(network.decoder.outputs(features, memory), memory))
            following.append(state)
        return sum(probabilities[1:], probabilities[0]) / len(probabilities), tuple(following)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def num_parameters(self) -> int:
        """All trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
