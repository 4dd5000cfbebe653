"""Each cell against its formula written as a plain loop in double precision: outputs and all gradients."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from charrnn.network.config import NetworkConfig
from charrnn.network.model import Network

Weights = dict[str, Tensor]
Layer = Callable[[Tensor, tuple[Tensor, ...], Weights], tuple[Tensor, tuple[Tensor, ...]]]
Case = tuple[NetworkConfig, Layer]


def elman(activation: Callable[[Tensor], Tensor]) -> Layer:
    def layer(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, tuple[Tensor, ...]]:
        (h,) = state
        outputs = []
        for x_t in x:
            h = activation(x_t @ w["input.weight"].T + w["input.bias"] + h @ w["recurrent.weight"].T)
            outputs.append(h)
        return torch.stack(outputs), (h,)

    return layer


def gru(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, tuple[Tensor, ...]]:
    (h,) = state
    outputs = []
    for x_t in x:
        from_x = x_t @ w["gru.weight_ih_l0"].T + w["gru.bias_ih_l0"]
        from_h = h @ w["gru.weight_hh_l0"].T + w["gru.bias_hh_l0"]
        (x_r, x_z, x_n), (h_r, h_z, h_n) = from_x.chunk(3, -1), from_h.chunk(3, -1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        h = (1 - z) * torch.tanh(x_n + r * h_n) + z * h
        outputs.append(h)
    return torch.stack(outputs), (h,)


def lstm(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, tuple[Tensor, ...]]:
    h, c = state
    outputs = []
    for x_t in x:
        i, f, g, o = (
            x_t @ w["lstm.weight_ih_l0"].T + w["lstm.bias_ih_l0"] + h @ w["lstm.weight_hh_l0"].T + w["lstm.bias_hh_l0"]
        ).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), (h, c)


def mingru(x: Tensor, state: tuple[Tensor, ...], w: Weights) -> tuple[Tensor, tuple[Tensor, ...]]:
    h, tail = state
    last = list(tail)  # the last three inputs, oldest first
    outputs = []
    for x_t in x:
        last = [*last, rms_norm(x_t) * w["norm"]]
        u = sum(k * past for k, past in zip(w["conv"], last, strict=True))
        last = last[1:]
        z, c, g = (u @ w["gates.weight"].T + w["gates.bias"]).chunk(3, -1)
        h = (1 - torch.sigmoid(z)) * h + torch.sigmoid(z) * c
        y = x_t + (h * F.silu(g)) @ w["out.weight"].T
        a, b = (rms_norm(y) * w["mlp_norm"] @ w["mlp_in.weight"].T).chunk(2, -1)
        outputs.append(y + (F.silu(a) * b) @ w["mlp_out.weight"].T)
    return torch.stack(outputs), (h, torch.stack(last))


def rms_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


CASES: dict[str, Case] = {
    "mingru": (NetworkConfig(cell="mingru"), mingru),
    "lstm": (NetworkConfig(cell="lstm"), lstm),
    "gru": (NetworkConfig(cell="gru"), gru),
    "elman-tanh": (NetworkConfig(cell="elman", activation="tanh"), elman(torch.tanh)),
    "elman-sigmoid": (NetworkConfig(cell="elman", activation="sigmoid"), elman(torch.sigmoid)),
    "elman-relu": (NetworkConfig(cell="elman", activation="relu"), elman(torch.relu)),
}


@pytest.mark.parametrize("length", [1, 2, 3, 12])
@pytest.mark.parametrize("name", CASES)
def test_a_cell_is_its_formula(name: str, length: int, make_network: Callable[[NetworkConfig], Network]) -> None:
    config, textbook = CASES[name]
    layer = make_network(
        NetworkConfig(cell=config.cell, activation=config.activation, hidden_size=20, num_layers=1)
    ).layers[0]
    weights = {name: parameter.detach().double().requires_grad_() for name, parameter in layer.named_parameters()}
    x = torch.randn(length, 3, 20, requires_grad=True)
    state = tuple(torch.randn_like(tensor).requires_grad_() for tensor in layer.initial_state(3))
    wide_x = x.detach().double().requires_grad_()
    wide_state = tuple(tensor.detach().double().requires_grad_() for tensor in state)

    outputs, final = layer(x, state)
    expected, expected_final = textbook(wide_x, wide_state, weights)
    close(outputs, expected)
    close(final, expected_final)

    results = [outputs, *final]
    cotangents = [torch.randn_like(result) for result in results]
    gradients = torch.autograd.grad(results, [x, *state, *layer.parameters()], cotangents)
    expected_gradients = torch.autograd.grad(
        [expected, *expected_final],
        [wide_x, *wide_state, *weights.values()],
        [cotangent.double() for cotangent in cotangents],
    )
    for label, ours, theirs in zip(
        ["x", *(f"state {i}" for i in range(len(state))), *weights], gradients, expected_gradients, strict=True
    ):
        close(ours, theirs, f"gradient of {label}")


def close(ours: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...], label: str = "outputs") -> None:
    assert_close(ours, expected, rtol=1e-4, atol=2e-5, check_dtype=False, msg=lambda text: f"{label}: {text}")


def test_untrained_lstm_units_rather_keep_than_forget() -> None:
    torch.manual_seed(0)
    layer = Network(NetworkConfig(cell="lstm", hidden_size=64, num_layers=1), 10, 10).layers[0]
    weights = dict(layer.named_parameters())
    bias = (weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"])[64:128]  # order: input, forget, cell, output
    assert bias.mean().item() == pytest.approx(1, abs=0.1)


def test_untrained_mingru_units_remember_from_one_to_about_fifty_characters() -> None:
    layer = Network(NetworkConfig(cell="mingru", hidden_size=64, num_layers=1), 10, 10).layers[0]
    memories = 1 / torch.sigmoid(dict(layer.named_parameters())["gates.bias"][:64])
    assert 1 < memories.min() < 2
    assert 40 < memories.max() < 70
