"""Networks side by side learn what they learn one after the other."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charrnn.network import parallel
from charrnn.network.cells import MinGRU
from charrnn.network.parallel import mean_loss

SIZE = 8


class Net(nn.Module):
    """A compiled layer, and a weight that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = MinGRU(SIZE)
        self.unused = nn.Parameter(torch.ones(2))

    def loss(self) -> Tensor:
        x = torch.arange(5 * 3 * SIZE).view(5, 3, SIZE).sin()
        y, _ = self.layer(x, self.layer.initial_state(3))
        return y.square().mean()


@pytest.fixture
def networks() -> list[Net]:
    torch.manual_seed(1)
    return [Net() for _ in range(3)]


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request: pytest.FixtureRequest, use_threads: Callable[[int], None]) -> int:
    use_threads(request.param)
    return int(request.param)


def threads_of_others() -> int:
    """How many a thread has that is begun now."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def gradients(loss: Tensor, networks: list[Net]) -> list[Tensor | None]:
    for network in networks:
        network.zero_grad(set_to_none=True)
    loss.backward()
    return [weight.grad for network in networks for weight in network.parameters()]


def test_side_by_side_is_one_after_the_other(networks: list[Net], threads: int) -> None:
    loss = mean_loss(networks, Net.loss)
    ours = gradients(3 * loss, networks)
    expected = sum(network.loss() for network in networks) / 3
    theirs = gradients(3 * expected, networks)
    assert_close(loss, expected)
    for own, other in zip(ours, theirs, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            assert_close(own, other)
    assert torch.get_num_threads() == threads_of_others() == threads


def test_networks_wait_for_each_other_only_where_kernels_cannot_share(
    networks: list[Net], use_threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_threads(3)
    all_at_once = threading.Barrier(3, timeout=30)

    def loss_of(network: Net) -> Tensor:
        all_at_once.wait()
        return network.unused.sum()

    monkeypatch.setattr(parallel, "_kernels_can_share", lambda: True)
    mean_loss(networks, loss_of)
    monkeypatch.setattr(parallel, "_kernels_can_share", lambda: False)
    seen: list[threading.Thread] = []
    mean_loss(networks, lambda network: (seen.append(threading.current_thread()), network.unused.sum())[1])
    assert seen == [threading.current_thread()] * 3


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_first_kernel_of_a_process_leaves_torch_its_threads(number: int) -> None:
    code = (
        f"import torch; torch.set_num_threads({number}); from charrnn.network.operations import swiglu; "
        "swiglu(torch.zeros(2, 4, 6)); print(torch.get_num_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"{number}\n"


def test_an_error_in_one_reaches_the_caller(networks: list[Net], threads: int) -> None:
    def loss_of(network: Net) -> Tensor:
        if network is networks[1]:
            raise RuntimeError("too large")
        return network.loss()

    with pytest.raises(RuntimeError, match="too large"):
        mean_loss(networks, loss_of)
    assert torch.get_num_threads() == threads_of_others() == threads
