"""Networks to and from model directories, and files of tensors: what `charrnn.model_directory` holds, for torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from charrnn.errors import CharrnnError
from charrnn.model_directory import CONFIG, WEIGHTS, load_arrays, read_model, save_arrays
from charrnn.network.model import Network
from charrnn.text.vocab import Vocab

M = TypeVar("M", bound=nn.Module)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors and text to a safetensors file, whole or not at all, with a checksum of its own."""
    save_arrays(path, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, metadata)


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a safetensors file. Raises CharrnnError if it is damaged."""
    arrays, metadata = load_arrays(path)
    # Copies, in torch's own memory: products round otherwise where an array begins elsewhere.
    return {name: torch.from_numpy(array).clone() for name, array in arrays.items()}, metadata


def describe(model_type: str, network: Network, vocab: Vocab, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` holds."""
    return {
        "model_type": model_type,
        "network": dataclasses.asdict(network.config),
        "vocab": {"kind": vocab.kind, "size": len(vocab), "seen_size": vocab.seen_size},
        "training": dict(figures),
    }


def write_weights(directory: Path, network: Network) -> None:
    """Write `model.safetensors`. Tied weights are written once."""
    save_tensors(directory / WEIGHTS, network_tensors(network))


def network_tensors(network: nn.Module) -> dict[str, Tensor]:
    """All numbers that make a network what it is, by name, each once."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def filled(make: Callable[[], M], weights: Mapping[str, Tensor], device: torch.device) -> M:
    """What `make` makes, with just these weights, on a device. Raises ValueError for weights that do not fit."""
    with torch.device("meta"):  # where a size that makes no sense costs no memory
        expected = network_tensors(make())
    if {name: w.shape for name, w in weights.items()} != {name: w.shape for name, w in expected.items()}:
        raise ValueError(f"the weights do not fit the network that {CONFIG} describes")
    module = make().to(device)
    with torch.no_grad():
        for name, weight in network_tensors(module).items():
            weight.copy_(weights[name])
    return module


def load_network(directory: Path, device: torch.device) -> tuple[Network, Vocab, dict[str, Any]]:
    """The network with its weights, the vocabulary and the configuration of a model directory.

    Raises UsageError if it is none, CharrnnError if a file in it is damaged.
    """
    saved = read_model(directory)
    sizes = (len(saved.vocab), saved.vocab.seen_size)
    weights = {name: torch.from_numpy(array) for name, array in saved.weights.items()}
    try:
        network = filled(lambda: Network(saved.network, *sizes), weights, device)
    except ValueError as error:
        raise CharrnnError(f"{directory / WEIGHTS}: {error}") from None
    return network.eval(), saved.vocab, saved.config
