"""What the network is trained on: first to read the task's texts, then to tell their labels.

Shapes: T time, B batch, D width of a view, N texts, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from charrnn.errors import UsageError
from charrnn.network.device import autocast
from charrnn.network.operations import log_softmax_at
from charrnn.tasks.classifier.calibration import calibrated_nats
from charrnn.tasks.classifier.inputs import MAX_TOKENS, Encoded, collate, encode, logits_of
from charrnn.tasks.classifier.network import ClassifierNetwork, Inputs, Reader, View, ViewName
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.text.batches import ShuffledBatches, by_length
from charrnn.text.noise import add_noise, bpe_dropout
from charrnn.text.vocab import Vocab
from charrnn.training.average import WeightAverage
from charrnn.training.trainer import Units

LETTER_TEXTS = 1000  # training texts whose characters stand for wrong ones
MAX_POSITIVE_WEIGHT = 20.0  # of a rare label's texts, with several labels a text


@dataclass(frozen=True)
class ObjectiveConfig:
    """How training texts are varied, and what counts as a mistake."""

    balanced: bool = False  # every class counts the same, however few its texts
    label_smoothing: float = 0.05
    noisy_texts: float = 0.3  # share of training texts with typing mistakes
    noise: float = 0.15  # largest share of their characters that is changed
    bpe_dropout: float = 0.1  # share of subwords' merges that are undone in training texts
    recased_texts: float = 0.1  # share of training texts in capitals, or in small letters
    averaging: float = 0.99  # of weights over steps: what each keeps of the mean before it
    pretraining: float | None = None  # share of the budget for reading alone, at first; None: see `fit_classifier`
    reading: float = 0.5  # weight of reading beside the labels, from then on

    def __post_init__(self) -> None:
        shares = ("label_smoothing", "noisy_texts", "noise", "bpe_dropout", "recased_texts", "averaging", "pretraining")
        for name in shares:
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"{name} must lie in [0, 1), not {value}")
        if not 0 <= self.reading < math.inf:
            raise UsageError(f"reading must be at least 0, not {self.reading}")


class TextBatches:
    """Training texts in batches of like length, varied at random; its place in them is a value."""

    def __init__(
        self,
        texts: Sequence[str],
        vocabs: Mapping[ViewName, Vocab],
        config: ObjectiveConfig,
        *,
        batch_size: int,
        max_chars: int,
        seed: int,
        device: torch.device,
    ) -> None:
        """Of a text longer than `max_chars`, each pass reads another part."""
        self.texts = texts
        self.vocabs = vocabs
        self.config = config
        self.max_chars = max_chars
        self.device = device
        self.letters = common_letters(texts, max_chars, seed)
        self.encoded: Encoded = []  # of this pass
        self.batches = ShuffledBatches(self._varied, batch_size, MAX_TOKENS, seed)

    def next_batch(self) -> tuple[Tensor, Inputs]:
        """The indices (B,) of the next texts, and what the network reads of them."""
        indices = self.batches.next_batch()
        return torch.from_numpy(indices), collate(self.encoded, indices.tolist(), self.device)

    def position(self) -> dict[str, Tensor]:
        """Where the next batch is."""
        return {"position": torch.tensor(self.batches.position)}

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""
        passes, number = position["position"].tolist()
        self.batches.position = (passes, number)

    def _varied(self, draw: np.random.Generator) -> npt.NDArray[np.int64]:
        """Vary all texts for a pass; how many ids they have then (N,). What is of like length before may not be after:
        a mistake takes a subword apart."""
        encoded = encode([self._vary(text, draw) for text in self.texts], self.vocabs)
        share = self.config.bpe_dropout
        views = zip(encoded, self.vocabs.values(), strict=True)
        self.encoded = [bpe_dropout(ids, vocab.merges, share, draw) for ids, vocab in views]
        return np.array([max(map(len, views)) for views in zip(*self.encoded, strict=True)])

    def _vary(self, text: str, draw: np.random.Generator) -> str:
        if len(text) > self.max_chars:
            start = draw.integers(len(text) - self.max_chars + 1)
            text = text[start : start + self.max_chars]
        config = self.config
        if draw.random() < config.recased_texts:
            text = text.upper() if draw.random() < 0.5 else text.lower()
        if draw.random() < config.noisy_texts:
            text = add_noise(text, draw.uniform(0, config.noise), self.letters, draw)
        return text


def common_letters(texts: Sequence[str], max_chars: int, seed: int) -> str:
    """Characters of some texts, each as often as it is there: what a wrong one is drawn from."""
    draw = np.random.default_rng(seed)
    chosen = draw.choice(len(texts), min(LETTER_TEXTS, len(texts)), replace=False)
    return "".join(texts[i][:max_chars] for i in chosen)


class ClassifierObjective:
    """Cross-entropy of the labels: with several a text, of each label on its own. Beside it, the encoders predict what
    comes next and what came before, from the same features: so they learn the texts by heart later."""

    def __init__(
        self,
        network: ClassifierNetwork,
        reading: ReadingModel,
        batches: TextBatches,
        targets: Tensor,
        val_texts: Sequence[str],
        val_targets: Tensor,
        spelling: Spelling | None = None,
        *,
        precision: str,
    ) -> None:
        """Targets (N,) are classes, or (N, C) zeros and ones. The spelling is for validation texts."""
        self.network, self.reading = network, reading
        joined = nn.ModuleDict({"network": network, "reading": reading})
        self.model: nn.Module = joined if batches.config.reading else network
        self.batches = batches
        self.targets = targets
        self.val_texts, self.val_targets = [text[: batches.max_chars] for text in val_texts], val_targets
        self.spelling = spelling
        self.precision = precision
        self.device = network.device
        self.epoch_steps = float(len(batches.batches))
        self.units = Units("nats/text", 1.0, 1.0, "texts", len(batches.texts) / self.epoch_steps)
        self.weight = _class_weights(targets, network.num_classes) if batches.config.balanced else None
        self.average = WeightAverage(network, batches.config.averaging)
        self.val_logits = torch.empty(0)  # (N, C) of the latest validation

    def next_loss(self) -> Tensor:
        """Mean nats of the next batch: of a text's labels, and of a token that is read, times the weight of reading."""
        self.average.follow()
        indices, inputs = self.batches.next_batch()
        weight = self.batches.config.reading
        with autocast(self.device, self.precision):
            logits, features = self.network.read(inputs)
            read = weight * self.reading.loss(features, inputs) if weight else 0.0
        return self._loss(logits.flatten(0, 1), self.targets[indices].to(self.device)) + read

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Each reader learns on its own: logits (R·B, C), targets (B,) or (B, C)."""
        targets = targets.repeat(len(self.network.readers), *[1] * (targets.dim() - 1))
        weight = None if self.weight is None else self.weight.to(self.device)
        smoothing = self.batches.config.label_smoothing
        if targets.dim() == 1:
            return F.cross_entropy(logits, targets, weight, label_smoothing=smoothing)
        smooth = targets.float() * (1 - smoothing) + 0.5 * smoothing
        losses = F.binary_cross_entropy_with_logits(logits, smooth, reduction="none", pos_weight=weight)
        return losses.sum(-1).mean()

    def validate(self) -> float:
        """Nats a validation text at the best temperature, with the averaged weights, which are those that are kept."""
        with self.average.in_place():
            texts, vocabs = self.val_texts, self.batches.vocabs
            self.val_logits = logits_of(self.network, texts, vocabs, self.precision, self.spelling)
        return calibrated_nats(self.val_logits, self.val_targets)

    def position(self) -> dict[str, Tensor]:
        """Place in the texts, and averaged weights."""
        return self.batches.position() | self.average.state()

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""
        self.batches.restore(position)
        self.average.restore(position)


class ReadingModel(nn.Module):
    """The encoders of the views as language models: the forward ones predict what comes next, the others what came
    before.

    The weights of subwords are tied: one is predicted by what it is embedded as (Press & Wolf 2017, arXiv 1608.05859),
    times 1/√D. Most are rare, and so what is learned of one serves both. Those of characters are not.
    """

    def __init__(self, network: ClassifierNetwork) -> None:
        super().__init__()
        self.views, self.heads = nn.ModuleList(), nn.ModuleList()  # of each view, a head for each direction
        for reader in network.readers:
            for name, view in cast(Reader, reader).views.items():
                encoder = cast(View, view).forwards
                heads = [nn.Linear(encoder.config.width, encoder.embedding.num_embeddings) for _ in range(2)]
                if name == "subword":
                    for head in heads:
                        head.weight = encoder.embedding.weight
                self.views.append(view)
                self.heads.append(nn.ModuleList(heads))

    def forward(self, inputs: Inputs) -> Tensor:
        """Of each view, ids (T, B) and lengths (B,) → mean nats of all predictions, all views weighing the same. They
        are among the entries that stand in the batch: of thousands of subwords some hundreds, in so much less time."""
        return self.loss([view(*read) for view, read in zip(self.views, cycle(inputs), strict=False)], inputs)

    def loss(self, features: Sequence[Tensor], inputs: Inputs) -> Tensor:
        """The same, given the features (T, B, 2·D) of all views, reader after reader."""
        losses = []
        for view, read, heads, (ids, lengths) in zip(self.views, features, self.heads, cycle(inputs), strict=False):
            encoder = cast(View, view).forwards
            forwards, backwards = (cast(nn.Linear, head) for head in cast(nn.ModuleList, heads))
            if forwards.weight is encoder.embedding.weight:
                read = read * encoder.config.width**-0.5  # embeddings are larger than the weights of a softmax
            there, back = read.chunk(2, dim=-1)
            inside = torch.arange(1, len(ids), device=ids.device)[:, None] < lengths
            known = encoder.known(ids)
            losses.append(_in_batch_cross_entropy(forwards, there[:-1][inside], known[1:][inside]))
            losses.append(_in_batch_cross_entropy(backwards, back[1:][inside], known[:-1][inside]))
        return torch.stack(losses).mean()


class ReadingObjective:
    """Pretraining on the training texts alone: prediction of characters and subwords in both directions."""

    def __init__(self, model: ReadingModel, batches: TextBatches, val_texts: Sequence[str], *, precision: str) -> None:
        self.model = model
        self.batches = batches
        self.precision = precision
        self.device = next(model.parameters()).device
        self.epoch_steps = float(len(batches.batches))
        self.units = Units("nats/token", 1.0, 1.0, "texts", len(batches.texts) / self.epoch_steps)
        self.val_texts = [text[: batches.max_chars] for text in val_texts]

    def next_loss(self) -> Tensor:
        """Mean nats of the next batch."""
        _, inputs = self.batches.next_batch()
        with autocast(self.device, self.precision):
            return cast(Tensor, self.model(inputs))

    def validate(self) -> float:
        """Mean nats over the validation texts, a batch weighing as much as it has texts."""
        self.model.eval()
        encoded = encode(self.val_texts, self.batches.vocabs)
        total = 0.0
        with torch.inference_mode(), autocast(self.device, self.precision):
            for indices in by_length([len(ids) for ids in encoded[0]], MAX_TOKENS):
                total += self.model(collate(encoded, indices, self.device)).item() * len(indices)
        self.model.train()
        return total / len(self.val_texts)

    def position(self) -> dict[str, Tensor]:
        """Place in the texts."""
        return self.batches.position()

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""
        self.batches.restore(position)


def _in_batch_cross_entropy(head: nn.Linear, features: Tensor, wanted: Tensor) -> Tensor:
    """Mean nats of entries (N,), given features (N, D), were there no others than these."""
    entries, places = torch.unique(wanted, return_inverse=True)
    logits = F.linear(features, head.weight[entries], head.bias[entries])
    return -log_softmax_at(logits[None], places[None])[0].mean()


def _class_weights(targets: Tensor, num_classes: int) -> Tensor:
    """Weight of each class (C,) by which all have the same share. With several labels a text it is that of the texts
    that have one: a rare label's weigh as much as those without it, a common label's no less than 1."""
    if targets.dim() == 1:
        return len(targets) / (num_classes * targets.bincount(minlength=num_classes).clamp(min=1))
    positive = targets.float().sum(0).clamp(min=1)
    return ((len(targets) - positive) / positive).clamp(1.0, MAX_POSITIVE_WEIGHT)
