"""A network on a GPU is the one on the CPU; the first tests hold on a CPU what can be held there."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.network.config import NetworkConfig
from charrnn.network.device import autocast, choose_device, choose_precision, compiled
from charrnn.network.model import Network, State

T, B = 17, 3
CPU = torch.device("cpu")
MakeNetwork = Callable[..., Network]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 40, (T, B), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # rounds the products of "float32" RNNs
    return choose_device("auto")


def results(network: Network, ids: Tensor, precision: str = "fp32", call: Any = None) -> dict[str, Tensor]:
    """Logits, state and gradients of two windows, the state carried from the first to the second; on the CPU."""
    device = network.head.weight.device
    ids = ids.to(device)
    state = network.initial_state(B)
    network.train().zero_grad()  # cuDNN has gradients in training only
    call = network if call is None else call
    parts = []
    for window in ids.split(9):
        with autocast(device, precision):
            logits, state = call(window, state)
        parts.append(logits.float())
    logits = torch.cat(parts)
    (network.nats(logits, ids).mean() + sum(t.square().mean() for layer in state for t in layer)).backward()
    states = {f"state {i}.{j}": t for i, layer in enumerate(state) for j, t in enumerate(layer)}
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert len(gradients) == len(list(network.parameters()))
    return {name: t.detach().cpu() for name, t in ({"logits": logits} | states | gradients).items()}


def close(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    """Each tensor but for `tolerance` times its norm."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].dtype == expected.dtype, name
        assert (ours[name] - expected).norm() <= tolerance * expected.norm(), name


# On a CPU


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_the_operations_for_a_gpu_make_the_same_network(
    precision: str, tolerance: float, ids: Tensor, make_network: MakeNetwork, request: pytest.FixtureRequest
) -> None:
    network = make_network(NetworkConfig(cell="mingru", hidden_size=20, num_layers=2))
    expected = results(network, ids, precision)
    request.getfixturevalue("as_on_a_gpu")
    close(results(network, ids, precision), expected, tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_torch_can_compile_the_network_as_one_graph(precision: str, ids: Tensor, make_network: MakeNetwork) -> None:
    network = make_network(NetworkConfig(cell="mingru", hidden_size=20, num_layers=2))
    names = [name for name, _ in network.named_parameters()]
    call = torch.compile(network, backend="aot_eager", fullgraph=True)
    close(results(network, ids, precision, call), results(network, ids, precision), 1e-5)
    assert [name for name, _ in network.named_parameters()] == names


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_state_is_float32_and_going_on_from_it_is_reading_on(precision: str, network: Network, ids: Tensor) -> None:
    with torch.no_grad(), autocast(CPU, precision):
        whole, final = network(ids, network.initial_state(B))
        state, parts = network.initial_state(B), []
        for part in ids.split([5, 1, 9, 2]):
            logits, state = network(part, state)
            parts.append(logits)
    of_layers = [each[: network.config.depth] for each in (state, final)]
    assert {t.dtype for layers in of_layers for layer in layers for t in layer} == {torch.float32}
    bound = {"rtol": 2**-6, "atol": 0.05} if precision == "bf16" else {"rtol": 1e-4, "atol": 1e-5}
    assert_close(torch.cat(parts), whole, **bound)
    assert_close(state, final, **bound)


def test_a_cpu_without_a_bf16_lstm_computes_it_in_float32(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.network.cells._cpu_has_bf16_lstm", lambda: False)
    layer = make_network(NetworkConfig(cell="lstm", hidden_size=20, num_layers=1)).layers[0]
    x = torch.randn(T, B, 20)
    with torch.no_grad():
        expected, _ = layer(x, layer.initial_state(B))
        with autocast(CPU, "bf16"):
            outputs, _ = layer(x, layer.initial_state(B))
    assert_close(outputs, expected, rtol=0, atol=0)


# On a GPU


@pytest.mark.gpu
def test_a_gpu_gives_the_outputs_states_and_gradients_of_the_cpu(
    network: Network, ids: Tensor, gpu: torch.device
) -> None:
    close(results(copy.deepcopy(network).to(gpu), ids), results(network, ids), 1e-3)


@pytest.mark.gpu
def test_the_precision_chosen_for_a_gpu_stays_near_float32(network: Network, ids: Tensor, gpu: torch.device) -> None:
    precision = choose_precision("auto", gpu)
    close(results(copy.deepcopy(network).to(gpu), ids, precision), results(network, ids), 0.1)


@pytest.mark.gpu
def test_parts_with_carried_state_are_the_whole_on_a_gpu(network: Network, ids: Tensor, gpu: torch.device) -> None:
    network, ids = network.to(gpu), ids.to(gpu)
    with torch.inference_mode():
        whole, final = network(ids, network.initial_state(B))
        state: State = network.initial_state(B)
        parts = []
        for part in ids.split([5, 1, 9, 2]):
            logits, state = network(part, state)
            parts.append(logits)
    assert_close(torch.cat(parts), whole, rtol=1e-3, atol=1e-4)
    assert_close(state, final, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
def test_a_network_compiled_for_a_gpu_is_the_network(ids: Tensor, gpu: torch.device, make_network: MakeNetwork) -> None:
    network = make_network(NetworkConfig(cell="mingru", hidden_size=20, num_layers=2)).to(gpu)
    close(results(network, ids, call=compiled(network, gpu)), results(network, ids), 1e-3)
