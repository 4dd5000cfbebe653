"""The package's front: `load`, `train`, `resume`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charrnn.network.config import NetworkConfig
from charrnn.settings import distribute, from_mapping
from charrnn.tasks.language_model import training as language_model
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.dataset import TextConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.trainer import Report

SETTINGS = (TextConfig, NetworkConfig, TrainingConfig)


def load(directory: str | Path, device: str = "auto") -> LanguageModel:
    """The model in a directory.

    Raises UsageError if there is none, CharrnnError if it is damaged.
    """
    return LanguageModel.load(directory, device)


def train(
    files: str | Sequence[str] = (),
    output: str | Path = "model",
    *,
    val: str | Sequence[str] = (),
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
        [files] if isinstance(files, str) else files,
        output,
        val=[val] if isinstance(val, str) else val,
        encoding=encoding,
        text=from_mapping(TextConfig, text),
        network=from_mapping(NetworkConfig, network),
        training=from_mapping(TrainingConfig, training),
        init_from=init_from,
        report=report,
    )


def resume(
    output: str | Path, files: Sequence[str] = (), *, encoding: str = "utf-8", report: Report | None = None
) -> LanguageModel:
    """Go on with an interrupted run exactly as if it had not been interrupted, and return the model."""
    return language_model.resume(output, files, encoding=encoding, report=report)
