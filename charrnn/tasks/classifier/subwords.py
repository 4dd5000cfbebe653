"""What subwords stand among, in all text at hand: where the network's embeddings of them start. Pretrained word
vectors, as in Kim 2014, Convolutional Neural Networks for Sentence Classification, but of subwords, as the
network reads them, and by counting, as in `words`.

Shapes: V entries, D width of the view.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from charrnn.tasks.classifier.inputs import encode
from charrnn.tasks.classifier.words import batches, neighbours, vectors_of_neighbours
from charrnn.text.vocab import Vocab


def subword_vectors(vocab: Vocab, lines: Iterable[str], width: int) -> Tensor:
    """Of each entry that the text of the vocabulary holds, a vector of norm 1 (V, D): those that stand among like
    entries have like ones."""
    encoded = [ids for some in batches(lines) for ids in encode(some, {"subword": vocab})[0]]
    ids, offsets = np.concatenate(encoded), np.cumsum([0, *map(len, encoded)])
    counts = np.bincount(ids, minlength=len(vocab))[: vocab.seen_size]
    order = np.argsort(-counts, kind="stable")
    rank = np.full(len(vocab), -1, np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    known = vectors_of_neighbours(neighbours(rank[ids], offsets, len(order)), width)
    vectors = torch.zeros(len(order), width)
    vectors[torch.from_numpy(order), : known.shape[1]] = known
    return vectors
