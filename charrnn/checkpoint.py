"""Model directories: weights, settings and vocabulary in files that other tools can read.

config.json             model_type, the network's and vocabulary's settings, figures of the training
model.safetensors       weights
tokenizer.json          the vocabulary, as the `tokenizers` library reads it
generation_config.json  sampling defaults
README.md               model card
training/               what a run needs to go on: see charrnn.training
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from charrnn.errors import CharrnnError, UsageError
from charrnn.network.config import NetworkConfig
from charrnn.network.model import Network
from charrnn.settings import from_mapping
from charrnn.storage import atomic_path, atomic_write
from charrnn.text.vocab import Vocab

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"
GENERATION_CONFIG = "generation_config.json"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and text to a safetensors file, whole or not at all, with a checksum of its own."""
    contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    notes = {"format": "pt", **(metadata or {})}
    notes["sha256"] = _digest(contents, notes)
    with atomic_path(path) as temporary:
        try:
            save_file(contents, temporary, metadata=notes)
        except SafetensorError as error:  # how the library reports a full disk
            raise OSError(None, f"cannot write: {error}", str(path)) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a safetensors file. Raises CharrnnError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CharrnnError(f"{path}: damaged or not a safetensors file: {error}") from None
    digest = metadata.pop("sha256", None)
    if digest not in (None, _digest(tensors, metadata)):
        raise CharrnnError(f"{path}: damaged: its contents do not match its checksum")
    return tensors, metadata


def describe(model_type: str, network: Network, vocab: Vocab, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` holds."""
    return {
        "model_type": model_type,
        "network": dataclasses.asdict(network.config),
        "vocab": {"kind": vocab.kind, "size": len(vocab), "seen_size": vocab.seen_size},
        "training": dict(figures),
    }


def write_config(directory: Path, config: Mapping[str, Any]) -> None:
    """Write `config.json`."""
    atomic_write(directory / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def write_weights(directory: Path, network: Network) -> None:
    """Write `model.safetensors`. Tied weights are written once."""
    save_tensors(directory / WEIGHTS, network_tensors(network))


def network_tensors(network: Network) -> dict[str, Tensor]:
    """The network's weights by name, each once."""
    return dict(network.named_parameters())


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


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CharrnnError if it is damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise CharrnnError(f"{path}: damaged: {error}") from None
    return values


def load_network(directory: Path, device: torch.device) -> tuple[Network, Vocab, dict[str, Any]]:
    """The network with its weights, the vocabulary and the configuration of a model directory.

    Raises UsageError if it is none, CharrnnError if a file in it is damaged.
    """
    config = read_config(directory)
    try:
        vocab_size, seen_size = int(config["vocab"]["size"]), int(config["vocab"]["seen_size"])
        network_config = from_mapping(NetworkConfig, config["network"])
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise CharrnnError(f"{directory / CONFIG}: damaged: {error!r}") from None
    if not (directory / WEIGHTS).exists():
        raise CharrnnError(f"{directory}: no weights yet ({WEIGHTS} is written at the first validation)")
    vocab = Vocab.load(directory / TOKENIZER, seen_size)
    if len(vocab) != vocab_size:
        raise CharrnnError(f"{directory}: {TOKENIZER} has {len(vocab)} entries, {CONFIG} says {vocab_size}")
    tensors, _ = load_tensors(directory / WEIGHTS)
    with torch.device("meta"):  # where a size that makes no sense costs no memory
        expected = network_tensors(Network(network_config, vocab_size, seen_size))
    if {name: w.shape for name, w in tensors.items()} != {name: w.shape for name, w in expected.items()}:
        raise CharrnnError(f"{directory / WEIGHTS}: the weights do not fit the network that {CONFIG} describes")
    network = Network(network_config, vocab_size, seen_size).to(device)
    with torch.no_grad():
        for name, weight in network_tensors(network).items():
            weight.copy_(tensors[name])
    return network.eval(), vocab, config


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode("utf-8"))
    for name in sorted(tensors):
        digest.update(name.encode("utf-8"))
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
