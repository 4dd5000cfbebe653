"""How a language model reads a text: surprise, likeliest alternatives and recurrent state at every place.

A *span* is the smallest stretch of text that begins and ends where both a character and an entry of the vocabulary
do: one character of a char or byte vocabulary, however many bytes spell it, and one subword, or as many of them as
it takes to complete a character. It is the unit in which places of the text are counted here.

Shapes: N entries, K alternatives, S spans, U units, B lanes, D width of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charrnn.network.model import Network, State
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Ids

ALTERNATIVES = 5  # K, where the network has so many outputs
SEGMENT = 256  # entries of the text that a lane reads

Floats = npt.NDArray[np.float32]
Report = Callable[[float], None]


@dataclass(frozen=True)
class Unit:
    """One number of the recurrent state: `part` is "h", or "c" for the memory of an lstm; counted from 0."""

    layer: int
    part: str
    index: int


@dataclass(frozen=True)
class Trace:
    """What a model did with a text."""

    spans: tuple[str, ...]  # joined they are the text
    lengths: npt.NDArray[np.int64]  # (S,) entries of each span
    ids: Ids  # (N,)
    nats: Floats  # (N,) of each entry, scored once after all that comes before it
    ranks: npt.NDArray[np.int64]  # (N,) 1 for the likeliest
    alternatives: npt.NDArray[np.int64]  # (N, K) ids of the likeliest entries, best first
    probabilities: Floats  # (N, K) theirs
    units: tuple[Unit, ...]
    states: Floats  # (S, U) after the last entry of each span

    @property
    def bits_per_char(self) -> float:
        return float(self.nats.sum(dtype=np.float64)) / math.log(2) / sum(map(len, self.spans))


def trace(model: LanguageModel, text: str, report: Report | None = None) -> Trace:
    """Read `text` once from the beginning, keeping everything; `report` is told the part that is done, up to 1.

    Ranks and alternatives are those among the entries that training has seen. The states take 4·U bytes of memory
    an entry, twice while they are gathered.
    """
    network, vocab = model.network, model.vocab
    ids = vocab.encode(text)
    targets = torch.from_numpy(ids.astype(np.int64))
    inputs = F.pad(targets, (1, 0), value=vocab.start_id)
    read = _read(network, inputs, F.pad(targets, (0, 1)), report or (lambda done: None))
    spans, lengths = _spans(text, [vocab.pieces[i] for i in ids.tolist()])
    nats, ranks, alternatives, probabilities, states = (part.numpy() for part in read)
    return Trace(
        spans=tuple(spans),
        lengths=lengths,
        ids=ids,
        nats=nats[:-1],
        ranks=ranks[:-1],
        alternatives=alternatives[:-1],
        probabilities=probabilities[:-1],
        units=_units(network),
        states=states[np.cumsum(lengths)],  # row 0 is the state before the text
    )


def _read(network: Network, inputs: Tensor, targets: Tensor, report: Report) -> tuple[Tensor, ...]:
    """Of inputs and targets (N,): nats, ranks (N,), alternatives, probabilities (N, K), states after inputs (N, U).

    A network gives only the last state of what it reads at once. So the text is cut into segments; one quick reading
    gives the state before each, and from these all segments are read side by side, one entry at a time.
    """
    device = network.head.weight.device
    lanes = math.ceil(len(inputs) / SEGMENT)
    length = math.ceil(len(inputs) / lanes)

    def cut(entries: Tensor) -> Tensor:
        return F.pad(entries, (0, lanes * length - len(entries))).view(lanes, length).to(device)

    segments, rows = cut(inputs), cut(targets).T
    starts, state = [], network.initial_state(1)
    figures: list[tuple[Tensor, ...]] = []
    with torch.inference_mode():
        for lane, segment in enumerate(segments):
            starts.append(state)
            _, state = network.features(segment[:, None], state)
            report(0.5 * (lane + 1) / lanes)
        state = _side_by_side(starts)
        states = torch.empty(lanes, length, len(_units(network)))
        for step, (entries, wanted) in enumerate(zip(segments.T, rows, strict=True)):
            logits, state = network(entries[None], state)
            figures.append(_score(network, logits[0], wanted))
            states[:, step] = _flat(state)
            report(0.5 + 0.5 * (step + 1) / length)
    of_entries = [torch.stack(parts, dim=1) for parts in zip(*figures, strict=True)]
    return tuple(part.flatten(0, 1)[: len(inputs)] for part in (*of_entries, states))


def _score(network: Network, logits: Tensor, targets: Tensor) -> tuple[Tensor, ...]:
    """Logits (B, O) and targets (B,) → nats, ranks (B,), alternatives and their probabilities (B, K), on the CPU."""
    nats = network.nats(logits[None], targets[None])[0]
    probs = logits.float().softmax(-1)
    seen = probs[:, : network.seen_size]
    came = probs.gather(1, targets.clamp(max=probs.shape[-1] - 1)[:, None])
    # The last output stands for all entries that training never saw, in equal parts.
    came = came / torch.where(targets < network.seen_size, 1, network.num_unseen)[:, None]
    best = seen.topk(min(ALTERNATIVES, network.seen_size))
    return nats.cpu(), 1 + (seen > came).sum(-1).cpu(), best.indices.cpu(), best.values.cpu()


def _side_by_side(states: Sequence[State]) -> State:
    """States of one lane each as one state of many lanes."""
    layers = zip(*states, strict=True)
    return tuple(tuple(torch.cat(parts, dim=-2) for parts in zip(*layer, strict=True)) for layer in layers)


def _recurrent(layer: tuple[Tensor, ...]) -> list[tuple[str, Tensor]]:
    """The named parts (B, D) of a layer's state: h, and c of an lstm. Others, as a mingru's, hold past inputs."""
    return list(zip("hc", (part for part in layer if part.dim() == 2 and part.is_floating_point()), strict=False))


def _flat(state: State) -> Tensor:
    """(B, U), on the CPU."""
    return torch.cat([part for layer in state for _, part in _recurrent(layer)], dim=-1).cpu()


def _units(network: Network) -> tuple[Unit, ...]:
    """What the columns of `_flat` are."""
    return tuple(
        Unit(number, name, index)
        for number, layer in enumerate(network.initial_state(1))
        for name, part in _recurrent(layer)
        for index in range(part.shape[-1])
    )


def _spans(text: str, pieces: Sequence[bytes]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The spans of a text that is spelled in these pieces, and the number of pieces of each (S,)."""
    char_ends = np.cumsum([len(char.encode("utf-8", errors="surrogatepass")) for char in text])
    piece_ends = np.cumsum([len(piece) for piece in pieces])
    _, last_chars, last_pieces = np.intersect1d(char_ends, piece_ends, return_indices=True)
    spans = [text[start:stop] for start, stop in pairwise([0, *(last_chars + 1).tolist()])]
    return spans, np.diff(last_pieces, prepend=-1)
