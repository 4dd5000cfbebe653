"""Reading and writing ids with the network itself, entry by entry: on any device, and what the compiled one is held to.

Shapes: T time, B lanes, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from charrnn.generation.sampling import REPETITION_WINDOW, SamplingConfig, draw, probabilities
from charrnn.generation.stepper import NO_ENTRY, Array, Ids, Lanes, LaneState
from charrnn.network.evaluation import WINDOW
from charrnn.network.model import Network, State


class NetworkStepper:
    """A `Stepper` in plain torch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.device = network.head.weight.device

    def begin(self) -> Lanes:
        logits = np.zeros((1, self.network.head.out_features), np.float32)
        return Lanes(
            self._stacked(self.network.initial_state(1)), logits, np.full((1, REPETITION_WINDOW), NO_ENTRY, np.int64)
        )

    def read(self, lane: Lanes, ids: Ids) -> Lanes:
        state, logits = self._state(lane.state), None
        with torch.inference_mode():
            for start in range(0, len(ids), WINDOW):
                window = torch.from_numpy(ids[start : start + WINDOW, None]).to(self.device)
                features, state = self.network.features(window, state)
                logits = self.network.head(features[-1])
        recent = np.concatenate([lane.recent, ids[None]], axis=1)[:, -REPETITION_WINDOW:]
        return Lanes(self._stacked(state), lane.logits if logits is None else _array(logits), recent)

    def write(
        self, lanes: Lanes, sampling: Sequence[SamplingConfig], allowed: Array, uniforms: Array
    ) -> tuple[Lanes, Ids, Array]:
        state, logits, recent = self._state(lanes.state), lanes.logits, lanes.recent
        ids, nats = np.empty(uniforms.shape, np.int64), np.empty(uniforms.shape)
        for t, uniform in enumerate(uniforms):
            for b, config in enumerate(sampling):
                possible = np.where(allowed, logits[b], -np.inf)
                past = np.minimum(recent[b][recent[b] != NO_ENTRY], len(possible) - 1)
                ids[t, b] = draw(probabilities(possible, config, past), uniform[b])
                nats[t, b] = np.logaddexp.reduce(logits[b].astype(np.float64)) - logits[b, ids[t, b]]
            recent = np.concatenate([recent, ids[t][:, None]], axis=1)[:, -REPETITION_WINDOW:]
            with torch.inference_mode():
                rows, state = self.network(torch.from_numpy(ids[t : t + 1]).to(self.device), state)
                logits = _array(rows[0])
        return Lanes(self._stacked(state), logits, recent), ids, nats

    def _state(self, arrays: LaneState) -> State:
        number = len(arrays) - (self.network.ngrams is not None)
        layers = zip(*arrays[:number], strict=True)
        return tuple(
            tuple(torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in layer)
            for layer in (*layers, *([array] for array in arrays[number:]))
        )

    def _stacked(self, state: State) -> LaneState:
        depth = len(self.network.layers)
        layers = tuple(_array(torch.stack(tensors)) for tensors in zip(*state[:depth], strict=True))
        return layers + tuple(last.cpu().numpy() for (last,) in state[depth:])


def _array(tensor: Tensor) -> Array:
    return tensor.float().cpu().numpy()
