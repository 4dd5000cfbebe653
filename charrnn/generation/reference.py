"""Reading and writing ids with the network itself, entry by entry: on any device, and what the compiled one is held to.

Shapes: T time, B lanes, O outputs of the network.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from charrnn.generation.sampling import REPETITION_WINDOW
from charrnn.generation.stepper import Array, Ids, Lanes, LaneState, StepByStep, beginning
from charrnn.network.evaluation import WINDOW
from charrnn.network.model import Network, State


class NetworkStepper(StepByStep):
    """A `Stepper` in torch."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.device = network.head.weight.device

    def begin(self) -> Lanes:
        return beginning(self.to_lanes(self.network.initial_state(1)), self.network.head.out_features)

    def read(self, lane: Lanes, ids: Ids) -> Lanes:
        state, logits = self.from_lanes(lane.state), None
        with torch.inference_mode():
            for start in range(0, len(ids), WINDOW):
                window = torch.from_numpy(ids[start : start + WINDOW, None]).to(self.device)
                features, state = self.network.features(window, state)
                logits = self.network.head(features[-1])
        recent = np.concatenate([lane.recent, ids[None]], axis=1)[:, -REPETITION_WINDOW:]
        return Lanes(self.to_lanes(state), lane.logits if logits is None else _array(logits), recent)

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        with torch.inference_mode():
            rows, state = self.network(torch.from_numpy(ids[None]).to(self.device), state)
        return _array(rows[0]), state

    def from_lanes(self, arrays: LaneState) -> State:
        number = len(arrays) - (self.network.ngrams is not None)
        layers = zip(*arrays[:number], strict=True)
        return tuple(
            tuple(torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in layer)
            for layer in (*layers, *([array] for array in arrays[number:]))
        )

    def to_lanes(self, state: State) -> LaneState:
        depth = len(self.network.layers)
        layers = tuple(_array(torch.stack(tensors)) for tensors in zip(*state[:depth], strict=True))
        return layers + tuple(last.cpu().numpy() for (last,) in state[depth:])


def _array(tensor: Tensor) -> Array:
    return tensor.float().cpu().numpy()
