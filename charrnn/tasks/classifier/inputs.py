"""Texts to what the network reads: the ids of each view, in padded batches.

A text stands between two line ends, from which either direction begins, as a language model does.

Shapes: T time, B batch, N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from charrnn.network.device import autocast, to_device
from charrnn.tasks.classifier.network import WINDOW, ClassifierNetwork, Inputs, ViewName
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.text.batches import by_length, pad
from charrnn.text.vocab import Ids, Vocab, build_vocab

LONG_CHARS = 1 << 16  # a text from here on becomes ids piece by piece
MEANT = 2 / 3  # weight of a text's reading as it was meant, beside that as it stands
MAX_TOKENS = 1 << 14  # ids of one view in one batch, padding included

Encoded = list[list[Ids]]  # of each view, the ids of each text


def make_vocabs(
    texts: Sequence[str],
    names: Sequence[ViewName],
    subword_vocab_size: int,
    given: Mapping[ViewName, Vocab],
    more: Sequence[str] = (),
) -> dict[ViewName, Vocab]:
    """The vocabularies of these views, those not `given` made from the training texts, that of subwords from `more`
    lines too."""
    whole = "\n".join([*texts, ""])
    chunks: dict[ViewName, Iterable[str]] = {"char": [whole], "subword": chain([whole], (f"{line}\n" for line in more))}
    sizes: dict[ViewName, int | None] = {"char": None, "subword": subword_vocab_size}
    return {name: given[name] if name in given else build_vocab(name, chunks[name], sizes[name]) for name in names}


def encode(texts: Sequence[str], vocabs: Mapping[ViewName, Vocab]) -> Encoded:
    """The ids of all texts, view by view."""
    return [_encode(texts, vocab) for vocab in vocabs.values()]


def collate(encoded: Encoded, indices: Sequence[int], device: torch.device) -> Inputs:
    """The texts of these indices as one batch."""
    batch = []
    for view in encoded:
        ids, lengths = map(torch.from_numpy, pad([view[i] for i in indices]))
        batch.append((to_device(ids, device), to_device(lengths, device)))
    return batch


def logits_of(
    network: ClassifierNetwork,
    texts: Sequence[str],
    vocabs: Mapping[ViewName, Vocab],
    precision: str,
    spelling: Spelling | None = None,
) -> Tensor:
    """The network's logits (N, C) of all texts, in their order, on the CPU. A long text is read alone.

    Texts that were probably meant otherwise, where a spelling is given, are read twice: their subwords as they stand
    and as they were meant. The logits are the weighted mean of both.
    """
    encoded = encode(texts, vocabs)
    logits = _logits_of(network, encoded, precision)
    if spelling is not None and "subword" in vocabs:
        meant = _corrected(texts, spelling)
        changed = [i for i, text in enumerate(texts) if meant[i] != text]
        if changed:
            again = [[ids[i] for i in changed] for ids in encoded]
            again[list(vocabs).index("subword")] = _encode([meant[i] for i in changed], vocabs["subword"])
            logits[changed] += MEANT * (_logits_of(network, again, precision) - logits[changed])
    return logits


def _logits_of(network: ClassifierNetwork, encoded: Encoded, precision: str) -> Tensor:
    logits = torch.empty(len(encoded[0]), network.num_classes)
    with torch.inference_mode(), autocast(network.device, precision):
        for indices in _batches(encoded):
            logits[indices] = network(collate(encoded, indices, network.device), WINDOW).cpu()
    return logits


def _batches(encoded: Encoded) -> Iterator[list[int]]:
    longest = [max(map(len, views)) for views in zip(*encoded, strict=True)]
    for indices in by_length(longest, MAX_TOKENS):
        if longest[indices[-1]] > WINDOW:
            yield from ([i] for i in indices)
        else:
            yield indices


def _corrected(texts: Sequence[str], spelling: Spelling) -> list[str]:
    """Long texts stay as they stand: they have words enough."""
    corrected = iter(spelling.corrected([text for text in texts if len(text) < LONG_CHARS]))
    return [next(corrected) if len(text) < LONG_CHARS else text for text in texts]


def _encode(texts: Sequence[str], vocab: Vocab) -> list[Ids]:
    start = np.array([vocab.start_id], dtype=vocab.dtype)
    if any(len(text) >= LONG_CHARS for text in texts):
        bodies = [np.concatenate([start[:0], *vocab.encode_chunks(_pieces(text))]) for text in texts]
    else:
        bodies = vocab.encode_batch(texts)
    return [np.concatenate([start, body, start]) for body in bodies]


def _pieces(text: str) -> list[str]:
    return [text[i : i + LONG_CHARS] for i in range(0, len(text), LONG_CHARS)]
