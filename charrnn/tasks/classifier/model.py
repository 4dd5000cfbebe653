"""A trained classifier: labels for texts, with probabilities and reasons.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn import checkpoint, model_directory
from charrnn.errors import CharrnnError, UsageError
from charrnn.network.device import choose_device
from charrnn.settings import from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.classifier.beside import Beside, under
from charrnn.tasks.classifier.calibration import Blend, probabilities
from charrnn.tasks.classifier.inputs import logits_of
from charrnn.tasks.classifier.linear import LinearConfig
from charrnn.tasks.classifier.network import ClassifierConfig, ClassifierNetwork, ViewName
from charrnn.text.vocab import Vocab

MODEL_TYPE = "classifier"
LINES_AT_ONCE = 1024  # lines read ahead, to sort by length
CHARS_AT_ONCE = 1 << 18  # of them, at most: long lines come in smaller companies
THRESHOLD = 0.5  # probability from which on a label is given, with several labels a text
EXPLAINED_CHARS = 2000  # of a text, at most: it is read once for every place left out
EXPLAINED_PLACES = 200


@dataclass(frozen=True)
class Classification:
    """What a classifier says of a text: labels with their probabilities, the likeliest first.

    With several labels a text, those whose probability reaches the threshold, or as many as were asked for.
    """

    ranking: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str | None:
        """The likeliest; None if there is none."""
        return self.ranking[0][0] if self.ranking else None

    @property
    def probability(self) -> float | None:
        """That of the likeliest; None if there is none."""
        return self.ranking[0][1] if self.ranking else None


@dataclass(frozen=True)
class Explanation:
    """How much each character of a text speaks for a label, in nats of log-odds that are lost when it is left out."""

    text: str
    label: str
    probability: float
    weights: npt.NDArray[np.float64]  # (number of characters,)

    def pieces(self) -> list[tuple[str, float]]:
        """Runs of characters of the same weight."""
        runs = itertools.groupby(zip(self.text, self.weights.tolist(), strict=True), key=lambda pair: pair[1])
        return [("".join(character for character, _ in run), weight) for weight, run in runs]


class Classifier:
    """A network, models beside it and how they are blended. `charrnn.load(directory)` gives one."""

    def __init__(
        self,
        labels: Sequence[str],
        network: ClassifierNetwork,
        vocabs: Mapping[ViewName, Vocab],
        beside: Beside,
        blend: Blend,
        *,
        multi_label: bool = False,
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        self.labels = tuple(labels)
        self.network = network.eval()
        self.vocabs = dict(vocabs)
        self.beside = beside
        self.blend = blend
        self.multi_label = multi_label
        self.figures = dict(figures or {})  # of its training

    @classmethod
    def load(cls, directory: str | Path, device: str = "auto") -> Classifier:
        """The classifier in a directory. Raises UsageError if there is none, CharrnnError if it is damaged."""
        directory = Path(directory)
        config = model_directory.read_config_of(MODEL_TYPE, directory)
        if not (directory / model_directory.WEIGHTS).exists():
            raise CharrnnError(f"{directory}: no weights yet (they are written at the first validation)")
        try:
            network_config = from_mapping(ClassifierConfig, config["network"])
            if None in asdict(network_config).values():
                raise ValueError("the network's shape is not all there")
            linear_config = from_mapping(LinearConfig, config["linear"])
            blend = from_mapping(Blend, config["blend"])
            seen_sizes = {name: int(config["vocabs"][name]["seen_size"]) for name in network_config.view_names}
            labels, multi_label = config["labels"], config["multi_label"]
            figures = config["training"]
            if not all(isinstance(label, str) for label in labels):
                raise ValueError("labels that are not text")
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise CharrnnError(f"{directory / model_directory.CONFIG}: damaged: {error!r}") from None
        files = tokenizer_files(network_config.view_names)
        vocabs = {name: Vocab.load(directory / files[name], size) for name, size in seen_sizes.items()}
        tensors, _ = checkpoint.load_tensors(directory / model_directory.WEIGHTS)
        sizes = {name: (len(vocab), vocab.seen_size) for name, vocab in vocabs.items()}
        try:
            network = checkpoint.filled(
                lambda: ClassifierNetwork(network_config, sizes, len(labels)),
                under("network", tensors),
                choose_device(device),
            )
            beside = Beside.from_tensors(linear_config, tensors, len(labels))
        except (KeyError, ValueError) as error:
            raise CharrnnError(f"{directory / model_directory.WEIGHTS}: damaged: {error!r}") from None
        return cls(labels, network, vocabs, beside, blend, multi_label=multi_label, figures=figures)

    def save(self, directory: str | Path) -> None:
        """Write `config.json`, weights and vocabularies into a directory, made if missing."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        write_vocabs(directory, self.vocabs)
        write_weights(directory, checkpoint.network_tensors(self.network), self.beside)
        model_directory.write_config(directory, self.config())

    def config(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {
            "model_type": MODEL_TYPE,
            "labels": list(self.labels),
            "multi_label": self.multi_label,
            "network": asdict(self.network.config),
            "vocabs": {
                name: {"kind": vocab.kind, "size": len(vocab), "seen_size": vocab.seen_size}
                for name, vocab in self.vocabs.items()
            },
            "linear": asdict(self.beside.linear.config),
            "blend": asdict(self.blend),
            "training": self.figures,
        }

    def scores(self, texts: Sequence[str]) -> list[Tensor]:
        """The network's logits and the scores of the models beside it, (N, C) each."""
        texts = [text.strip() for text in texts]
        logits = logits_of(self.network, texts, self.vocabs, "fp32", self.beside.linear.spelling)
        return [logits, *self.beside.scores(texts)]

    def probabilities(self, texts: Sequence[str]) -> Tensor:
        """Probability of each label: (N, C), rows of one sum, or with several labels a text each on its own."""
        return probabilities(self.blend.logits(*self.scores(texts)), self.multi_label)

    def classify(self, texts: str | Sequence[str], top: int | None = None) -> list[Classification]:
        """What each text is: its likeliest label, or the `top` likeliest.

        With several labels a text: those of at least even odds, or the `top` likeliest.
        """
        return list(self.classify_lines([texts] if isinstance(texts, str) else texts, top))

    def classify_lines(self, texts: Iterable[str], top: int | None = None) -> Iterator[Classification]:
        """The same for any number of texts, read and answered in order, in bounded memory."""
        if top is not None and top < 1:
            raise UsageError(f"top must be at least 1, not {top}")
        for company in _companies(texts):
            yield from self._rank(self.probabilities(company), top)

    def explain(self, text: str, label: str | None = None) -> Explanation:
        """What in a text speaks for its likeliest label, or for `label`: what is lost by leaving each part out.

        Stretches of a few characters are left out in turn; a character's weight is the mean over those that hold it.
        Of a long text the label is that of the whole, and its beginning is looked at.
        """
        if label is not None and label not in self.labels:
            raise UsageError(f"no label {label!r}: choose from {', '.join(self.labels[:20])}")
        whole = text.strip()
        text = whole[:EXPLAINED_CHARS]
        step = max(-(-len(text) // EXPLAINED_PLACES), 1)
        places = [slice(start, start + 3 * step) for start in range(-2 * step, len(text), step)]
        places = [slice(max(place.start, 0), place.stop) for place in places]
        changed = [text[: place.start] + text[place.stop :] for place in places]
        logits = self.blend.logits(*self.scores([whole, text, *changed])).double()
        chosen = self.labels.index(label) if label is not None else int(logits[0].argmax())
        others = torch.cat([logits[:, :chosen], logits[:, chosen + 1 :]], dim=1)
        odds = logits[:, chosen] if self.multi_label else logits[:, chosen] - others.logsumexp(1)
        weights, counts = np.zeros(len(text)), np.zeros(len(text))
        for place, lost in zip(places, (odds[1] - odds[2:]).tolist(), strict=True):
            weights[place] += lost
            counts[place] += 1
        return Explanation(text, self.labels[chosen], odds[0].sigmoid().item(), weights / np.maximum(counts, 1))

    def _rank(self, found: Tensor, top: int | None) -> Iterator[Classification]:
        if top is None and self.multi_label:
            for row in found:
                order = row.argsort(descending=True, stable=True)[: int((row >= THRESHOLD).sum())]
                yield self._classification(row[order].tolist(), order.tolist())
            return
        best = found.topk(min(top or 1, len(self.labels)), dim=-1)
        for values, classes in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            yield self._classification(values, classes)

    def _classification(self, values: list[float], classes: list[int]) -> Classification:
        return Classification(tuple(zip((self.labels[c] for c in classes), values, strict=True)))


def tokenizer_files(views: Iterable[ViewName]) -> dict[ViewName, str]:
    """Where the vocabulary of each view lies: the first one's as in any model directory."""
    return {name: f"tokenizer_{name}.json" if i else model_directory.TOKENIZER for i, name in enumerate(views)}


def write_vocabs(directory: Path, vocabs: Mapping[ViewName, Vocab]) -> None:
    """Write the vocabularies of the views, in their order."""
    for name, file in tokenizer_files(vocabs).items():
        atomic_write(directory / file, vocabs[name].definition)


def write_weights(directory: Path, network: Mapping[str, Tensor], beside: Beside) -> None:
    """Write `model.safetensors`: the network's weights by name, and the models beside it."""
    tensors = {f"network.{name}": weight for name, weight in network.items()}
    checkpoint.save_tensors(directory / model_directory.WEIGHTS, tensors | beside.tensors())


def _companies(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts, in lists of many short ones or few long ones."""
    waiting: list[str] = []
    chars = 0
    for text in texts:
        waiting.append(text)
        chars += len(text)
        if len(waiting) == LINES_AT_ONCE or chars >= CHARS_AT_ONCE:
            yield waiting
            waiting, chars = [], 0
    if waiting:
        yield waiting
