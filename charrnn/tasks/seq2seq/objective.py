"""What the network is trained on: every entry of a target, given its source and the entries before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.network.device import autocast
from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.inputs import Batch, Encoded
from charrnn.tasks.seq2seq.network import Seq2SeqNetwork
from charrnn.text.batches import ShuffledBatches, by_length
from charrnn.training.average import WeightAverage
from charrnn.training.trainer import Units


@dataclass(frozen=True)
class ObjectiveConfig:
    """What a step is made of, and what counts as a mistake."""

    batch_tokens: int = 1500  # entries of a batch, sources and targets with their padding
    label_smoothing: float = 0.1
    averaging: float = 0.99  # of weights over steps: what each keeps of the mean before it
    rewarded: float | None = None  # share of the budget, its last, in which the network learns from what it writes
    # itself; None: what suits task and budget

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise UsageError(f"batch_tokens must be at least 1, not {self.batch_tokens}")
        for name in ("label_smoothing", "averaging", "rewarded"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise UsageError(f"{name} must lie in [0, 1), not {share}")


class Seq2SeqObjective:
    """Cross-entropy of the targets. What is validated, and kept, is the mean of the weights over the latest steps."""

    def __init__(
        self,
        network: Ensemble,
        train: Encoded,
        val: Encoded,
        config: ObjectiveConfig,
        *,
        batch_size: int,
        seed: int,
        precision: str,
    ) -> None:
        """A batch has at most `batch_size` pairs, and at most as many entries as `config` says."""
        self.model = network
        self.train, self.val = train, val
        self.config = config
        self.precision = precision
        self.device = network.device
        lengths = np.array(train.lengths())
        self.batches = ShuffledBatches(lambda draw: lengths, batch_size, config.batch_tokens, seed)
        self.epoch_steps = float(len(self.batches))
        self.units = Units("nats/token", 1.0, 1.0, "pairs", len(train.sources) / self.epoch_steps)
        self.average = WeightAverage(network, config.averaging)

    def next_loss(self) -> Tensor:
        """Mean nats of the next batch, smoothed."""
        self.average.follow()
        batch = Batch.of(self.train, self.batches.next_batch().tolist(), self.device)

        def loss(network: Seq2SeqNetwork) -> Tensor:
            with autocast(self.device, self.precision):
                outputs, memory = network(batch.source, batch.source_lengths, batch.inputs)
            nats = network.nats(outputs, memory, batch.targets, self.config.label_smoothing)
            return (nats * batch.counted).sum() / batch.counted.sum()

        return self.model.mean_loss(loss)

    def validate(self) -> float:
        """Nats an entry of the validation targets, by the mean of the weights."""
        with self.average.in_place():
            return self.val_nats()

    @torch.no_grad()
    def val_nats(self) -> float:
        """Nats an entry of the validation targets, by the weights as they are."""
        sums = [0.0, 0.0]
        for indices in by_length(self.val.lengths(), self.config.batch_tokens):
            batch = Batch.of(self.val, indices, self.device)
            with autocast(self.device, self.precision):
                said = self.model(batch.source, batch.source_lengths, batch.inputs)
            nats = self.model.nats(said, batch.targets) * batch.counted
            sums = [sums[0] + nats.sum().item(), sums[1] + batch.counted.sum().item()]
        return sums[0] / sums[1]

    def position(self) -> dict[str, Tensor]:
        """Place in the pairs, and averaged weights."""
        return self.average.state() | {"position": torch.tensor(self.batches.position)}

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""
        self.average.restore(position)
        passes, number = position["position"].tolist()
        self.batches.position = (passes, number)
