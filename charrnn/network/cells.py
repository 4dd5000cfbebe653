"""Recurrent layers: each maps inputs (T, B, D) and a state to outputs (T, B, D) and the next state.

A state is a tuple of tensors whose last dimension but one is the batch, so lanes can be picked or reordered alike
in all of them. They are float32 in every precision; zero is the state before any text. Whole sequence, chunks, and
one step at a time give the same.

Shapes: T time, B batch, D width of the layer.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from charrnn.network.config import CONV_WIDTH
from charrnn.network.operations import add_norm, gated_mix, masked_add, norm_conv, swiglu

LayerState = tuple[Tensor, ...]

ACTIVATIONS = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}


class SharedDropout(nn.Module):
    """Dropout with one mask for all time steps of a window (Gal & Ghahramani 2016): (T, B, D) → (T, B, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0
        self.generator: torch.Generator | None = None  # of the masks; None: the common one

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask(x) if self.training and self.rate else x

    def mask(self, x: Tensor) -> Tensor:
        """A mask (B, D) in float32 for x (T, B, D): zeros and 1 / (1 − rate), or ones when not training."""
        if not self.training or self.rate == 0.0:
            return torch.ones(x.shape[1:], device=x.device)
        kept = torch.empty(x.shape[1:], device=x.device).bernoulli_(1 - self.rate, generator=self.generator)
        return kept.div_(1 - self.rate)


class RecurrentLayer(nn.Module):
    """What every cell has."""

    def initial_state(self, batch_size: int) -> LayerState:
        """Zeros, for so many lanes."""
        raise TypeError(f"{type(self).__name__} has no state")

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """x (T, B, D) and a state → outputs (T, B, D) and the next state."""
        raise TypeError(f"{type(self).__name__} has no recurrence")

    def _zeros(self, *shape: int) -> Tensor:
        return next(self.parameters()).new_zeros(shape)


class Elman(RecurrentLayer):
    """h_t = σ(W_x x_t + W_h h_{t−1} + b), σ of tanh, sigmoid or relu (Elman 1990)."""

    def __init__(self, size: int, activation: str = "tanh") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.dropout = SharedDropout()
        self.input = nn.Linear(size, size)
        self.recurrent = nn.Linear(size, size, bias=False)
        nn.init.orthogonal_(self.recurrent.weight)

    def initial_state(self, batch_size: int) -> LayerState:
        return (self._zeros(batch_size, self.input.out_features),)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        (h,) = state
        outputs = []
        for projected in self.input(x):
            h = self.activation(projected + self.recurrent(h))
            outputs.append(h)
        return self.dropout(torch.stack(outputs)), (h.float(),)


class GRU(RecurrentLayer):
    """Gated recurrent unit (Cho et al. 2014), with the reset gate applied after the product, as cuDNN has it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(size, size)
        self.dropout = SharedDropout()

    def initial_state(self, batch_size: int) -> LayerState:
        return (self._zeros(batch_size, self.gru.hidden_size),)

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        outputs, h = self.gru(x, state[0][None])
        return self.dropout(outputs), (h[0].float(),)


class LSTM(RecurrentLayer):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate, bias 1 at the start)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(size, size)
        self.dropout = SharedDropout()
        with torch.no_grad():
            self.lstm.get_parameter("bias_ih_l0")[size : 2 * size] = 1.0

    def initial_state(self, batch_size: int) -> LayerState:
        return (self._zeros(batch_size, self.lstm.hidden_size), self._zeros(batch_size, self.lstm.hidden_size))

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        h, c = state
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not _cpu_has_bf16_lstm():
            with torch.autocast("cpu", enabled=False):
                outputs, (h, c) = self.lstm(x.float(), (h[None], c[None]))
        else:
            outputs, (h, c) = self.lstm(x, (h[None], c[None]))
        return self.dropout(outputs), (h[0].float(), c[0].float())


@cache
def _cpu_has_bf16_lstm() -> bool:
    """Whether torch can run an LSTM in bf16 on this CPU; it has no way of its own around a lack of AVX-512."""
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


class MinGRU(RecurrentLayer):
    """A minimal gated recurrence (Feng et al. 2024, arXiv 2410.01201) in a pre-norm residual block.

    u = conv(norm(x));  z, c, g = W u + b;  h_t = (1 − σ(z_t))·h_{t−1} + σ(z_t)·c_t;  x += V (h · silu(g))
    then a gated MLP:  a, b = M norm(x);  x += N (silu(a)·b)

    Gates depend on the inputs alone, so all products run over T·B rows at once. State: h (B, D), and the last
    three inputs of the causal convolution (3, B, D).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        inner = 2 * size
        self.norm = nn.Parameter(torch.ones(size))
        self.conv = nn.Parameter(torch.zeros(CONV_WIDTH, size))
        self.gates = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size, bias=False)
        self.mlp_norm = nn.Parameter(torch.ones(size))
        self.mlp_in = nn.Linear(size, 2 * inner, bias=False)
        self.mlp_out = nn.Linear(inner, size, bias=False)
        self.dropout = SharedDropout()
        with torch.no_grad():
            self.conv[-1] = 1.0
            nn.init.normal_(self.gates.weight, std=size**-0.5)
            nn.init.normal_(self.mlp_in.weight, std=size**-0.5)
            nn.init.normal_(self.out.weight, std=0.5 * size**-0.5)
            nn.init.normal_(self.mlp_out.weight, std=0.5 * inner**-0.5)
            nn.init.zeros_(self.gates.bias)
            # Units start with memories from one to about fifty characters.
            self.gates.bias[:size] = torch.linspace(1.0, -4.0, size)

    def initial_state(self, batch_size: int) -> LayerState:
        return (self._zeros(batch_size, self.size), self._zeros(CONV_WIDTH - 1, batch_size, self.size))

    def forward(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        h, tail = state
        dtype = product_dtype(x.device)
        u, tail = norm_conv(x, self.norm, self.conv, tail, dtype)
        mixed, h = gated_mix(self.gates(u), h)
        x, m = add_norm(x, self.out(mixed), self.dropout.mask(x), self.mlp_norm, dtype)
        x = masked_add(x, self.mlp_out(swiglu(self.mlp_in(m))), self.dropout.mask(x))
        return x, (h, tail)


def product_dtype(device: torch.device) -> torch.dtype:
    """The type in which matrix products run here: that of autocast, where it is on."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
