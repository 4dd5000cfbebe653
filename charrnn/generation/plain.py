"""Writing text in plain numpy, which needs nothing to be compiled or loaded first.

Shapes: B lanes, D width, L layers, K lengths of n-grams, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from charrnn.generation.sampling import REPETITION_WINDOW
from charrnn.generation.stepper import Array, Ids, Lanes, LaneState, StepByStep, beginning
from charrnn.generation.weights import (
    ElmanWeights,
    GRUWeights,
    LSTMWeights,
    MinGRUWeights,
    NGramWeights,
    Weights,
    first_state,
)
from charrnn.network.config import NORM_EPSILON, NetworkConfig


class PlainStepper(StepByStep):
    """A `Stepper` that begins at once."""

    def __init__(self, config: NetworkConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self._advance = ADVANCE[type(weights.layers)]

    def begin(self) -> Lanes:
        return beginning(first_state(self.config, self.weights), len(self.weights.head_bias))

    def read(self, lane: Lanes, ids: Ids) -> Lanes:
        state, logits = self.from_lanes(lane.state), lane.logits
        for entry in ids:
            logits, state = self.step(np.array([entry]), state)
        recent = np.concatenate([lane.recent, ids[None]], axis=1)[:, -REPETITION_WINDOW:]
        return Lanes(self.to_lanes(state), logits, recent)

    def from_lanes(self, state: LaneState) -> LaneState:
        return tuple(array.copy() for array in state)

    def step(self, ids: Ids, state: LaneState) -> tuple[Array, LaneState]:
        """The state goes on in place."""
        weights = self.weights
        entries = np.minimum(ids, len(weights.embedding) - 1)
        x = weights.embedding[entries]
        layers = state
        if self.config.ngrams:
            layers, last = state[:-1], state[-1]
            parts = _ngrams(weights.ngrams, entries, last, len(weights.embedding))
            x[:, : parts.shape[1]] += parts
            last[:] = np.concatenate([last[:, 1:], entries[:, None]], axis=1)
        x = self._advance(weights.layers, x, layers)
        if len(weights.norm):
            x = _norm(x, weights.norm)
        return _product(x, weights.head) + weights.head_bias, state

    def to_lanes(self, state: LaneState) -> LaneState:
        return state


def _ngrams(ngrams: NGramWeights, entries: Ids, last: Ids, num_entries: int) -> Array:
    """Embeddings (B, K · D / K) of the n-grams that entries (B,) end, after the `last` ones; of others zeros."""
    digits = np.concatenate([entries[:, None], last[:, : -1 - ngrams.most : -1]], axis=1) + 1
    codes = np.cumsum(digits * np.power(num_entries + 2, np.arange(1 + ngrams.most)), axis=1)[:, 1:]
    places = np.minimum(np.searchsorted(ngrams.codes, codes), len(ngrams.codes) - 1)
    rows: Array = ngrams.rows[(places + 1) * (ngrams.codes[places] == codes)]
    return rows.reshape(len(entries), -1)


def _advance_mingru(layers: MinGRUWeights, x: Array, state: LaneState) -> Array:
    """Rows x (B, D) after all layers, whose `state` goes on in place; here and below."""
    hidden, tails = state  # (L, B, D), (L, 3, B, D)
    for layer, (h, tail) in enumerate(zip(hidden, tails, strict=True)):
        recent = np.concatenate([tail, _norm(x, layers.norm[layer])[None]])
        tail[:] = recent[1:]
        gates = _product((recent * layers.conv[layer][:, None]).sum(0), layers.gates[layer]) + layers.gates_bias[layer]
        z, candidate, g = np.split(gates, 3, axis=1)
        h += _sigmoid(z) * (candidate - h)
        x = x + _product(h * g * _sigmoid(g), layers.out[layer])
        a, b = np.split(_product(_norm(x, layers.mlp_norm[layer]), layers.mlp_in[layer]), 2, axis=1)
        x = x + _product(a * _sigmoid(a) * b, layers.mlp_out[layer])
    return x


def _advance_lstm(layers: LSTMWeights, x: Array, state: LaneState) -> Array:
    hidden, cells = state  # (L, B, D) each
    for layer, (h, c) in enumerate(zip(hidden, cells, strict=True)):
        gates = _product(x, layers.inputs[layer]) + _product(h, layers.recurrent[layer]) + layers.bias[layer]
        i, f, g, o = np.split(gates, 4, axis=1)
        c[:] = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h[:] = x = _sigmoid(o) * np.tanh(c)
    return x


def _advance_gru(layers: GRUWeights, x: Array, state: LaneState) -> Array:
    (hidden,) = state  # (L, B, D)
    for layer, h in enumerate(hidden):
        row = _product(x, layers.inputs[layer]) + layers.bias[layer]
        back = _product(h, layers.recurrent[layer]) + layers.recurrent_bias[layer]
        (r, z, n), (back_r, back_z, back_n) = np.split(row, 3, axis=1), np.split(back, 3, axis=1)
        n = np.tanh(n + _sigmoid(r + back_r) * back_n)
        h[:] = x = n + _sigmoid(z + back_z) * (h - n)
    return x


def _advance_elman(layers: ElmanWeights, x: Array, state: LaneState) -> Array:
    (hidden,) = state  # (L, B, D)
    activation = (np.tanh, _sigmoid, _relu)[layers.activation]
    for layer, h in enumerate(hidden):
        pre = _product(x, layers.inputs[layer]) + _product(h, layers.recurrent[layer]) + layers.bias[layer]
        h[:] = x = activation(pre)
    return x


ADVANCE: dict[type, Callable[[Any, Array, LaneState], Array]] = {
    MinGRUWeights: _advance_mingru,
    LSTMWeights: _advance_lstm,
    GRUWeights: _advance_gru,
    ElmanWeights: _advance_elman,
}


def _product(x: Array, w: Array) -> Array:
    """x (B, N) times w (N, M), or with rows of zeros below."""
    y: Array = x @ w[: x.shape[1]]
    return y


def _norm(x: Array, weight: Array) -> Array:
    """RMS norm of rows x (B, D)."""
    scaled: Array = x / np.sqrt((x * x).mean(1, keepdims=True) + np.float32(NORM_EPSILON)) * weight
    return scaled


def _sigmoid(x: Array) -> Array:
    y: Array = np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)  # e^−x could overflow
    return y


def _relu(x: Array) -> Array:
    y: Array = np.maximum(x, 0)
    return y
