"""Starting from a trained network: what its vocabulary shares with the new one is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charrnn.network.config import ngrams_fit
from charrnn.network.model import Network
from charrnn.network.ngrams import code, entries_of
from charrnn.text.vocab import Vocab


@dataclass(frozen=True)
class Transfer:
    """How many vocabulary entries were kept, added and dropped."""

    kept: int
    added: int
    dropped: int


def transfer(old: Network, old_vocab: Vocab, new: Network, new_vocab: Vocab) -> Transfer:
    """Copy the weights of `old` into `new`, a network of the same shape but for its vocabulary.

    Entries that training text contained are matched by what they stand for; new ones start at the mean embedding
    and mean output of the old. The n-grams of `new` become those of the old that its vocabulary can spell.
    """
    pairs = _matched(old_vocab, new_vocab)
    rows = {"embedding.weight", "head.weight", "head.bias"}
    sources = dict(old.named_parameters())
    with torch.no_grad():
        if old.ngrams is not None and new.ngrams is not None:
            codes, kept = carried_ngrams(old, old_vocab, new_vocab)
            new.ngrams.codes.copy_(codes)
            new.ngrams.embedding.weight[1:] = old.ngrams.embedding.weight[1:][kept]
        for name, weight in new.named_parameters():
            if name.startswith("ngrams."):
                continue
            source = sources[name]
            if name not in rows:
                weight.copy_(source)
                continue
            weight[: new_vocab.seen_size] = source[: old_vocab.seen_size].mean(0)
            if pairs:
                to, start = map(list, zip(*pairs, strict=True))
                weight[to] = source[start].to(weight.device)
            if new.num_unseen and old.num_unseen:
                weight[new_vocab.seen_size] = source[old_vocab.seen_size]
    return Transfer(len(pairs), new_vocab.seen_size - len(pairs), old_vocab.seen_size - len(pairs))


def carried_ngrams(old: Network, old_vocab: Vocab, new_vocab: Vocab) -> tuple[Tensor, Tensor]:
    """Of the n-grams of `old` that another vocabulary can spell, the codes there (R,), in order, and their places."""
    if old.ngrams is None:
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    missing = -2
    ids = np.full(old_vocab.num_known + 2, missing)  # of each old id, and of what is outside and of no entry at all
    ids[old_vocab.num_known], ids[-1] = new_vocab.num_known, -1
    for new_id, old_id in _matched(old_vocab, new_vocab):
        ids[old_id] = new_id
    entries = ids[entries_of(old.ngrams.codes.cpu().numpy(), old_vocab.num_known)]
    short = [length for length in old.ngrams.lengths if ngrams_fit(length, new_vocab.num_known)]
    fits = (entries[:, : entries.shape[1] - max(short, default=0)] == -1).all(1)
    places = np.flatnonzero((entries != missing).all(1) & fits)
    codes = code(list(entries[places].T), new_vocab.num_known)
    order = np.argsort(codes)
    return torch.from_numpy(codes[order]), torch.from_numpy(places[order])


def _matched(old: Vocab, new: Vocab) -> list[tuple[int, int]]:
    """New and old id of each entry that the training texts of both contained."""
    old_id = {token: i for i, token in enumerate(old.tokens[: old.seen_size])}
    tokens = new.tokens[: new.seen_size]
    return [(i, old_id[token]) for i, token in enumerate(tokens) if token in old_id]
