"""The network: several readers, whose logits are averaged.

A reader has views of a text, each read in both directions and pooled, then one linear layer. A view is the text as
characters or as subwords. The two directions know nothing of each other until they are pooled, so each can be trained
as a language model, and the forward one can start from any. Readers differ by what they started from and what dropout
hid from them: small ones together make fewer mistakes than one of their size in sum.

Shapes: T time, B batch, D width of a view, R readers, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

from charrnn.errors import UsageError
from charrnn.network.config import CELLS, Cell, NetworkConfig
from charrnn.network.model import Encoder, reverse

Views = Literal["both", "char", "subword"]
ViewName = Literal["char", "subword"]
NUM_READERS = 3
SINGLE_WORDS = 2  # words a text on average, below which texts are taken for words or names
# What dropout suits up to so many training texts; that of more is less in proportion, as each is seen less often.
DROPOUT_TEXTS = 16_000
DROPOUTS = {"dropout": 0.2, "pooled_dropout": 0.4, "token_dropout": 0.1}
SUBWORDS, SUBWORDS_OF_MORE = 4_000, 16_000  # most entries of their vocabulary
WINDOW = 4096  # ids of one text read at once; a longer one is read in pieces

Inputs = Sequence[tuple[Tensor, Tensor]]  # of each view: ids (T, B) padded at the end, and lengths (B,)


@dataclass(frozen=True)
class ClassifierConfig:
    """What a classifier's network is made of."""

    views: Views | None = None  # None, here and below: what suits the texts
    cell: Cell | None = None
    num_readers: int | None = None
    char_width: int | None = None
    char_layers: int | None = None
    subword_width: int | None = None
    subword_layers: int | None = None
    char_ngrams: int | None = None  # those of the language model that the forward encoder starts from
    subword_ngrams: int | None = None
    subword_vocab_size: int | None = None  # most entries
    dropout: float | None = None  # of the layers
    pooled_dropout: float | None = None
    token_dropout: float | None = None  # share of characters and subwords hidden while training

    def __post_init__(self) -> None:
        for name, value, choices in (("views", self.views, get_args(Views)), ("cell", self.cell, CELLS)):
            if value is not None and value not in choices:
                raise UsageError(f"unknown {name} {value!r}: choose from {', '.join(choices)}")
        for name in ("num_readers", "char_width", "char_layers", "subword_width", "subword_layers"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, not {number}")
        for name in DROPOUTS:
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise UsageError(f"{name} must lie in [0, 1), not {rate}")

    def suited(self, texts: Sequence[str], *, more_text: bool = False) -> ClassifierConfig:
        """The same with all choices made, for training on these texts, and where there is `more_text` to learn subwords
        from.

        Of single words there is nothing but characters to read, and one reader that sees them three times as often is
        better than three. Of longer texts subwords say as much as both views, in less than half the time.
        """
        views = self.views or ("char" if are_single_words(texts) else "subword")
        readers, width, layers = (1, 128, 2) if views == "char" else (NUM_READERS, 64, 1)
        less = min(DROPOUT_TEXTS / max(len(texts), 1), 1.0)
        dropouts = {name: less * rate for name, rate in DROPOUTS.items()}
        return replace(
            self,
            views=views,
            cell=self.cell or "mingru",
            num_readers=self.num_readers or readers,
            char_width=self.char_width or width,
            char_layers=self.char_layers or layers,
            subword_width=self.subword_width or 64,
            subword_layers=self.subword_layers or 1,
            subword_vocab_size=self.subword_vocab_size or (SUBWORDS_OF_MORE if more_text else SUBWORDS),
            char_ngrams=self.char_ngrams or 0,
            subword_ngrams=self.subword_ngrams or 0,
            dropout=dropouts["dropout"] if self.dropout is None else self.dropout,
            pooled_dropout=dropouts["pooled_dropout"] if self.pooled_dropout is None else self.pooled_dropout,
            token_dropout=dropouts["token_dropout"] if self.token_dropout is None else self.token_dropout,
        )

    @property
    def view_names(self) -> tuple[ViewName, ...]:
        """The views in order."""
        assert self.views is not None
        return ("char", "subword") if self.views == "both" else (self.views,)

    def encoder(self, view: ViewName) -> NetworkConfig:
        """What the encoders of a view are made of."""
        shapes = {
            "char": (self.char_width, self.char_layers, self.char_ngrams),
            "subword": (self.subword_width, self.subword_layers, self.subword_ngrams),
        }
        width, layers, ngrams = shapes[view]
        assert self.cell is not None
        assert width is not None
        assert layers is not None
        return NetworkConfig(self.cell, hidden_size=width, num_layers=layers, dropout=self.dropout, ngrams=ngrams)


def are_single_words(texts: Sequence[str]) -> bool:
    """Whether they are words or names, most of them."""
    return sum(len(text.split()) for text in texts) < SINGLE_WORDS * max(len(texts), 1)


@dataclass(frozen=True)
class Pooled:
    """What pooling knows of a stretch of text; two stretches give that of both. It holds no trace of their lengths."""

    log_weight: Tensor  # (B,), log of the sum of e^score
    mean: Tensor  # (B, 2·D), weighted by e^score
    highest: Tensor  # (B, 2·D)

    def join(self, other: Pooled) -> Pooled:
        """That of both stretches."""
        log_weight = torch.logaddexp(self.log_weight, other.log_weight)
        ours, theirs = ((part.log_weight - log_weight).exp()[:, None] for part in (self, other))
        return Pooled(log_weight, ours * self.mean + theirs * other.mean, torch.maximum(self.highest, other.highest))


class View(nn.Module):
    """One view of texts: an embedding, and an encoder for each direction."""

    def __init__(self, config: NetworkConfig, vocab_size: int, seen_size: int, token_dropout: float) -> None:
        super().__init__()
        self.forwards = Encoder(config, vocab_size, seen_size)
        self.backwards = Encoder(replace(config, ngrams=0), vocab_size, seen_size)
        self.backwards.embedding = self.forwards.embedding
        self.token_dropout = token_dropout

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Ids (T, B) padded at the end and lengths (B,) → features (T, B, 2·D).

        At each place, the first half is what the forward encoder has read up to it, the second what the backward
        encoder has read back to it. Past a text's end they mean nothing.
        """
        mask = None
        if self.training and self.token_dropout:
            mask = torch.empty(*ids.shape, 1, device=ids.device).bernoulli_(1 - self.token_dropout)
        there, _ = self.forwards.features(ids, self.forwards.initial_state(ids.shape[1]), mask)
        mask = None if mask is None else reverse(mask, lengths)
        back, _ = self.backwards.features(reverse(ids, lengths), self.backwards.initial_state(ids.shape[1]), mask)
        return torch.cat([there.float(), reverse(back.float(), lengths)], dim=-1)

    def windows(self, ids: Tensor, size: int) -> Iterator[Tensor]:
        """The same features of one long text (T, 1), a window (`size`, 1, 2·D) at a time, in bounded memory.

        First the text is read back from its end, keeping only the state with which each window is entered; then
        forward, where each window is read in both directions.
        """
        windows = torch.split(ids, size)
        state = self.backwards.initial_state(1)
        # In one piece each: thousands of small tensors among the large ones would tear the memory to pieces.
        entered = [[part.new_empty(len(windows), *part.shape) for part in layer] for layer in state]
        for i in reversed(range(len(windows))):
            for kept, layer in zip(entered, state, strict=True):
                for whole, part in zip(kept, layer, strict=True):
                    whole[i] = part
            if i > 0:
                _, state = self.backwards.features(windows[i].flip(0), state)
        state = self.forwards.initial_state(1)
        for i, window in enumerate(windows):
            there, state = self.forwards.features(window, state)
            back_state = tuple(tuple(whole[i] for whole in kept) for kept in entered)
            back, _ = self.backwards.features(window.flip(0), back_state)
            yield torch.cat([there.float(), back.float().flip(0)], dim=-1)


class Pooling(nn.Module):
    """Attention and maximum over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Linear(width, 1)

    def forward(self, features: Tensor, lengths: Tensor) -> Pooled:
        """Features (T, B, 2·D), of which those past a text's length (B,) do not count."""
        past = torch.arange(len(features), device=features.device)[:, None] >= lengths
        scores = self.attention(features).float().squeeze(-1).masked_fill(past, -torch.inf)
        mean = torch.einsum("tb,tbd->bd", scores.softmax(0), features)
        highest = features.masked_fill(past[..., None], -torch.inf).amax(0)
        return Pooled(scores.logsumexp(0), mean, highest)


class Reader(nn.Module):
    """All views of texts, pooled, and what they say of each class."""

    def __init__(self, config: ClassifierConfig, sizes: Mapping[ViewName, tuple[int, int]], num_classes: int) -> None:
        super().__init__()
        encoders = {name: config.encoder(name) for name in config.view_names}
        self.views = nn.ModuleDict(
            {name: View(encoder, *sizes[name], config.token_dropout or 0.0) for name, encoder in encoders.items()}
        )
        self.poolings = nn.ModuleDict({name: Pooling(2 * encoder.width) for name, encoder in encoders.items()})
        self.dropout = nn.Dropout(config.pooled_dropout or 0.0)
        self.head = nn.Linear(4 * sum(encoder.width for encoder in encoders.values()), num_classes)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: Inputs, window: int) -> Tensor:
        """The logits (B, C) of this reader."""
        pooled = []
        for name, (ids, lengths) in zip(self.views, inputs, strict=True):
            view, pooling = cast(View, self.views[name]), self.poolings[name]
            if len(ids) <= window:
                pooled.append(pooling(view(ids, lengths), lengths))
            else:
                parts = (pooling(part, lengths.new_tensor([len(part)])) for part in view.windows(ids, window))
                pooled.append(reduce(Pooled.join, parts))
        return self._said(pooled)

    def read(self, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
        """The logits (B, C), and of each view the features (T, B, 2·D) that they come from."""
        features = [view(*read) for view, read in zip(self.views.values(), inputs, strict=True)]
        poolings = zip(self.poolings.values(), features, inputs, strict=True)
        return self._said([pooling(view, lengths) for pooling, view, (_, lengths) in poolings]), features

    def _said(self, pooled: Sequence[Pooled]) -> Tensor:
        known = [part for total in pooled for part in (total.mean, total.highest)]
        return cast(Tensor, self.head(self.dropout(torch.cat(known, dim=-1)))).float()


class ClassifierNetwork(nn.Module):
    """`logits = network(inputs)`."""

    def __init__(self, config: ClassifierConfig, sizes: Mapping[ViewName, tuple[int, int]], num_classes: int) -> None:
        """`sizes`: of each view's vocabulary, all entries and those seen in training."""
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        assert config.num_readers is not None
        self.readers = nn.ModuleList(Reader(config, sizes, num_classes) for _ in range(config.num_readers))

    def forward(self, inputs: Inputs, window: int = WINDOW) -> Tensor:
        """Of each view, ids (T, B) padded at the end and lengths (B,) → logits (B, C). Padding has no effect.

        A text longer than a window must be alone (B = 1): it is read in windows.
        """
        return torch.stack([reader(inputs, window) for reader in self.readers]).mean(0)

    def read(self, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
        """The logits (R, B, C) of all readers, and the features (T, B, 2·D) of all views, reader after reader."""
        logits, features = zip(*(cast(Reader, reader).read(inputs) for reader in self.readers), strict=True)
        return torch.stack(logits), [view for of_reader in features for view in of_reader]

    def start_subwords(self, vectors: Tensor) -> None:
        """Let the embeddings of subwords start from vectors (V, D) of norm 1, turned at random for each reader, so that
        they go on to differ."""
        width = vectors.shape[1]
        for reader in self.readers:
            weight = cast(View, cast(Reader, reader).views["subword"]).forwards.embedding.weight
            turned = vectors @ torch.linalg.qr(torch.randn(width, width))[0]
            with torch.no_grad():
                weight[: len(vectors)] = (math.sqrt(width) * turned).to(weight)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def num_parameters(self) -> int:
        """All trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())
