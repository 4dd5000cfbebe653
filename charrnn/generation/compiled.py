"""Writing text by compiled code.

Shapes: T time, B lanes, D width, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numba
import numpy as np

from charrnn.generation import kernels
from charrnn.generation.sampling import REPETITION_WINDOW, SamplingConfig
from charrnn.generation.stepper import Array, Ids, Lanes, LaneState, beginning
from charrnn.generation.weights import Weights, WeightType, changed, first_state, packed_bf16
from charrnn.network.config import NGRAM_REACH, NetworkConfig


class CompiledStepper:
    """A `Stepper` that is quick once it has been compiled, which takes seconds, and loaded, which takes half a second.

    One text at a time is bound by the reading of weights from memory, so in bf16 two weights share 32 bits then. Where
    several rows share a weight, it is float32 of the same value.
    """

    def __init__(self, config: NetworkConfig, weights: Weights, weight_type: WeightType) -> None:
        """`weights` are those of the same type."""
        self.config = config
        self.weights = weights
        self.single = changed(weights, packed_bf16) if weight_type == "bf16" else weights

    def begin(self) -> Lanes:
        return beginning(first_state(self.config, self.weights), len(self.weights.head_bias))

    def read(self, lane: Lanes, ids: Ids) -> Lanes:
        return self._read(lane, ids, np.empty(0, np.float32))

    def score(self, lane: Lanes, ids: Ids) -> tuple[Lanes, Array]:
        """The lane after reading ids (T,), and the nats (T,) of each under what came before it."""
        nats = np.empty(len(ids), np.float32)
        return self._read(lane, ids, nats), nats

    def write(
        self, lanes: Lanes, sampling: Sequence[SamplingConfig], allowed: Array, uniforms: Array
    ) -> tuple[Lanes, Ids, Array]:
        filters = np.array([kernel_filters(config) for config in sampling])
        count = min(len(lanes), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        shares = np.array_split(np.arange(len(lanes)), count)

        def write(share: Ids) -> tuple[Lanes, Ids, Array]:
            part = lanes.select(share)
            ids, nats = np.empty((len(uniforms), len(share)), np.int64), np.empty((len(uniforms), len(share)))
            drawn = np.ascontiguousarray(uniforms[:, share])
            chosen = self.single if len(share) == 1 else self.weights
            state, last = self._parts(part)
            kernels.write(chosen, state, last, part.logits, part.recent, filters[share], allowed, drawn, ids, nats)
            return part, ids, nats

        parts = [write(shares[0])] if count == 1 else list(self._threads.map(write, shares))
        after = parts[0][0] if count == 1 else _joined([part for part, _, _ in parts])
        return after, np.hstack([ids for _, ids, _ in parts]), np.hstack([nats for _, _, nats in parts])

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(thread_name_prefix="charrnn")

    def _parts(self, lanes: Lanes) -> tuple[LaneState, Ids]:
        """The state of the layers, and the last entries (B, NGRAM_REACH), which without n-grams nobody looks at."""
        if self.config.ngrams:
            return lanes.state[:-1], lanes.state[-1]
        return lanes.state, np.zeros((len(lanes), NGRAM_REACH), np.int64)

    def _read(self, lane: Lanes, ids: Ids, nats: Array) -> Lanes:
        after = lane.select([0])
        state, last = self._parts(after)
        kernels.read(self.weights, state, last, after.logits, np.ascontiguousarray(ids, np.int64), nats)
        recent = np.concatenate([after.recent, ids[None]], axis=1)[:, -REPETITION_WINDOW:]
        return Lanes(after.state, after.logits, np.ascontiguousarray(recent))


def _joined(parts: Sequence[Lanes]) -> Lanes:
    states = zip(*(part.state for part in parts), strict=True)
    return Lanes(
        tuple(np.concatenate(arrays, axis=-2) for arrays in states),
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.recent for part in parts]),
    )


def kernel_filters(config: SamplingConfig) -> tuple[float, ...]:
    """A `SamplingConfig` as the kernel takes it."""
    off = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}
    asked = {name: getattr(config, name) for name in off}
    return (config.temperature, *(off[name] if value is None else value for name, value in asked.items()))
