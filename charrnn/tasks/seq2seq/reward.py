"""Learning from what the network writes itself, once it writes well: what is nearer to the target becomes likelier.

Likelihood judges one entry at a time, after those of the target. Here whole targets are drawn for each source and
compared with the true one. Their expected loss, the risk, is made small (minimum risk training, Shen et al. 2016, arXiv
1512.02433) by its policy gradient, in which each is measured by the others of its source (Kool et al. 2019); the reward
is ROUGE, as Paulus et al. 2018, arXiv 1705.04304, have it for summaries. Each network of an ensemble learns from what
they write together as if it had written it alone.

Shapes: S source time, T target time, B sources, K draws of each, N lanes, those of a source side by side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from charrnn.network.device import autocast
from charrnn.network.model import select
from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.inputs import Batch
from charrnn.tasks.seq2seq.metrics import longest_common, words
from charrnn.tasks.seq2seq.model import Seq2Seq
from charrnn.tasks.seq2seq.network import Seq2SeqNetwork
from charrnn.tasks.seq2seq.objective import Seq2SeqObjective
from charrnn.tasks.seq2seq.search import COMPACTION
from charrnn.training.trainer import Units

DRAWS = 4  # of each source
LIKELIHOOD = 0.1  # weight of the targets' mean nats beside the risk, so that it stays a language
EXTRA = 5  # entries that a draw may have beyond the longest target of its batch


class RewardObjective(Seq2SeqObjective):
    """The risk of what the network writes, and a little of the targets' nats. What is validated is the risk of what is
    found with the model's beam, by the mean of the weights over the latest steps."""

    def __init__(self, model: Seq2Seq, *args: Any, **options: Any) -> None:
        """As `Seq2SeqObjective`, for a model's network."""
        super().__init__(model.network, *args, **options)
        self.writer = model
        self.end_id = model.sides.target.vocab.start_id
        self.train_words, self.val_words = (
            [self._words(target[1:].tolist()) for target in part.targets] for part in (self.train, self.val)
        )
        self.units = Units("risk", 1.0, 1.0, "pairs", self.units.per_step)

    def next_loss(self) -> Tensor:
        """Its value is the mean risk of what was drawn, its gradient that of the risk and of the targets' nats."""
        self.average.follow()
        indices = self.batches.next_batch().tolist()
        batch = Batch.of(self.train, indices, self.device)
        with autocast(self.device, self.precision):
            drawn = draw(self.model, batch, DRAWS, self.end_id)
        rewards = torch.tensor(
            [
                [overlap(self.train_words[i], self._words(lane)) for lane in lanes]
                for i, lanes in zip(indices, drawn.permute(1, 2, 0).tolist(), strict=True)
            ],
            device=self.device,
        )
        better = (rewards - rewards.mean(1, keepdim=True)) * DRAWS / (DRAWS - 1)  # than the others, on average

        def loss(network: Seq2SeqNetwork) -> Tensor:
            nats, counted = self._nats_of(network, batch, drawn)
            likelihood = nats[..., 0].sum() / counted[..., 0].sum()
            surrogate = (better * nats[..., 1:].sum(0)).mean() + LIKELIHOOD * likelihood
            return surrogate + (1 - rewards.mean() - surrogate).detach()

        return self.model.mean_loss(loss)

    def validate(self) -> float:
        """Mean risk of what is found for the validation sources."""
        with self.average.in_place():
            found = self.writer.hypotheses(self.val.sources, self.writer.search, 1)
        rewards = [
            overlap(target, self._words(best.ids)) for target, (best,) in zip(self.val_words, found, strict=True)
        ]
        return 1 - sum(rewards) / len(rewards)

    def _words(self, ids: Sequence[int]) -> list[str]:
        """The words of a target, of which nothing counts after its end."""
        ids = ids[: ids.index(self.end_id)] if self.end_id in ids else ids
        return words(self.writer.sides.target.decode(ids))

    def _nats_of(self, network: Seq2SeqNetwork, batch: Batch, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Nats (T, B, 1 + K) of the targets and of what was drawn (T, B, K), and which of them are no padding."""
        steps = max(len(batch.targets), len(drawn))
        lanes = torch.cat([lengthened(batch.targets[..., None], steps), lengthened(drawn, steps)], dim=-1)
        ends = lanes == self.end_id
        counted = ends.cumsum(0) - ends.long() == 0
        targets = lanes.flatten(1)
        inputs = torch.cat([torch.full_like(targets[:1], self.end_id), targets[:-1]])
        with autocast(self.device, self.precision):
            outputs, memory = network(batch.source, batch.source_lengths, inputs)
        return network.nats(outputs, memory, targets).view(lanes.shape) * counted, counted


@torch.no_grad()
def draw(network: Ensemble, batch: Batch, number: int, end_id: int) -> Tensor:
    """Targets (T, B, K) drawn for each source as the network finds them likely, with their ends if they have one."""
    training = network.training
    network.eval()
    memories = network.read(batch.source, batch.source_lengths)
    sources = batch.source.shape[1]
    states = network.initial_states(sources * number)
    entries = torch.full((sources, number), end_id, device=batch.source.device)
    ended = torch.zeros_like(entries, dtype=torch.bool)
    left = torch.arange(sources, device=entries.device)  # sources of which not all draws have ended
    drawn: list[Tensor] = []
    while len(drawn) < len(batch.targets) + EXTRA and len(left):
        probabilities, states = network.step(entries[left].view(1, -1), states, memories)
        sums = probabilities.float().cumsum(1)
        chance = torch.rand(len(sums), 1, device=sums.device) * sums[:, -1:]
        chosen = torch.searchsorted(sums, chance, right=True).clamp(max=sums.shape[1] - 1).view(-1, number)
        entries[left] = chosen.masked_fill(ended[left], end_id)
        ended |= entries == end_id
        drawn.append(entries.clone())
        rows = (~ended[left].all(1)).nonzero()[:, 0]
        if COMPACTION * (len(left) - len(rows)) >= len(left):
            left, memories = left[rows], tuple(memory.select(rows) for memory in memories)
            lanes = (rows[:, None] * number + torch.arange(number, device=rows.device)).flatten()
            states = tuple(select(state, lanes) for state in states)
    network.train(training)
    return torch.stack(drawn)


def overlap(target: Sequence[Hashable], said: Sequence[Hashable]) -> float:
    """What a target and what was said have in common: the mean of ROUGE-1, -2 and -L (Lin 2004), that is of the shares
    of words, of pairs of words, and of the longest row of words in both, whatever stands between them."""
    shares = []
    for size in (1, 2):
        grams = [Counter(zip(*(side[i:] for i in range(size)), strict=False)) for side in (target, said)]
        if number := grams[0].total() + grams[1].total():
            shares.append(2 * (grams[0] & grams[1]).total() / number)
    shares.append(2 * longest_common(target, said) / max(len(target) + len(said), 1))
    return sum(shares) / len(shares)


def lengthened(lanes: Tensor, steps: int) -> Tensor:
    """Lanes (T, …) with zeros after them, so many steps in all."""
    return F.pad(lanes.flatten(1), (0, 0, 0, steps - len(lanes))).view(steps, *lanes.shape[1:])
