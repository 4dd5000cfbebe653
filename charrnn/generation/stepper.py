"""What reads and writes ids with a network: the compiled one, and what any of them offers.

Shapes: T time, B lanes, D width, N and M inputs and outputs of a product, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numba
import numpy as np
import numpy.typing as npt

from charrnn.generation import kernels
from charrnn.generation.sampling import REPETITION_WINDOW, SamplingConfig
from charrnn.network.config import NGRAM_LENGTHS, NGRAM_REACH, Activation, NetworkConfig, ngrams_fit
from charrnn.network.kernels import CONV_WIDTH

Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
# Of all layers, lanes in the last dimension but one: (L, B, D), and what else a cell has. Then the last entries
# (B, NGRAM_REACH), if there are n-grams.
LaneState = tuple[Array, ...]
WeightType = Literal["bf16", "fp32"]

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


class CompiledStepper:
    """The quick one, on a CPU, without torch.

    One text at a time is bound by the reading of weights from memory, so in bf16 two weights share 32 bits then. The
    lower half holds one, rounded to bfloat16. The upper half is chosen such that all 32 bits, read as float32, come
    nearest to the other, so it needs no unpacking. Where several rows share a weight, it is float32 of the same value.
    """

    def __init__(self, config: NetworkConfig, weights: Mapping[str, Array], weight_type: WeightType = "bf16") -> None:
        """`weights` by the names they have in `model.safetensors`. Raises KeyError or ValueError if they don't fit."""
        self.config = config
        if weight_type == "bf16":
            self.weights = _weights(config, weights, lambda matrix: unpacked_bf16(packed_bf16(matrix)))
            self.single = _weights(config, weights, packed_bf16)
        else:
            self.weights = self.single = _weights(config, weights, transposed)

    def begin(self) -> Lanes:
        depth, width = self.config.depth, self.config.width
        shapes: dict[str, list[tuple[int, ...]]] = {
            "mingru": [(depth, 1, width), (depth, CONV_WIDTH - 1, 1, width)],
            "lstm": [(depth, 1, width)] * 2,
        }
        state = tuple(np.zeros(shape, np.float32) for shape in shapes.get(self.config.cell, [(depth, 1, width)]))
        if self.config.ngrams:
            state += (np.full((1, NGRAM_REACH), len(self.weights.embedding)),)
        logits = np.zeros((1, len(self.weights.head_bias)), np.float32)
        return Lanes(state, logits, np.full((1, REPETITION_WINDOW), NO_ENTRY))

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


def _weights(config: NetworkConfig, weights: Mapping[str, Array], pack: Callable[[Array], Array]) -> kernels.Weights:
    """Weights as the kernels take them, matrices by `pack`."""
    depth = config.depth

    def stack(name: str) -> Array:
        return np.stack([weights[f"layers.{i}.{name}"] for i in range(depth)]).astype(np.float32)

    def matrices(name: str) -> Array:
        return np.stack([pack(weights[f"layers.{i}.{name}"]) for i in range(depth)])

    layers: kernels.MinGRUWeights | kernels.LSTMWeights | kernels.GRUWeights | kernels.ElmanWeights
    match config.cell:
        case "mingru":
            layers = kernels.MinGRUWeights(
                stack("norm"),
                stack("conv"),
                matrices("gates.weight"),
                stack("gates.bias"),
                matrices("out.weight"),
                stack("mlp_norm"),
                matrices("mlp_in.weight"),
                matrices("mlp_out.weight"),
            )
        case "lstm":
            bias = stack("lstm.bias_ih_l0") + stack("lstm.bias_hh_l0")
            layers = kernels.LSTMWeights(matrices("lstm.weight_ih_l0"), matrices("lstm.weight_hh_l0"), bias)
        case "gru":
            layers = kernels.GRUWeights(
                matrices("gru.weight_ih_l0"),
                matrices("gru.weight_hh_l0"),
                stack("gru.bias_ih_l0"),
                stack("gru.bias_hh_l0"),
            )
        case "elman":
            activation = get_args(Activation).index(config.activation)
            layers = kernels.ElmanWeights(
                matrices("input.weight"), matrices("recurrent.weight"), stack("input.bias"), activation
            )
    embedding = np.ascontiguousarray(weights["embedding.weight"], np.float32)
    head = weights.get("head.weight", embedding)
    lengths = [length for length in NGRAM_LENGTHS if ngrams_fit(length, len(embedding))]
    ngrams = kernels.NGramWeights(np.empty(0, np.int64), np.empty((0, 0), np.float32), 0)
    number = config.ngrams or 0
    if number or "ngrams.codes" in weights:
        codes, rows = weights["ngrams.codes"], weights["ngrams.embedding.weight"]
        if rows.shape != (1 + number, config.width // len(NGRAM_LENGTHS)) or codes.shape != (number,):
            raise ValueError(f"n-grams {codes.shape} and their embeddings {rows.shape} for {number} of them")
        ngrams = kernels.NGramWeights(
            np.ascontiguousarray(codes, np.int64), np.ascontiguousarray(rows, np.float32), len(lengths)
        )
    norm = weights["norm"] if config.cell == "mingru" else np.empty(0)
    if embedding.shape[1] != config.width or head.shape != embedding.shape:
        raise ValueError(f"an embedding {embedding.shape} and a softmax {head.shape} for a width of {config.width}")
    if ("head.weight" in weights) == config.tie_weights:
        raise ValueError("tied weights and a softmax of its own, or neither")
    if any(name.startswith(f"layers.{depth}.") for name in weights):
        raise ValueError(f"more than {depth} layers")
    return kernels.Weights(
        embedding, ngrams, layers, norm.astype(np.float32), pack(head), weights["head.bias"].astype(np.float32)
    )


def transposed(matrix: Array) -> Array:
    """Weights (M, N) of torch → (N, M), N filled up with zeros to what the kernel takes at a time."""
    outputs, inputs = matrix.shape
    padded = np.zeros((-(-inputs // kernels.PACK) * kernels.PACK, outputs), np.float32)
    padded[:inputs] = matrix.T
    return padded


def packed_bf16(matrix: Array) -> Array:
    """Weights (M, N) of torch → (N / 2, M) uint32: see `CompiledStepper`."""
    bits = transposed(matrix).view(np.uint32).astype(np.int64)
    upper, lower = bits[0::2], bits[1::2]
    low = (lower + 0x7FFF + (lower >> 16 & 1)) >> 16  # to the nearest, ties to even
    high = ((upper & 0x7FFFFFFF) - low + 0x8000) >> 16
    packed: Array = (upper >> 31 << 31 | np.maximum(high, 0) << 16 | low).astype(np.uint32)
    return packed


def unpacked_bf16(packed: Array) -> Array:
    """The weights (N, M), float32, that the kernels read from `packed_bf16`."""
    pairs = np.stack([packed.view(np.float32), (packed << np.uint32(16)).view(np.float32)], axis=1)
    return pairs.reshape(-1, packed.shape[1])
