"""The network: embedding → recurrent layers → softmax.

The embedding is that of an entry, and of the frequent n-grams that end with it.

Shapes: T time, B batch, D width, V = `seen_size`, O = number of outputs (V, and one more if some entries were never
seen in training).
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charrnn.network.cells import (
    GRU,
    LSTM,
    Elman,
    LayerState,
    MinGRU,
    RecurrentLayer,
    SharedDropout,
    product_dtype,
)
from charrnn.network.config import NetworkConfig
from charrnn.network.ngrams import NGramsBefore
from charrnn.network.operations import norm

State = tuple[LayerState, ...]  # of the layers, and behind them that of the n-grams, if there are any

EXPECTED_HEAD_SCALE = 0.3  # of the softmax's weights beside a bias that knows the frequencies


class Encoder(nn.Module):
    """Embedding → recurrent layers: what a network makes of the text so far.

    Entries from `seen_size` on, which training never saw, share one embedding (zero), so they cost next to nothing
    and no input can crash the network.
    """

    def __init__(self, config: NetworkConfig, vocab_size: int, seen_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.seen_size = seen_size
        width = config.width
        self.num_unseen = vocab_size - seen_size
        num_entries = seen_size + bool(self.num_unseen)
        self.embedding = nn.Embedding(num_entries, width, padding_idx=seen_size if self.num_unseen else None)
        self.ngrams = NGramsBefore(config.ngrams, width, num_entries) if config.ngrams else None
        self.embedding_dropout = SharedDropout()
        self.layers = nn.ModuleList(_make_layer(config) for _ in range(config.depth))
        self.norm = nn.Parameter(torch.ones(width)) if config.cell == "mingru" else None
        self.set_dropout(config.dropout or 0.0)

    def set_dropout(self, rate: float) -> None:
        """Set the dropout of the embedding and of all layers."""
        self.dropout = rate
        for module in self.modules():
            if isinstance(module, SharedDropout):
                module.rate = rate

    def initial_state(self, batch_size: int) -> State:
        """The state before any text."""
        layers = tuple(cast(RecurrentLayer, layer).initial_state(batch_size) for layer in self.layers)
        return layers if self.ngrams is None else (*layers, self.ngrams.initial_state(batch_size))

    def known(self, ids: Tensor) -> Tensor:
        """The same ids, one for all that training never saw."""
        return ids.clamp(max=self.embedding.num_embeddings - 1)

    def features(self, ids: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Ids (T, B) and a state to the last layer's outputs (T, B, D) and the next state.

        A mask (T, B, 1) scales the embeddings.
        """
        ids = self.known(ids)
        layers, ngrams = state[: len(self.layers)], state[len(self.layers) :]
        x = self.embedding(ids)
        if self.ngrams is not None:
            embedded, last = self.ngrams(ids, *ngrams)
            x, ngrams = x + embedded, (last,)
        x = self.embedding_dropout(x if mask is None else x * mask)
        next_layers = []
        for layer, layer_state in zip(self.layers, layers, strict=True):
            x, layer_state = layer(x, layer_state)
            next_layers.append(layer_state)
        if self.norm is not None:
            x = norm(x, self.norm, product_dtype(x.device))
        return x, (*next_layers, *ngrams)

    def num_parameters(self) -> int:
        """All trained numbers but the embeddings of n-grams."""
        ngrams = 0 if self.ngrams is None else self.ngrams.embedding.weight.numel()
        return sum(parameter.numel() for parameter in self.parameters()) - ngrams


class Network(Encoder):
    """`logits, state = network(ids, state)`: an encoder and a softmax.

    Entries that training never saw have one output, their probability in equal parts.
    """

    def __init__(self, config: NetworkConfig, vocab_size: int, seen_size: int) -> None:
        super().__init__(config, vocab_size, seen_size)
        self.head = nn.Linear(config.width, self.embedding.num_embeddings)
        if config.tie_weights:
            with torch.no_grad():
                self.embedding.weight.mul_(config.width**-0.5)
            self.head.weight = self.embedding.weight

    def expect(self, counts: npt.NDArray[np.integer]) -> None:
        """Let the softmax begin at how often each entry occurs, counts (V,): so much need not be learned."""
        with torch.no_grad():
            frequencies = torch.ones(self.head.out_features)
            frequencies[: self.seen_size] += torch.from_numpy(counts[: self.seen_size])
            self.head.bias.copy_((frequencies / frequencies.sum()).log())
            if self.head.weight is not self.embedding.weight:
                self.head.weight.mul_(EXPECTED_HEAD_SCALE)

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Ids (T, B) and a state to logits (T, B, O) of the next entries, and the next state."""
        x, state = self.features(ids, state)
        return self.head(x), state

    def nats(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood of each target in nats: logits (T, B, O), targets (T, B) → (T, B), float32."""
        flat = targets.reshape(-1)
        nats = F.cross_entropy(logits.float().flatten(0, -2), flat.clamp(max=logits.shape[-1] - 1), reduction="none")
        if self.num_unseen > 1:
            nats = nats + (flat >= self.seen_size) * math.log(self.num_unseen)
        return nats.view_as(targets)


def detach(state: State) -> State:
    """The same state, cut from the graph that made it."""
    return tuple(tuple(tensor.detach() for tensor in layer) for layer in state)


def select(state: State, lanes: Tensor) -> State:
    """The state of these lanes only, in this order."""
    return tuple(tuple(tensor.index_select(-2, lanes) for tensor in layer) for layer in state)


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """x (T, B, …) with the first `lengths` (B,) of each lane in reverse order; what is past them stays."""
    times = torch.arange(len(x), device=x.device)[:, None]
    places = torch.where(times < lengths, lengths - 1 - times, times)
    return x.gather(0, places.view(*places.shape, *[1] * (x.dim() - 2)).expand_as(x))


def _make_layer(config: NetworkConfig) -> RecurrentLayer:
    match config.cell:
        case "mingru":
            return MinGRU(config.width)
        case "lstm":
            return LSTM(config.width)
        case "gru":
            return GRU(config.width)
        case "elman":
            return Elman(config.width, config.activation)
