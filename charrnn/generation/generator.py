"""Writing text with a network, one entry at a time.

Shapes: B samples, O outputs of the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from charrnn.generation.sampling import REPETITION_WINDOW, SamplingConfig, probabilities
from charrnn.generation.stream import TextStream
from charrnn.network.evaluation import WINDOW
from charrnn.network.model import Network, State, select
from charrnn.text.vocab import Vocab


@dataclass(frozen=True)
class TextState:
    """What a network knows after reading a text: a value that can be kept and continued from any number of times."""

    state: State  # of one lane
    logits: Tensor  # (1, O) of the entry to come
    recent: Tensor  # (1, N) the last entries read


def read(network: Network, vocab: Vocab, text: str, after: TextState | None = None) -> TextState:
    """Read `text`, from the beginning or `after` what was read before."""
    device = network.head.weight.device
    ids = torch.from_numpy(vocab.encode(text).astype("int64"))
    if after is None:
        state, recent = network.initial_state(1), ids.new_empty(1, 0)
        ids = torch.cat([torch.tensor([vocab.start_id]), ids])
    elif len(ids) == 0:
        return after
    else:
        state, recent = after.state, after.recent.cpu()
    with torch.inference_mode():
        for begin in range(0, len(ids), WINDOW):
            features, state = network.features(ids[begin : begin + WINDOW, None].to(device), state)
        logits = network.head(features[-1])
    recent = torch.cat([recent, ids[None]], dim=1)[:, -REPETITION_WINDOW:]
    return TextState(state, logits, recent.to(device))


def write(
    network: Network,
    vocab: Vocab,
    start: TextState,
    sampling: SamplingConfig,
    *,
    max_chars: int,
    stop: Sequence[str] = (),
    num_samples: int = 1,
    seed: int | None = None,
) -> Iterator[tuple[int, str, str | None]]:
    """Continue `start` in `num_samples` ways at once.

    Yields (sample, new text, why it ended): the reason is None while a sample goes on, then "length" or "stop".
    Each sample ends with exactly one reason. Entries never seen in training are never drawn.
    """
    device = start.logits.device
    random = torch.Generator(device)
    if seed is None:
        random.seed()
    else:
        random.manual_seed(seed)
    streams = [TextStream(max_chars, stop) for _ in range(num_samples)]
    for sample, stream in enumerate(streams):
        if stream.finished:
            yield sample, "", stream.finish_reason
    samples = [sample for sample, stream in enumerate(streams) if not stream.finished]
    lanes = torch.zeros(len(samples), dtype=torch.long, device=device)
    state, logits, recent = select(start.state, lanes), start.logits[lanes], start.recent[lanes]
    # Bytes that never become a whole character must not run for ever.
    for _ in range(4 * max_chars + 4):
        with torch.inference_mode():
            logits[:, network.seen_size :] = -torch.inf
            probs = probabilities(logits, sampling, recent.clamp(max=logits.shape[-1] - 1))
            ids = torch.multinomial(probs, 1, generator=random)
        for sample, entry in zip(samples, ids[:, 0].tolist(), strict=True):
            text = streams[sample].feed(vocab.pieces[entry])
            if text or streams[sample].finished:
                yield sample, text, streams[sample].finish_reason
        going_on = [row for row, sample in enumerate(samples) if not streams[sample].finished]
        if not going_on:
            return
        with torch.inference_mode():
            if len(going_on) < len(samples):
                samples = [samples[row] for row in going_on]
                lanes = torch.tensor(going_on, device=device)
                state, ids, recent = select(state, lanes), ids[lanes], recent[lanes]
            recent = torch.cat([recent, ids], dim=1)[:, -REPETITION_WINDOW:]
            batch_logits, state = network(ids.T, state)
            logits = batch_logits[-1]
    for sample in samples:
        yield sample, streams[sample].close(), streams[sample].finish_reason
