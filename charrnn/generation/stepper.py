"""What reads and writes ids with a network, and the values it goes by.

Shapes: T time, B lanes, D width, L layers, O outputs of the network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charrnn.generation.sampling import REPETITION_WINDOW, SamplingConfig, draw, probabilities

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
# Of all layers, lanes in the last dimension but one: (L, B, D), and what else a cell has. Then the last entries
# (B, NGRAM_REACH), if there are n-grams.
LaneState = tuple[Array, ...]

NO_ENTRY = -1  # in place of recent entries before the first


@dataclass(frozen=True)
class Lanes:
    """Texts being written side by side: what is known before the next entry of each. A value."""

    state: LaneState
    logits: Array  # (B, O) float32, of the entry to come
    recent: Ids  # (B, REPETITION_WINDOW), the last entries, the newest at the end

    def __len__(self) -> int:
        return len(self.logits)

    def select(self, lanes: Sequence[int] | Ids) -> Lanes:
        """Copies of these lanes, in this order."""
        index = np.asarray(lanes, dtype=np.int64)
        state = tuple(np.ascontiguousarray(array.take(index, axis=-2)) for array in self.state)
        return Lanes(state, self.logits[index], self.recent[index])


def beginning(state: LaneState, num_outputs: int) -> Lanes:
    """One lane before any text; its logits mean nothing until something is read."""
    return Lanes(state, np.zeros((1, num_outputs), np.float32), np.full((1, REPETITION_WINDOW), NO_ENTRY))


class Stepper(Protocol):
    """Reads and writes ids."""

    def begin(self) -> Lanes:
        """One lane before any text; its logits mean nothing until something is read."""

    def read(self, lane: Lanes, ids: Ids) -> Lanes:
        """The lane (B = 1) after reading ids (T,)."""

    def write(
        self, lanes: Lanes, sampling: Sequence[SamplingConfig], allowed: Array, uniforms: Array
    ) -> tuple[Lanes, Ids, Array]:
        """Draw T entries in each lane, by its own `sampling`, from those that are `allowed` (O,).

        uniforms (T, B), from 0 to 1, decide the draws → the lanes after that, ids (T, B), and their nats (T, B)
        under the unfiltered softmax.
        """


class StepByStep(ABC):
    """Writes entry by entry, as `charrnn.generation.sampling` says; what a step is, is told by those that inherit."""

    @abstractmethod
    def step(self, ids: Ids, state: Any) -> tuple[Array, Any]:
        """Read an entry in each lane: ids (B,) → logits (B, O), and the state after it."""

    @abstractmethod
    def from_lanes(self, state: LaneState) -> Any:
        """A state as `step` takes it."""

    @abstractmethod
    def to_lanes(self, state: Any) -> LaneState:
        """That state as a value again."""

    def write(
        self, lanes: Lanes, sampling: Sequence[SamplingConfig], allowed: Array, uniforms: Array
    ) -> tuple[Lanes, Ids, Array]:
        """See `Stepper.write`."""
        state, logits, recent = self.from_lanes(lanes.state), lanes.logits, lanes.recent
        ids, nats = np.empty(uniforms.shape, np.int64), np.empty(uniforms.shape)
        for t, uniform in enumerate(uniforms):
            for b, config in enumerate(sampling):
                possible = np.where(allowed, logits[b], -np.inf)
                past = np.minimum(recent[b][recent[b] != NO_ENTRY], len(possible) - 1)
                ids[t, b] = draw(probabilities(possible, config, past), uniform[b])
                nats[t, b] = np.logaddexp.reduce(logits[b].astype(np.float64)) - logits[b, ids[t, b]]
            recent = np.concatenate([recent, ids[t][:, None]], axis=1)[:, -REPETITION_WINDOW:]
            logits, state = self.step(ids[t], state)
        return Lanes(self.to_lanes(state), logits, recent), ids, nats
