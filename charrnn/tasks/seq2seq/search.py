"""Beam search: the likeliest targets, for many sources at once.

Shapes: S source time, B sources, K hypotheses of each (the beam), N = B·K lanes, T entries written so far, V entries.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from charrnn.errors import UsageError
from charrnn.network.model import select
from charrnn.tasks.seq2seq.ensemble import Ensemble

DEFAULT_RATIO = 2.0  # longest target for each entry of the source, where nothing is known of the pairs
MOST_PENALTY = 10
COMPACTION = 4  # the sources still searched move together when one in so many is done


@dataclass(frozen=True)
class SearchConfig:
    """How targets are searched for. A model's directory holds one in `generation_config.json`, to be edited."""

    beam: int | None = None  # hypotheses that are followed; 1 takes the likeliest entry each time; None: 5, or 10 for a
    # joint-sequence model to choose from
    length_penalty: float | None = None  # a hypothesis is worth its log-probability / its length to this power;
    # None: 1, or 0 beside a joint-sequence model, which knows how long targets are
    joint_weight: float | None = None  # of a joint-sequence model beside the network; None: by validation; 0: none
    no_repeat_ngram: int | None = None  # so many entries in a row are not written twice; None: in a summarizer that is
    # trained, as many as hardly a target repeats; else no matter
    max_ratio: float | None = None  # longest target, in entries for each of the source; None: what the pairs have
    max_extra: int = 10  # and so many more

    def __post_init__(self) -> None:
        for name in ("beam", "no_repeat_ngram", "max_extra"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        for name in ("joint_weight", "max_ratio"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} must be a number from 0 on, not {value}")
        if self.length_penalty is not None and not 0 <= self.length_penalty <= MOST_PENALTY:
            raise UsageError(f"length_penalty must lie between 0 and {MOST_PENALTY}, not {self.length_penalty}")

    @property
    def width(self) -> int:
        """How many hypotheses are followed."""
        return self.beam or (10 if self.joint_weight else 5)

    @property
    def length_power(self) -> float:
        """To which the length of a hypothesis is raised."""
        if self.length_penalty is not None:
            return self.length_penalty
        return 0.0 if self.joint_weight else 1.0

    def limits(self, lengths: Tensor) -> Tensor:
        """Longest targets (B,), their ends included, for sources of these lengths (B,)."""
        ratio = DEFAULT_RATIO if self.max_ratio is None else self.max_ratio
        return (ratio * lengths).long() + self.max_extra


@dataclass(frozen=True)
class Hypothesis:
    """A target that was found."""

    ids: tuple[int, ...]  # without its end
    nats: float  # negative log-likelihood, its end included
    score: float  # by which hypotheses are compared, the higher the better
    joint: float = 0.0  # log-probability of source and target by a joint-sequence model


def ranked(found: Iterable[Hypothesis], config: SearchConfig) -> list[Hypothesis]:
    """What the network found, by what it and a joint-sequence model together say, the best first."""
    weight = config.joint_weight or 0.0
    scored = [
        replace(each, score=(weight * each.joint - each.nats) / (len(each.ids) + 1) ** config.length_power)
        for each in found
    ]
    return sorted(scored, key=lambda each: -each.score)


def search(
    network: Ensemble,
    source: Tensor,
    lengths: Tensor,
    end_id: int,
    config: SearchConfig,
    num_best: int = 1,
) -> list[list[Hypothesis]]:
    """The best targets of sources, ids (S, B) padded at the end and lengths (B,), the best first.

    The K likeliest hypotheses of each source are followed, one fewer for each that has ended. A source is done when
    none is left, or when none of those left can come to be one of the `num_best`.
    """
    if num_best > config.width:
        raise UsageError(f"num_best {num_best} needs a beam as wide: beam is {config.width}")
    device, beam = source.device, config.width
    memories = network.read(source, lengths)
    limits = config.limits(lengths)
    number = len(limits)
    owners = list(range(number))  # the source of each row
    found: list[list[Hypothesis]] = [[] for _ in range(number)]
    written = torch.empty(number, beam, 0, dtype=torch.long, device=device)
    log_p = torch.full((number, beam), -torch.inf, device=device)
    log_p[:, 0] = 0.0
    followed = torch.full((number,), beam, device=device)
    states = network.initial_states(number * beam)
    inputs = torch.full((1, number * beam), end_id, device=device)
    for length in itertools.count(1):
        following, states = network.step(inputs, states, memories)
        _block_repeats(following, written.flatten(0, 1), config.no_repeat_ngram)
        _end(following, (limits <= length).repeat_interleave(beam), end_id)
        best = following.topk(min(beam, following.shape[1]))
        total = log_p[..., None] + best.values.log().view(number, beam, -1)
        log_p, order = total.flatten(1).topk(beam)
        parents = order // best.values.shape[1]
        chosen = best.indices.view(number, -1).gather(1, order)
        written = torch.cat(
            [written.gather(1, parents[..., None].expand(-1, -1, length - 1)), chosen[..., None]], dim=-1
        )
        log_p = log_p.masked_fill(torch.arange(beam, device=device) >= followed[:, None], -torch.inf)
        ended = (chosen == end_id) & log_p.isfinite()
        for row, place in ended.nonzero().tolist():
            total_log_p = log_p[row, place].item()
            ids = tuple(written[row, place, :-1].tolist())
            found[owners[row]].append(Hypothesis(ids, -total_log_p, total_log_p / length**config.length_power))
        followed = followed - ended.sum(1)
        log_p = log_p.masked_fill(ended, -torch.inf)
        needed = log_p.new_tensor([_needed(found[owner], num_best) for owner in owners])
        # Where nothing is left, that may be no number: not above what is needed.
        done = ~(_best_possible(log_p.amax(1), length, limits, config.length_power) > needed)
        if done.all():
            break
        log_p = log_p.masked_fill(done[:, None], -torch.inf)
        rows = torch.arange(number, device=device)
        if COMPACTION * int(done.sum()) >= number:
            rows = (~done).nonzero()[:, 0]
            owners = [owners[row] for row in rows.tolist()]
            memories = tuple(memory.select(rows) for memory in memories)
            limits, followed = limits[rows], followed[rows]
            written, log_p, chosen, parents = written[rows], log_p[rows], chosen[rows], parents[rows]
            number = len(rows)
        if beam > 1 or len(rows) < len(done):
            lanes = (rows[:, None] * beam + parents).flatten()
            states = tuple(select(state, lanes) for state in states)
        inputs = chosen.view(1, -1)
    return [sorted(hypotheses, key=lambda each: -each.score)[:num_best] for hypotheses in found]


def _needed(found: list[Hypothesis], num_best: int) -> float:
    """The score above which another hypothesis would be one of the best."""
    if len(found) < num_best:
        return -float("inf")
    return sorted(hypothesis.score for hypothesis in found)[-num_best]


def _best_possible(log_p: Tensor, length: int, limits: Tensor, length_power: float) -> Tensor:
    """What the best of the hypotheses of a source can come to, at most: log_p (B,) at this length → (B,).

    Every further entry can only lower its log-probability, and divide it by more, up to the longest target.
    """
    return log_p / limits.clamp(min=length) ** length_power


def _block_repeats(following: Tensor, written: Tensor, size: int | None) -> None:
    """No probability (N, V) for entries that would repeat `size` entries in a row of those written (N, T)."""
    if size is None or written.shape[1] < size:
        return
    grams = written.unfold(1, size, 1)
    same = (grams[..., :-1] == written[:, None, written.shape[1] - size + 1 :]).all(-1)
    lanes, places = same.nonzero(as_tuple=True)
    following[lanes, grams[lanes, places, -1]] = 0.0


def _end(following: Tensor, lanes: Tensor, end_id: int) -> None:
    """No probability (N, V) for anything but the end in these lanes (N,)."""
    ends = following[:, end_id].clone()
    following.masked_fill_(lanes[:, None], 0.0)
    following[:, end_id] = ends
