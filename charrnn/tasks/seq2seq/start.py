"""Starting from a trained language model: a decoder that can already write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from charrnn.checkpoint import load_network
from charrnn.errors import UsageError
from charrnn.network.model import Encoder
from charrnn.tasks.seq2seq.ensemble import Ensemble
from charrnn.tasks.seq2seq.inputs import Sides
from charrnn.tasks.seq2seq.network import Seq2SeqConfig
from charrnn.text.vocab import Vocab


class Start:
    """The language model in a directory, as what a network from sequence to sequence starts from.

    Raises UsageError if there is none, CharrnnError if it is damaged.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = directory
        self.network, self.vocab, _ = load_network(Path(directory), torch.device("cpu"))

    def suited(self, config: Seq2SeqConfig) -> Seq2SeqConfig:
        """The same with the language model's width. Raises UsageError where the two do not fit."""
        given = self.network.config
        width = config.hidden_size or given.width
        if (config.cell, width) != (given.cell, given.width):
            raise UsageError(
                f"{self.directory} is of cell {given.cell} and hidden_size {given.width}: "
                f"it can't start a network of {config.cell} and {width}"
            )
        return replace(config, hidden_size=width)

    def fill(self, ensemble: Ensemble, sides: Sides) -> int:
        """Give each decoder the lowest layers, and both sides the embeddings of entries that are the same.

        Returns how many entries of the target had one.
        """
        found = 0
        for network in ensemble.networks:
            for layer, given in zip(network.decoder.layers, self.network.layers, strict=False):
                layer.load_state_dict(given.state_dict())
            if not sides.shared:
                self._embed(network.encoder, sides.source.vocab)
            found = self._embed(network.decoder, sides.target.vocab)
        return found

    def _embed(self, part: Encoder, vocab: Vocab) -> int:
        known = {token: i for i, token in enumerate(self.vocab.tokens[: self.vocab.seen_size])}
        tokens = vocab.tokens[: vocab.seen_size]
        pairs = [(i, known[token]) for i, token in enumerate(tokens) if token in known]
        if pairs:
            to, start = map(list, zip(*pairs, strict=True))
            weight = part.embedding.weight
            with torch.no_grad():
                weight[to] = self.network.embedding.weight[start].to(weight.device)
        return len(pairs)
