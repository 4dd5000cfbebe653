"""The network: an encoder of the source, and a decoder of the target that looks back at it.

The encoder's recurrent layers read the source by turns forwards and backwards, each entry together with the n-grams
around it. In the decoder each recurrent layer is followed by attention to the encoder's outputs (Bahdanau et al. 2015;
heads as in Vaswani et al. 2017). What is attended to goes into the layers above, not back into the recurrence below: so
all target steps of a training batch run at once, and decoding one step at a time, with a carried state, gives the same.

A lexicon tells the softmax from the start what the source entries attended to are likely to become, so that the
network need not learn it from examples (Arthur et al. 2016, arXiv 1606.02006). With a shared vocabulary the next entry
may also be copied from the source: a mixture of the softmax and of one more attention's weights, put on the entries
that stand there (See et al. 2017, arXiv 1704.04368).

Shapes: S source time, T target time, B sources, K hypotheses of each source, N = B·K lanes, H heads, D width, V entries
of the target that training saw, O = number of outputs (V, and one more if some entries were never seen), L entries of
the lexicon for each of the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charrnn.errors import UsageError
from charrnn.network.cells import LayerState, MinGRU, RecurrentLayer, SharedDropout, product_dtype
from charrnn.network.config import CELLS, Cell, NetworkConfig
from charrnn.network.model import Encoder, State, reverse
from charrnn.network.ngrams import NGramsAround
from charrnn.network.operations import add_lexicon, log_softmax_at, masked_add, norm, swiglu
from charrnn.tasks.seq2seq.inputs import Encoded, Sides
from charrnn.tasks.seq2seq.lexicon import Lexicon

SHORT_MINUTES = 5.0  # of training, up to which a narrow network learns more
WIDE_MINUTES = 15.0  # for each million entries of the pairs, up to which it does too
NARROW, WIDE = 128, 192
ENSEMBLE = 2  # networks, where there is more time than one can use
ENSEMBLE_MINUTES = 60.0  # of training for each million entries of the pairs, from which on that is so
MOST_NGRAMS = 30_000  # of a source that is no row of subwords: of these two in a row tell little beyond each
DROPOUT, SUBWORD_DROPOUT = 0.1, 0.2  # subwords are many and each is rare: easier to learn by heart


@dataclass(frozen=True)
class Seq2SeqConfig:
    """What a network from sequence to sequence is made of."""

    cell: Cell = "mingru"
    hidden_size: int | None = None  # None: what suits the budget
    encoder_layers: int = 4
    decoder_layers: int = 2
    num_heads: int = 4
    members: int | None = None  # networks alike that are trained side by side and speak as one; None: by the budget
    dropout: float | None = None  # None: what suits the vocabularies
    token_dropout: float = 0.05  # share of source entries hidden while training
    copy: bool | None = None  # entries of the source; None: wherever the vocabulary is shared
    source_ngrams: int | None = None  # that have an embedding each, at most; None: what suits the source; 0: none
    lexicon: int = 8  # likely entries of the target that are looked up for each of the source; 0: none
    max_source: int = 400  # entries of a source that are read; of a longer one the beginning and the end
    max_target: int = 1000  # entries of a target that are learned; of a longer one the beginning

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise UsageError(f"unknown cell {self.cell!r}: choose from {', '.join(CELLS)}")
        limits = ("max_source", "max_target")
        for name in ("hidden_size", "encoder_layers", "decoder_layers", "num_heads", "members", *limits):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        for name in ("source_ngrams", "lexicon"):
            number = getattr(self, name)
            if number is not None and number < 0:
                raise UsageError(f"{name} must not be negative, not {number}")
        if self.hidden_size is not None and self.hidden_size % self.num_heads:
            raise UsageError(f"hidden_size {self.hidden_size} must be a multiple of num_heads, {self.num_heads}")
        for name in ("dropout", "token_dropout"):
            share = getattr(self, name)
            if share is not None and not 0 <= share < 1:
                raise UsageError(f"{name} must lie in [0, 1), not {share}")

    def suited(self, minutes: float | None, sides: Sides, train: Encoded) -> Seq2SeqConfig:
        """The same with all choices made, for this budget (None: not given in minutes), these vocabularies and
        training pairs."""
        shared, subwords = sides.shared, "subword" in (sides.source.kind, sides.target.kind)
        if self.copy and not shared:
            raise UsageError("copy needs a vocabulary that source and target share: add shared=true, or leave copy out")
        millions = train.millions()
        ample = minutes is None or minutes > max(SHORT_MINUTES, WIDE_MINUTES * millions)
        width = WIDE if ample else NARROW
        width = math.ceil(width / self.num_heads) * self.num_heads
        dropout = SUBWORD_DROPOUT if subwords else DROPOUT
        most = self.source_ngrams
        if most is None:
            most = 0 if sides.source.kind == "subword" else MOST_NGRAMS
        return replace(
            self,
            hidden_size=self.hidden_size or width,
            members=self.members or (ENSEMBLE if minutes and minutes > ENSEMBLE_MINUTES * millions else 1),
            copy=shared if self.copy is None else self.copy,
            dropout=dropout if self.dropout is None else self.dropout,
            source_ngrams=len(NGramsAround.frequent(train.sources, sides.source.vocab.num_known, most)) if most else 0,
        )

    def part(self, num_layers: int) -> NetworkConfig:
        """What the encoder or the decoder is made of."""
        return NetworkConfig(cell=self.cell, hidden_size=self.hidden_size, num_layers=num_layers, dropout=self.dropout)


@dataclass(frozen=True)
class Memory:
    """What the decoder knows of B sources."""

    ids: Tensor  # (S, B)
    mask: Tensor  # (B, 1, 1, S), true where a source has an entry
    keys_values: tuple[tuple[Tensor, Tensor], ...]  # of each attention, (B, H, S, D / H)
    copy_keys: Tensor | None  # (B, S, D)
    lexicon: tuple[Tensor, ...] | None  # keys (B, S, D), ids and probabilities (B, S, L)

    def select(self, sources: Tensor) -> Memory:
        """That of these sources only, in this order."""
        return Memory(
            self.ids.index_select(1, sources),
            self.mask.index_select(0, sources),
            tuple((k.index_select(0, sources), v.index_select(0, sources)) for k, v in self.keys_values),
            None if self.copy_keys is None else self.copy_keys.index_select(0, sources),
            None if self.lexicon is None else tuple(each.index_select(0, sources) for each in self.lexicon),
        )


@dataclass(frozen=True)
class Outputs:
    """What the decoder says of the next entries."""

    logits: Tensor  # (…, O) of the softmax
    log_generate: Tensor | None = None  # (…,), log-probability that the softmax speaks; None: always
    log_copy: Tensor | None = None  # (…,), log-probability that an entry is copied
    attention: Tensor | None = None  # (…, S), which one
    looked_up: Tensor | None = None  # (…, S), the entries of the source that were looked up in the lexicon

    @property
    def pointed_at(self) -> Tensor | None:
        """Where each entry comes from: what was looked up, or without a lexicon what was copied (…, S)."""
        return self.attention if self.looked_up is None else self.looked_up


class SourceEncoder(Encoder):
    """Recurrent layers that read by turns forwards and backwards."""

    def __init__(self, seq2seq: Seq2SeqConfig, vocab_size: int, seen_size: int) -> None:
        config = seq2seq.part(seq2seq.encoder_layers)
        super().__init__(config, vocab_size, seen_size)
        self.token_dropout = seq2seq.token_dropout
        number = seq2seq.source_ngrams
        self.around = NGramsAround(number, config.width, self.embedding.num_embeddings) if number else None

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids (S, B) padded at the end and lengths (B,) → outputs (S, B, D). Past a source's end they mean nothing."""
        ids = self.known(ids)
        x = cast(Tensor, self.embedding(ids))
        if self.around is not None:
            x = x + self.around(ids, lengths)
        if self.training and self.token_dropout:
            generator = self.embedding_dropout.generator
            x = x * torch.empty_like(x[..., :1]).bernoulli_(1 - self.token_dropout, generator=generator)
        x = self.embedding_dropout(x)
        for i, layer in enumerate(self.layers):
            x = x if i % 2 == 0 else reverse(x, lengths)
            x, _ = through(layer, x, cast(RecurrentLayer, layer).initial_state(ids.shape[1]))
            x = x if i % 2 == 0 else reverse(x, lengths)
        return x if self.norm is None else norm(x, self.norm, torch.float32)


