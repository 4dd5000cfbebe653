"""Weights as text is written with them on a CPU, plainly or compiled: inputs are rows of matrices, layers are stacked.

Shapes: D width, G n-grams, K lengths of them, N and M inputs and outputs of a product, N rounded up to a multiple of 8
(`PACK`) with zeros, L layers, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from charrnn.network.config import CONV_WIDTH, NGRAM_LENGTHS, NGRAM_REACH, Activation, NetworkConfig, ngrams_fit

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Matrices = npt.NDArray[np.float32] | npt.NDArray[np.uint32]  # uint32: two rows in one, see `packed_bf16`
WeightType = Literal["bf16", "fp32"]

PACK = 8  # inputs of a product taken at a time
MATRICES = {"gates", "out", "mlp_in", "mlp_out", "inputs", "recurrent"}  # of layers, by name


class MinGRUWeights(NamedTuple):
    """Of all layers: vectors (L, …), matrices (L, N, M)."""

    norm: Floats
    conv: Floats
    gates: Matrices
    gates_bias: Floats
    out: Matrices
    mlp_norm: Floats
    mlp_in: Matrices
    mlp_out: Matrices


class LSTMWeights(NamedTuple):
    """Gates in the order input, forget, cell, output."""

    inputs: Matrices
    recurrent: Matrices
    bias: Floats


class GRUWeights(NamedTuple):
    """Gates in the order reset, update, new; the bias of the recurrent product is one of its own."""

    inputs: Matrices
    recurrent: Matrices
    bias: Floats
    recurrent_bias: Floats


class ElmanWeights(NamedTuple):
    """`activation`: 0 tanh, 1 sigmoid, 2 relu."""

    inputs: Matrices
    recurrent: Matrices
    bias: Floats
    activation: int


class NGramWeights(NamedTuple):
    """See `charrnn.network.ngrams`. Without any, both are empty."""

    codes: npt.NDArray[np.int64]  # (G,), in order
    rows: Floats  # (1 + G, D / K), the first zero
    most: int  # K, or fewer where codes of the longest would be too large


class Weights(NamedTuple):
    """A whole network. `norm` (D,) is that before the softmax, or empty."""

    embedding: Floats  # (entries, D)
    ngrams: NGramWeights
    layers: MinGRUWeights | LSTMWeights | GRUWeights | ElmanWeights
    norm: Floats
    head: Matrices  # (N, O)
    head_bias: Floats  # (O,)


def arrange_weights(config: NetworkConfig, weights: Mapping[str, Array], weight_type: WeightType) -> Weights:
    """Those of a network, by the names they have in `model.safetensors`, all float32.

    With a type of bf16, matrices are rounded to what `packed_bf16` can hold. Raises KeyError or ValueError if they do
    not fit.
    """
    depth = config.depth

    def stack(name: str) -> Array:
        return np.stack([weights[f"layers.{i}.{name}"] for i in range(depth)]).astype(np.float32)

    def matrices(name: str) -> Array:
        return np.stack([_transposed(weights[f"layers.{i}.{name}"]) for i in range(depth)])

    layers: MinGRUWeights | LSTMWeights | GRUWeights | ElmanWeights
    match config.cell:
        case "mingru":
            layers = MinGRUWeights(
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
            layers = LSTMWeights(matrices("lstm.weight_ih_l0"), matrices("lstm.weight_hh_l0"), bias)
        case "gru":
            layers = GRUWeights(
                matrices("gru.weight_ih_l0"),
                matrices("gru.weight_hh_l0"),
                stack("gru.bias_ih_l0"),
                stack("gru.bias_hh_l0"),
            )
        case "elman":
            activation = get_args(Activation).index(config.activation)
            layers = ElmanWeights(
                matrices("input.weight"), matrices("recurrent.weight"), stack("input.bias"), activation
            )
    embedding = np.array(weights["embedding.weight"], np.float32)
    head = weights.get("head.weight", embedding)
    lengths = [length for length in NGRAM_LENGTHS if ngrams_fit(length, len(embedding))]
    ngrams = NGramWeights(np.empty(0, np.int64), np.empty((0, 0), np.float32), 0)
    number = config.ngrams or 0
    if number or "ngrams.codes" in weights:
        codes, rows = weights["ngrams.codes"], weights["ngrams.embedding.weight"]
        if rows.shape != (1 + number, config.width // len(NGRAM_LENGTHS)) or codes.shape != (number,):
            raise ValueError(f"n-grams {codes.shape} and their embeddings {rows.shape} for {number} of them")
        ngrams = NGramWeights(np.array(codes, np.int64), np.array(rows, np.float32), len(lengths))
    norm = weights["norm"] if config.cell == "mingru" else np.empty(0)
    if embedding.shape[1] != config.width or head.shape != embedding.shape:
        raise ValueError(f"an embedding {embedding.shape} and a softmax {head.shape} for a width of {config.width}")
    if ("head.weight" in weights) == config.tie_weights:
        raise ValueError("tied weights and a softmax of its own, or neither")
    if any(name.startswith(f"layers.{depth}.") for name in weights):
        raise ValueError(f"more than {depth} layers")
    whole = Weights(
        embedding, ngrams, layers, norm.astype(np.float32), _transposed(head), weights["head.bias"].astype(np.float32)
    )
    return changed(whole, lambda matrix: unpacked_bf16(packed_bf16(matrix))) if weight_type == "bf16" else whole


def first_state(config: NetworkConfig, weights: Weights) -> tuple[Array, ...]:
    """Of one lane that has read nothing, see `charrnn.generation.stepper.LaneState`."""
    depth, width = config.depth, config.width
    shapes: dict[str, list[tuple[int, ...]]] = {
        "mingru": [(depth, 1, width), (depth, CONV_WIDTH - 1, 1, width)],
        "lstm": [(depth, 1, width)] * 2,
    }
    state = tuple(np.zeros(shape, np.float32) for shape in shapes.get(config.cell, [(depth, 1, width)]))
    if config.ngrams:
        state += (np.full((1, NGRAM_REACH), len(weights.embedding)),)
    return state


def changed(weights: Weights, change: Callable[[Array], Array]) -> Weights:
    """The same with other matrices, each by `change`, whose shape is (…, N, M)."""
    layers: Any = weights.layers
    matrices = {name: change(getattr(layers, name)) for name in layers._fields if name in MATRICES}
    return weights._replace(layers=layers._replace(**matrices), head=change(weights.head))


def num_numbers(weights: Weights) -> int:
    """All numbers of which each step needs every one."""
    return sum(part.size for part in (*weights.layers, weights.head) if isinstance(part, np.ndarray))


def packed_bf16(matrices: Array) -> Array:
    """Float32 matrices (…, N, M) → (…, N / 2, M) uint32, of which each holds two of a column.

    The lower half of the bits holds one weight, rounded to bfloat16. The upper half is chosen such that all 32 bits,
    read as float32, come nearest to the other, so it needs no unpacking.
    """
    bits = matrices.view(np.uint32).astype(np.int64)
    upper, lower = bits[..., 0::2, :], bits[..., 1::2, :]
    low = (lower + 0x7FFF + (lower >> 16 & 1)) >> 16  # to the nearest, ties to even
    high = ((upper & 0x7FFFFFFF) - low + 0x8000) >> 16
    packed: Array = (upper >> 31 << 31 | np.maximum(high, 0) << 16 | low).astype(np.uint32)
    return packed


def unpacked_bf16(packed: Array) -> Array:
    """The weights (…, N, M), float32, that are read from `packed_bf16`."""
    pairs = np.stack([packed.view(np.float32), (packed << np.uint32(16)).view(np.float32)], axis=-2)
    return pairs.reshape(*packed.shape[:-2], -1, packed.shape[-1])


def _transposed(matrix: Array) -> Array:
    """Weights (M, N) of torch → (N, M)."""
    outputs, inputs = matrix.shape
    padded = np.zeros((-(-inputs // PACK) * PACK, outputs), np.float32)
    padded[:inputs] = matrix.T
    return padded
