"""The package's front: `load`, `train`, `resume`, and the same for classifiers and for sequence to sequence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charrnn import model_directory
from charrnn.network.config import NetworkConfig
from charrnn.settings import distribute, from_mapping
from charrnn.tasks.classifier import training as classifier
from charrnn.tasks.classifier.estimator import TextClassifier
from charrnn.tasks.classifier.model import MODEL_TYPE as CLASSIFIER
from charrnn.tasks.classifier.model import Classifier
from charrnn.tasks.classifier.training import resume_classifier
from charrnn.tasks.language_model import training as language_model
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.tasks.seq2seq import training as seq2seq
from charrnn.tasks.seq2seq.model import MODEL_TYPE as SEQ2SEQ
from charrnn.tasks.seq2seq.model import Seq2Seq, Task
from charrnn.tasks.seq2seq.training import resume_seq2seq
from charrnn.text.dataset import TextConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.trainer import Report

SETTINGS = (TextConfig, NetworkConfig, TrainingConfig)

__all__ = [
    "TextClassifier",
    "load",
    "resume",
    "resume_classifier",
    "resume_seq2seq",
    "train",
    "train_classifier",
    "train_seq2seq",
]


def load(directory: str | Path, device: str = "auto") -> Any:
    """The model in a directory: a `LanguageModel`, a `Classifier` or a `Seq2Seq`.

    Raises UsageError if there is none, CharrnnError if it is damaged.
    """
    model_type = model_directory.read_config(Path(directory))["model_type"]
    kinds: dict[str, Any] = {CLASSIFIER: Classifier, SEQ2SEQ: Seq2Seq}
    return kinds.get(model_type, LanguageModel).load(directory, device)


def train(
    files: str | Path | Sequence[str | Path] = (),
    output: str | Path = "model",
    *,
    val: str | Path | Sequence[str | Path] = (),
    encoding: str = "utf-8",
    init_from: str | Path | None = None,
    report: Report | None = None,
    **settings: Any,
) -> LanguageModel:
    """Train a language model on text files into a new directory, and return it.

    `settings` are the fields of `TextConfig`, `NetworkConfig` and `TrainingConfig` by name: `minutes=3`,
    `size="base"`, `vocab="subword"`, … `report` is told how it goes (default: silence).

    Raises UsageError for a call that can't work, CharrnnError for a run that failed, KeyboardInterrupt on Ctrl-C
    with the run saved: `resume(output)` goes on.
    """
    text, network, training = distribute(settings, *SETTINGS)
    return language_model.train(
        _paths(files),
        output,
        val=_paths(val),
        encoding=encoding,
        text=from_mapping(TextConfig, text),
        network=from_mapping(NetworkConfig, network),
        training=from_mapping(TrainingConfig, training),
        init_from=init_from,
        report=report,
    )


def resume(
    output: str | Path,
    files: str | Path | Sequence[str | Path] = (),
    *,
    encoding: str = "utf-8",
    report: Report | None = None,
) -> LanguageModel:
    """Go on with an interrupted run exactly as if it had not been interrupted, and return the model."""
    return language_model.resume(output, _paths(files), encoding=encoding, report=report)


def train_classifier(
    train: str | Path,
    output: str | Path = "classifier",
    *,
    val: str | Path | None = None,
    test: str | Path | None = None,
    model: str | Path | None = None,
    unlabelled: str | Path | None = None,
    encoding: str = "utf-8",
    report: Report | None = None,
    **settings: Any,
) -> Classifier:
    """Train a classifier on labelled texts into a new directory, and return it.

    `train`, `val` and `test` are files (CSV, TSV, JSON lines, or lines `__label__x text`), or folders of one file or
    one folder a label; without `val` a part of the training texts is split off. `model` is a language model to start
    from, `unlabelled` any text: it learns from it what words mean, and from lines whose label is sure. `settings` by
    name: `minutes=3`, `label_column="intent"`, `multi_label=True`, `balanced=True`, …

    Raises UsageError for a call that can't work, CharrnnError for a run that failed, KeyboardInterrupt on Ctrl-C
    with the run saved, once the network's training has begun: `resume_classifier(output)` goes on.
    """
    return classifier.train_classifier(
        str(train),
        output,
        val=None if val is None else str(val),
        test=None if test is None else str(test),
        model=model,
        unlabelled=None if unlabelled is None else str(unlabelled),
        encoding=encoding,
        report=report,
        **classifier.configs(settings),
    )


def train_seq2seq(
    train: str | Path | Sequence[str | Path],
    output: str | Path = "translator",
    *,
    task: Task = "translate",
    val: str | Path | Sequence[str | Path] | None = None,
    test: str | Path | Sequence[str | Path] | None = None,
    init_from: str | Path | None = None,
    encoding: str = "utf-8",
    report: Report | None = None,
    **settings: Any,
) -> Seq2Seq:
    """Train a network on pairs of texts into a new directory, and return it.

    `train`, `val` and `test` are a table each (CSV, TSV, JSON lines), or two files of as many lines; without `val` a
    part of the training pairs is split off. `task` is "translate" or "summarize", which decides what is reported and a
    few defaults. `init_from` is the directory of a language model to start from, of the same cell and width. `settings`
    by name: `minutes=10`, `target_column="synopsis"`, `beam=5`, `hidden_size=192`, …

    Raises UsageError for a call that can't work, CharrnnError for a run that failed, KeyboardInterrupt on Ctrl-C
    with the run saved: `resume_seq2seq(output)` goes on.
    """
    return seq2seq.train_seq2seq(
        _paths(train),
        output,
        task=task,
        val=None if val is None else _paths(val),
        test=None if test is None else _paths(test),
        init_from=init_from,
        encoding=encoding,
        report=report,
        **seq2seq.configs(task, settings),
    )


def _paths(given: str | Path | Sequence[str | Path]) -> list[str]:
    return [str(given)] if isinstance(given, str | Path) else list(map(str, given))