class Attention(nn.Module):
    """Attention of the decoder to the encoder's outputs, in a pre-norm residual block."""

    def __init__(self, size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.Parameter(torch.ones(size))
        self.query = nn.Linear(size, size, bias=False)
        self.key_value = nn.Linear(size, 2 * size, bias=False)
        self.out = nn.Linear(size, size, bias=False)
        self.dropout = SharedDropout()

    def remember(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, D / H) of the encoder's outputs (S, B, D)."""
        pairs = self.key_value(encoded)
        keys, values = pairs.view(*pairs.shape[:2], 2, self.num_heads, -1).permute(2, 1, 3, 0, 4)
        return keys.contiguous(), values.contiguous()

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """x (T, N, D), the K lanes of a source side by side, → the same with what was attended to."""
        query = self.query(norm(x, self.norm, product_dtype(x.device)))
        query = beside(query, len(keys))
        heads = query.view(*query.shape[:2], self.num_heads, -1).transpose(1, 2)  # (B, H, T·K, D / H)
        context = F.scaled_dot_product_attention(heads, keys, values, attn_mask=mask)
        context = apart(context.transpose(1, 2).flatten(2), len(x))
        return masked_add(x, self.out(context), self.dropout.mask(x))


class Pointer(nn.Module):
    """One head of attention that points at entries of the source, and a gate of how much comes of it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(size, size, bias=False)
        self.key = nn.Linear(size, size, bias=False)
        self.gate = nn.Linear(size, 1)

    def remember(self, encoded: Tensor) -> Tensor:
        """Keys (B, S, D) of the encoder's outputs (S, B, D)."""
        keys: Tensor = self.key(encoded)
        return keys.transpose(0, 1).contiguous()

    def forward(self, features: Tensor, keys: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Features (T, N, D) → attention (T, N, S) and the gate's logits (T, N), float32."""
        query = beside(self.query(features), len(keys)) * features.shape[-1] ** -0.5
        scores = (query @ keys.transpose(1, 2).to(query.dtype)).float()
        attention = scores.masked_fill(~mask[:, 0], -torch.inf).softmax(-1)
        gate: Tensor = self.gate(features)
        return apart(attention, len(features)), gate.float().squeeze(-1)


class FeedForward(nn.Module):
    """A gated MLP in a pre-norm residual block: mixes the decoder's state with what it attended to."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.Parameter(torch.ones(size))
        self.inner = nn.Linear(size, 4 * size, bias=False)
        self.out = nn.Linear(2 * size, size, bias=False)
        self.dropout = SharedDropout()

    def forward(self, x: Tensor) -> Tensor:
        """x (T, N, D) → (T, N, D)."""
        inner = swiglu(self.inner(norm(x, self.norm, product_dtype(x.device))))
        return masked_add(x, self.out(inner), self.dropout.mask(x))


class Decoder(Encoder):
    """Recurrent layers, each followed by attention, then a softmax with the embedding's weights."""

    lexicon_ids: Tensor  # (all entries of the source, L)
    lexicon_probabilities: Tensor

    def __init__(self, seq2seq: Seq2SeqConfig, vocab_size: int, seen_size: int, source_size: int) -> None:
        config = seq2seq.part(seq2seq.decoder_layers)
        super().__init__(config, vocab_size, seen_size)
        size = config.width
        self.attentions = nn.ModuleList(Attention(size, seq2seq.num_heads) for _ in self.layers)
        self.mix = FeedForward(size)
        self.out_norm = nn.Parameter(torch.ones(size))
        self.norm = None
        self.bias = nn.Parameter(torch.zeros(self.embedding.num_embeddings))
        self.copier = Pointer(size) if seq2seq.copy else None
        self.translator = Pointer(size) if seq2seq.lexicon else None
        shape = (source_size, seq2seq.lexicon)
        self.register_buffer("lexicon_ids", torch.zeros(shape, dtype=torch.long))
        self.register_buffer("lexicon_probabilities", torch.zeros(shape))
        self.set_dropout(config.dropout or 0.0)

    def expect(self, counts: npt.NDArray[np.integer]) -> None:
        """Let the softmax begin at how often each entry occurs, counts (all entries,): so much need not be learned."""
        with torch.no_grad():
            frequencies = torch.ones_like(self.bias)
            frequencies[: self.seen_size] += torch.from_numpy(counts[: self.seen_size]).to(self.bias.device)
            self.bias.copy_((frequencies / frequencies.sum()).log())

    def look_up(self, lexicon: Lexicon) -> None:
        """Take this lexicon, of as many entries as the network has room for."""
        self.lexicon_ids.copy_(torch.from_numpy(lexicon.ids))
        self.lexicon_probabilities.copy_(torch.from_numpy(lexicon.probabilities))

    def remember(self, encoded: Tensor, ids: Tensor, lengths: Tensor) -> Memory:
        """What decoding needs of sources: the encoder's outputs (S, B, D), ids (S, B), lengths (B,)."""
        there = torch.arange(len(ids), device=ids.device) < lengths[:, None]
        lexicon = None
        if self.translator is not None:
            keys = self.translator.remember(encoded)
            lexicon = keys, self.lexicon_ids[ids.T], self.lexicon_probabilities[ids.T]
        return Memory(
            ids,
            there[:, None, None],
            tuple(cast(Attention, attention).remember(encoded) for attention in self.attentions),
            None if self.copier is None else self.copier.remember(encoded),
            lexicon,
        )

    def forward(self, ids: Tensor, state: State, memory: Memory) -> tuple[Tensor, State]:
        """Entries so far (T, N) and a state to features (T, N, D) of the next entries, and the next state."""
        x = self.embedding_dropout(self.embedding(self.known(ids)))
        next_state = []
        for layer, attention, kept, layer_state in zip(
            self.layers, self.attentions, memory.keys_values, state, strict=True
        ):
            x, layer_state = through(layer, x, layer_state)
            x = attention(x, *kept, memory.mask)
            next_state.append(layer_state)
        return norm(self.mix(x), self.out_norm, torch.float32), tuple(next_state)

    def outputs(self, features: Tensor, memory: Memory) -> Outputs:
        """What features (T, N, D) say of the next entries: (T, N, …)."""
        scale = features.shape[-1] ** -0.5  # embeddings are of size one, so that Adam's steps suit them
        logits = F.linear(features * scale, self.embedding.weight, self.bias).float()
        looked_up = None
        if self.translator is not None and memory.lexicon is not None:
            keys, ids, probabilities = memory.lexicon
            looked_up, gate = self.translator(features, keys, memory.mask)
            logits = add_lexicon(logits, looked_up, ids, probabilities, 2 * gate.sigmoid())
        if self.copier is None or memory.copy_keys is None:
            return Outputs(logits, looked_up=looked_up)
        attention, gate = self.copier(features, memory.copy_keys, memory.mask)
        return Outputs(logits, F.logsigmoid(gate), F.logsigmoid(-gate), attention, looked_up)


class Seq2SeqNetwork(nn.Module):
    """`memory = network.read(ids, lengths)`, then `features, state = network.decoder(ids, state, memory)`."""

    def __init__(self, config: Seq2SeqConfig, source: tuple[int, int], target: tuple[int, int], shared: bool) -> None:
        """`source`, `target`: of each vocabulary, all entries and those seen in training."""
        super().__init__()
        self.config = config
        self.encoder = SourceEncoder(config, *source)
        self.decoder = Decoder(config, *target, source[0])
        if shared:
            self.encoder.embedding = self.decoder.embedding

    def seed(self, seed: int) -> None:
        """From now on what is dropped in training follows from this, not from the common random numbers."""
        generator = torch.Generator(self.decoder.bias.device).manual_seed(seed)
        for module in self.modules():
            if isinstance(module, SharedDropout):
                module.generator = generator

    def read(self, ids: Tensor, lengths: Tensor) -> Memory:
        """Sources, ids (S, B) padded at the end and lengths (B,), to what decoding needs of them."""
        return self.decoder.remember(self.encoder(ids, lengths), ids, lengths)

    def forward(self, source: Tensor, source_lengths: Tensor, inputs: Tensor) -> tuple[Outputs, Memory]:
        """Sources (S, B), lengths (B,) and target entries so far (T, N) to what is said of the next ones."""
        memory = self.read(source, source_lengths)
        features, _ = self.decoder(inputs, self.decoder.initial_state(inputs.shape[1]), memory)
        return self.decoder.outputs(features, memory), memory

    def nats(self, outputs: Outputs, memory: Memory, targets: Tensor, smoothing: float = 0.0) -> Tensor:
        """Negative log-likelihood of targets (T, N) in nats, (T, N).

        With label smoothing (Szegedy et al. 2016) part of it is the mean over all outputs of the softmax.
        """
        chosen, mean = log_softmax_at(outputs.logits, targets.clamp(max=outputs.logits.shape[-1] - 1))
        if self.decoder.num_unseen > 1:
            chosen = chosen - (targets >= self.decoder.seen_size) * math.log(self.decoder.num_unseen)
        if outputs.attention is not None and outputs.log_generate is not None and outputs.log_copy is not None:
            lanes = targets.shape[1] // memory.ids.shape[1]
            same = targets[..., None] == memory.ids.T.repeat_interleave(lanes, 0)  # (T, N, S)
            copied = (outputs.attention * same).sum(-1).clamp(min=1e-30).log()
            chosen = torch.logaddexp(outputs.log_generate + chosen, outputs.log_copy + copied)
        return -(1 - smoothing) * chosen - smoothing * mean

    def probabilities(self, outputs: Outputs, memory: Memory) -> Tensor:
        """Of each entry of the vocabulary: outputs of N lanes (1, N, …) → (N, all entries).

        Those that training never saw can only be copied.
        """
        softmax = outputs.logits[0].softmax(-1)[:, : self.decoder.seen_size]
        if outputs.attention is None or outputs.log_generate is None or outputs.log_copy is None:
            return F.pad(softmax, (0, self.decoder.num_unseen))
        total = F.pad(outputs.log_generate[0, :, None].exp() * softmax, (0, self.decoder.num_unseen))
        copied = outputs.log_copy[0, :, None].exp() * outputs.attention[0]
        ids = memory.ids.T.repeat_interleave(len(copied) // memory.ids.shape[1], 0)
        return total.scatter_add_(1, ids, copied)


def through(layer: nn.Module, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
    """x (T, N, D) through a recurrent layer, with a residual connection; `mingru` has its own."""
    y, state = layer(x, state)
    return (y if isinstance(layer, MinGRU) else x + y.float()), state


def beside(x: Tensor, num_sources: int) -> Tensor:
    """x (T, N, …) as (B, T·K, …): the lanes of a source are queries to the same memory."""
    steps, lanes = x.shape[:2]
    return x.view(steps, num_sources, lanes // num_sources, -1).transpose(0, 1).flatten(1, 2)


def apart(x: Tensor, steps: int) -> Tensor:
    """(B, T·K, …) back as (T, N, …)."""
    return x.view(len(x), steps, -1, x.shape[-1]).transpose(0, 1).flatten(1, 2)
