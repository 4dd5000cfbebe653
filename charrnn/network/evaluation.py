"""Nats of a text under a network: each target scored once, with carried state.

Shapes: T time, B batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from charrnn.network.model import Network

WINDOW = 2048  # targets of one stream scored at once; the figure does not depend on it


def score_stream(network: Network, chunks: Iterable[Tensor], first: int) -> Iterator[Tensor]:
    """Nats (T,) of every id in `chunks` (each (T,)), read after the entry `first`, in bounded memory."""
    device = network.head.weight.device
    state = network.initial_state(1)
    previous = torch.tensor([first])
    for chunk in chunks:
        for start in range(0, len(chunk), WINDOW):
            targets = chunk[start : start + WINDOW]
            inputs = torch.cat([previous, targets[:-1]])
            with torch.inference_mode():  # not while the caller has the nats: it may want gradients of its own
                logits, state = network(inputs[:, None].to(device), state)
                nats = network.nats(logits, targets[:, None].to(device))[:, 0].cpu()
            yield nats
            previous = targets[-1:]


def mean_nats(network: Network, ids: Tensor, window: int = 64) -> float:
    """Mean nats of ids (T + 1, B), the first row read only: lanes side by side, quick for every cell."""
    device = network.head.weight.device
    state = network.initial_state(ids.shape[1])
    total = 0.0
    with torch.inference_mode():
        for start in range(0, len(ids) - 1, window):
            part = ids[start : start + window + 1].to(device)
            logits, state = network(part[:-1], state)
            total += network.nats(logits, part[1:]).sum().item()
    return total / ids[1:].numel()
