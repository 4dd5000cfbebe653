"""Truncated backpropagation through time over lanes of text."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from charrnn.network.device import autocast, compiled, to_device
from charrnn.network.evaluation import mean_nats
from charrnn.network.model import Network, detach
from charrnn.text.lanes import Lanes
from charrnn.text.vocab import Ids
from charrnn.training.trainer import Units

VALIDATION_LANES = 32
VALIDATION_TOKENS = 1 << 15  # of the validation text, read at each validation during a run


class LanguageModelObjective:
    """Next-entry prediction. The state is carried from window to window, and cut from the graph between them."""

    def __init__(
        self,
        network: Network,
        train_ids: Ids,
        val_ids: Ids,
        *,
        batch_size: int,
        bptt_len: int,
        precision: str,
        chars_per_token: tuple[float, float],
        compile: bool = False,
    ) -> None:
        """`chars_per_token` of the training and the validation text, to show losses per character.

        `compile`: training calls the network through torch.compile. Raises UsageError where that cannot work.
        """
        self.model = network
        self.lanes = Lanes(train_ids, batch_size)
        self.bptt_len = bptt_len
        self.precision = precision
        self.device = network.head.weight.device
        self._read = compiled(network, self.device) if compile else network
        self.state = network.initial_state(batch_size)
        tokens_per_step = batch_size * bptt_len
        self.epoch_steps = len(train_ids) / tokens_per_step
        train_bits, val_bits = (1 / math.log(2) / ratio for ratio in chars_per_token)
        self.units = Units("bits/char", train_bits, val_bits, "chars", tokens_per_step * chars_per_token[0])
        lanes = max(min(VALIDATION_LANES, len(val_ids) // 256), 1)
        rows = min(len(val_ids) // lanes, VALIDATION_TOKENS // lanes)
        columns = [np.asarray(val_ids[lane * len(val_ids) // lanes :][:rows]) for lane in range(lanes)]
        self.val_ids = torch.from_numpy(np.stack(columns, axis=1).astype(np.int64))

    def next_loss(self) -> Tensor:
        """Mean nats of the next window."""
        window = to_device(torch.from_numpy(self.lanes.next_window(self.bptt_len)), self.device)
        with autocast(self.device, self.precision):
            logits, state = self._read(window[:-1], self.state)
        self.state = detach(state)
        return self.model.nats(logits, window[1:]).mean()

    def validate(self) -> float:
        """Mean nats of evenly spread parts of the validation text, each read from a fresh state."""
        self.model.eval()
        with autocast(self.device, self.precision):
            nats = mean_nats(self.model, self.val_ids)
        self.model.train()
        return nats

    def position(self) -> dict[str, Tensor]:
        """Place in the text, and the state carried there."""
        state = {f"state.{i}.{j}": t for i, layer in enumerate(self.state) for j, t in enumerate(layer)}
        return {"position": torch.tensor(self.lanes.position), **state}

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""
        self.lanes.position = int(position["position"])
        self.state = tuple(
            tuple(position[f"state.{i}.{j}"].to(self.device) for j in range(len(layer)))
            for i, layer in enumerate(self.state)
        )
