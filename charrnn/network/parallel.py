"""Networks that share nothing, trained at the same time: on a CPU the gradients of each on a thread of its own.

The operations of a small network are too small to be shared out among cores: at the end of each the faster core waits
for the slower one. Whole networks side by side wait once a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from typing import Any, TypeVar, cast

import numba
import torch
from torch import Tensor, nn

from charrnn.network.operations import swiglu

Network = TypeVar("Network", bound=nn.Module)


def mean_loss(networks: Sequence[Network], loss_of: Callable[[Network], Tensor]) -> Tensor:
    """Mean of the losses, scalars, of networks that have no weights in common.

    Where they run side by side their gradients are taken here and now, and `backward` of the mean hands them out.
    `loss_of` must not draw from the common random numbers, as which network comes first is left to chance, and sets
    itself what a thread has for itself, such as autocast's mode.
    """
    threads = torch.get_num_threads()
    workers = min(len(networks), threads)
    on_cpu = next(networks[0].parameters()).device.type == "cpu"
    if workers == 1 or not on_cpu or not _kernels_can_share():
        return torch.stack([loss_of(network) for network in networks]).mean()

    def loss_and_gradients(network: Network) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        torch.set_num_threads(threads // workers)  # of this worker
        loss = loss_of(network) / len(networks)
        return loss.detach(), torch.autograd.grad(loss, _trained(network), allow_unused=True)

    try:
        with ThreadPoolExecutor(workers) as pool:
            losses, gradients = zip(*pool.map(loss_and_gradients, networks), strict=True)
    finally:
        torch.set_num_threads(threads)  # the library of matrix products has one number for all threads
    parameters = chain(*map(_trained, networks))
    return cast(Tensor, _Known.apply(sum(losses), [*chain(*gradients)], *parameters))  # type: ignore[no-untyped-call]


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


class _Known(torch.autograd.Function):
    """A value whose gradients are known."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(None if own is None else own * grads[0] for own in ctx.gradients)


@cache
def _kernels_can_share() -> bool:
    """Whether compiled kernels may run on several threads at once: numba's own pool of threads can't bear it."""
    swiglu(torch.zeros(1, 1, 2))  # numba chooses its threads when the first kernel runs
    return bool(numba.threading_layer() != "workqueue")  # type: ignore[attr-defined]
