"""A model's directory: settings, vocabulary and weights in files that other tools can read. Needs no torch.

config.json             model_type, the network's and vocabulary's settings, figures of the training
model.safetensors       weights
tokenizer.json          the vocabulary, as the `tokenizers` library reads it
generation_config.json  sampling defaults
README.md               model card
training/               what a run needs to go on: see charrnn.training
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from charrnn.errors import CharrnnError, UsageError
from charrnn.network.config import NetworkConfig
from charrnn.settings import from_mapping
from charrnn.storage import atomic_path, atomic_write
from charrnn.text.vocab import Vocab

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"
GENERATION_CONFIG = "generation_config.json"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SavedModel:
    """What a model directory holds."""

    config: dict[str, Any]
    network: NetworkConfig
    vocab: Vocab
    weights: dict[str, Array]


def read_model(directory: Path) -> SavedModel:
    """The contents of a model directory. Raises UsageError if it is none, CharrnnError if a file in it is damaged."""
    config = read_config(directory)
    try:
        vocab_size, seen_size = int(config["vocab"]["size"]), int(config["vocab"]["seen_size"])
        network = from_mapping(NetworkConfig, config["network"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CharrnnError(f"{directory / CONFIG}: damaged: {error!r}") from None
    if not (directory / WEIGHTS).exists():
        raise CharrnnError(f"{directory}: no weights yet ({WEIGHTS} is written at the first validation)")
    vocab = Vocab.load(directory / TOKENIZER, seen_size)
    if len(vocab) != vocab_size:
        raise CharrnnError(f"{directory}: {TOKENIZER} has {len(vocab)} entries, {CONFIG} says {vocab_size}")
    return SavedModel(config, network, vocab, load_arrays(directory / WEIGHTS)[0])


def read_config(directory: Path) -> dict[str, Any]:
    """The `config.json` of a model directory. Raises UsageError if the directory holds no model."""
    path = directory / CONFIG
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such model directory")
    if not path.exists():
        raise UsageError(f"{directory}: not a model directory (it has no {CONFIG})")
    config = read_json(path)
    if not isinstance(config.get("model_type"), str):
        raise CharrnnError(f"{path}: damaged: it names no model_type")
    return config


def read_config_of(model_type: str, directory: Path) -> dict[str, Any]:
    """The `config.json` of a model of this type. Raises UsageError if the directory holds none."""
    config = read_config(directory)
    if config["model_type"] != model_type:
        found, wanted = (name.replace("_", " ") for name in (config["model_type"], model_type))
        raise UsageError(f"{directory}: holds a {found}, not a {wanted}")
    return config


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Write `config.json`."""
    atomic_write(directory / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CharrnnError if it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise CharrnnError(f"{path}: damaged: {error}") from None
    return values


def save_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays and text to a safetensors file, whole or not at all, with a checksum of its own."""
    contents = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    notes = {"format": "pt", **(metadata or {})}
    notes["sha256"] = _digest(contents, notes)
    with atomic_path(path) as temporary:
        try:
            save_file(contents, temporary, metadata=notes)
        except SafetensorError as error:  # how the library reports a full disk
            raise OSError(None, f"cannot write: {error}", str(path)) from error


def load_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and the text of a safetensors file. Raises CharrnnError if it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CharrnnError(f"{path}: damaged or not a safetensors file: {error}") from None
    digest = metadata.pop("sha256", None)
    if digest not in (None, _digest(arrays, metadata)):
        raise CharrnnError(f"{path}: damaged: its contents do not match its checksum")
    return arrays, metadata


def _digest(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode("utf-8"))
    for name in sorted(arrays):
        digest.update(name.encode("utf-8"))
        digest.update(arrays[name].reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
