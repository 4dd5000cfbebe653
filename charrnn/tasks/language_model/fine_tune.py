"""Starting from a trained network: what its vocabulary shares with the new one is kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from charrnn.network.model import Network
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
    and mean output of the old.
    """
    old_id = {token: i for i, token in enumerate(old_vocab.tokens[: old_vocab.seen_size])}
    tokens = new_vocab.tokens[: new_vocab.seen_size]
    pairs = [(i, old_id[token]) for i, token in enumerate(tokens) if token in old_id]
    rows = {"embedding.weight", "head.weight", "head.bias"}
    sources = dict(old.named_parameters())
    with torch.no_grad():
        for name, weight in new.named_parameters():
            source = sources[name]
            if name not in rows:
                weight.copy_(source)
                continue
            weight[: new_vocab.seen_size] = source[: old_vocab.seen_size].mean(0)
            if pairs:
                to, start = map(list, zip(*pairs, strict=True))
                weight[to] = source[start]
            if new.num_unseen and old.num_unseen:
                weight[new_vocab.seen_size] = source[old_vocab.seen_size]
    return Transfer(len(pairs), len(tokens) - len(pairs), old_vocab.seen_size - len(pairs))
