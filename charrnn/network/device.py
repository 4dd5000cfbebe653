"""Where a network runs, and in what precision."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from charrnn.errors import UsageError
from charrnn.network.memory import keep_freed_memory

Precision = Literal["auto", "bf16", "fp32"]
DEVICES = ("cuda", "mps", "cpu")
NARROW = 64  # width up to which a CPU spends more on rounding to bf16 than it gains by it


def choose_device(name: str = "auto") -> torch.device:
    """`auto`: cuda where there is one, then mps, then cpu. Raises UsageError for what this machine lacks.

    From now on the process keeps what memory it frees, for the next step."""
    keep_freed_memory()
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
        is_usable = device.type in DEVICES
    except (RuntimeError, AssertionError, NotImplementedError):  # each kind of device lacking has its own
        is_usable = False
    if not is_usable:
        raise UsageError(f"no device {name!r} on this machine: try --device auto, cuda, mps or cpu")
    return device


def choose_precision(name: Precision, device: torch.device, width: int | None = None) -> Precision:
    """`auto`: bf16 where it is fast. On a CPU it is not where the network is narrow, and else a matrix product is timed
    both ways, in 0.1 s or so."""
    if name != "auto":
        return name
    if device.type == "cpu" and width is not None and width <= NARROW:
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu":
        rates = cpu_rates()
        return "bf16" if rates["bf16"] > 1.3 * rates["fp32"] else "fp32"
    return "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Matrix products in `precision`; weights, recurrence and loss stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there. CUDA copies it in its turn, and the caller need not wait until all work before is done."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def compiled(module: nn.Module, device: torch.device) -> Callable[..., Any]:
    """The module's call by `torch.compile`, made when first called; the module and its parameters' names stay.

    Raises UsageError where that cannot work.
    """
    if device.type == "cpu":
        raise UsageError("compile is for a GPU: on a CPU the compiled kernels are in use anyway; leave compile out")
    try:
        torch.compile(torch.sin)(torch.ones(8, device=device))
    except Exception as error:  # no C compiler, no Triton, too old a GPU: each raises something else
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UsageError(f"torch.compile does not work on {device} here: {reason}; leave compile out") from None
    return torch.compile(module)


def cpu_rates() -> dict[str, float]:
    """FLOP/s of matrix products on the CPU, by precision. They take turns, so that other work there slows both."""
    rates = {"bf16": 0.0, "fp32": 0.0}
    for rows in (*[64] * 3, *[1024] * 12):
        for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
            if rows == 1024 and rates[precision] < max(rates.values()) / 8:
                continue  # a CPU without bf16 would take half a second for one
            a, b = torch.ones(rows, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
            begin = time.perf_counter()
            a @ b
            rate = 2 * a.numel() * b.shape[1] / (time.perf_counter() - begin)
            rates[precision] = max(rates[precision], rate)
    return rates
