"""What a network is made of: known without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from charrnn.errors import UsageError

Cell = Literal["mingru", "lstm", "gru", "elman"]
Size = Literal["tiny", "small", "base", "large"]
Activation = Literal["tanh", "sigmoid", "relu"]
CELLS: tuple[Cell, ...] = get_args(Cell)

NGRAM_LENGTHS = (2, 3, 4, 5)  # an entry with those before it
NGRAM_REACH = max(NGRAM_LENGTHS) - 1
CONV_WIDTH = 4  # of a mingru layer
NORM_EPSILON = 1e-6

# Width and layers. A mingru layer has 10·D² weights, the others' 2·D² (elman) to 8·D² (lstm).
SIZES: dict[Size, dict[str, tuple[int, int]]] = {
    "tiny": {"mingru": (64, 2), "other": (160, 2)},
    "small": {"mingru": (128, 6), "other": (256, 2)},
    "base": {"mingru": (256, 6), "other": (512, 2)},
    "large": {"mingru": (512, 8), "other": (1152, 2)},
}


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of. `size` stands for a `hidden_size` and a `num_layers` where those are None.

    A `size` of None is small; training chooses one that suits its budget.
    """

    cell: Cell = "lstm"
    size: Size | None = None
    hidden_size: int | None = None
    num_layers: int | None = None
    dropout: float | None = None  # None: chosen from the number of passes over the text
    activation: Activation = "tanh"  # of the elman cell
    tie_weights: bool = False  # one matrix for embedding and softmax
    ngrams: int | None = None  # that have an embedding each, at most; None: what suits the text; 0: none

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("cell", self.cell, CELLS),
            ("size", self.size, tuple(SIZES)),
            ("activation", self.activation, get_args(Activation)),
        ):
            if value is not None and value not in choices:
                raise UsageError(f"unknown {name} {value!r}: choose from {', '.join(choices)}")
        for name, number in (("hidden_size", self.hidden_size), ("num_layers", self.num_layers)):
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        if self.ngrams is not None and self.ngrams < 0:
            raise UsageError(f"ngrams must not be negative, not {self.ngrams}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must lie in [0, 1), not {self.dropout}")

    @property
    def width(self) -> int:
        """D."""
        return self.hidden_size or self._shape[0]

    @property
    def depth(self) -> int:
        """Number of layers."""
        return self.num_layers or self._shape[1]

    @property
    def _shape(self) -> tuple[int, int]:
        shapes = SIZES[self.size or "small"]
        return shapes.get(self.cell, shapes["other"])


def ngrams_fit(length: int, num_entries: int) -> bool:
    """Whether so many entries have codes of 63 bits: see `charrnn.network.ngrams`."""
    return length * math.log2(num_entries + 2) < 63
