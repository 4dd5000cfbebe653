"""All that decides how a classifier's run goes, written to a model directory so that it can go on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from charrnn import checkpoint, model_directory
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.classifier.data import Example, Splits
from charrnn.tasks.classifier.linear import LinearConfig
from charrnn.tasks.classifier.model import tokenizer_files, write_vocabs
from charrnn.tasks.classifier.network import ClassifierConfig, ViewName
from charrnn.tasks.classifier.objective import ObjectiveConfig
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.tasks.classifier.words import WordVectors
from charrnn.text.vocab import Vocab
from charrnn.training.config import TrainingConfig
from charrnn.training.directory import RUN, require_run

EXAMPLES = "examples.jsonl"
WORDS = "words.safetensors"
KNOWN_WORDS = "known_words.safetensors"
UNLABELLED = "unlabelled.json"


@dataclass(frozen=True)
class Run:
    """Everything that decides how a run goes, all choices made."""

    splits: Splits
    vocabs: dict[ViewName, Vocab]
    network: ClassifierConfig
    linear: LinearConfig
    objective: ObjectiveConfig
    training: TrainingConfig
    words: WordVectors | None = None  # what text without labels tells of words
    known_words: WordCounts | None = None  # how often they occur in it
    unlabelled: tuple[str, ...] = ()  # lines of it

    def write(self, directory: Path) -> None:
        """Write what `read` needs into a model directory."""
        splits = self.splits
        settings = {
            "network": asdict(self.network),
            "linear": asdict(self.linear),
            "objective": asdict(self.objective),
            "training": asdict(self.training),
            "vocabs": {name: vocab.seen_size for name, vocab in self.vocabs.items()},
            "splits": {name: getattr(splits, name) for name in ("labels", "val_was_given", "multi_label")},
        }
        for name, part in ((WORDS, self.words), (KNOWN_WORDS, self.known_words)):
            if part is None:
                (directory / "training" / name).unlink(missing_ok=True)  # of a run that never began
            else:
                checkpoint.save_tensors(directory / "training" / name, part.tensors())
        atomic_write(directory / "training" / RUN, json.dumps(settings, indent=2) + "\n")
        atomic_write(directory / "training" / UNLABELLED, json.dumps(self.unlabelled))
        lines = [
            json.dumps({"part": part, "text": example.text, "labels": example.labels}) + "\n"
            for part in ("train", "val", "test")
            for example in getattr(splits, part)
        ]
        atomic_write(directory / "training" / EXAMPLES, "".join(lines))
        write_vocabs(directory, self.vocabs)

    @classmethod
    def read(cls, directory: Path) -> Run:
        """The run in a model directory. Raises UsageError if there is none to resume."""
        require_run(directory)
        path = directory / "training" / RUN
        values = model_directory.read_json(path)
        if "linear" not in values:
            raise UsageError(f"{directory}: the run here trains no classifier")
        parts: dict[str, list[Example]] = {"train": [], "val": [], "test": []}
        try:
            with (directory / "training" / EXAMPLES).open(encoding="utf-8") as file:
                for row in map(json.loads, file):
                    parts[row["part"]].append(Example(row["text"], tuple(row["labels"])))
            splits = values["splits"]
            tensors: dict[str, Tensor] = {}
            for name in (WORDS, KNOWN_WORDS):
                if (directory / "training" / name).exists():
                    tensors |= checkpoint.load_tensors(directory / "training" / name)[0]
            return cls(
                splits=Splits(
                    labels=tuple(splits["labels"]),
                    val_was_given=bool(splits["val_was_given"]),
                    multi_label=bool(splits["multi_label"]),
                    **parts,
                ),
                vocabs={
                    name: Vocab.load(directory / file, values["vocabs"][name])
                    for name, file in tokenizer_files(values["vocabs"]).items()
                },
                network=from_mapping(ClassifierConfig, values["network"]),
                linear=from_mapping(LinearConfig, values["linear"]),
                objective=from_mapping(ObjectiveConfig, values["objective"]),
                training=from_mapping(TrainingConfig, values["training"]),
                words=WordVectors.from_tensors(tensors),
                known_words=WordCounts.from_tensors(tensors),
                unlabelled=tuple(json.loads((directory / "training" / UNLABELLED).read_text("utf-8"))),
            )
        except (OSError, KeyError, TypeError, ValueError, UsageError) as error:
            raise CharrnnError(f"{path}: damaged: {error!r}") from None
