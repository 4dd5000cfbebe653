"""Untrained models, whose weights are large enough that every context gives another distribution."""

import pytest
import torch

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Kind, build_vocab

TEXT = "It was a dark and stormy night – “naïve” café, ありがとう, 😀! " * 5


def untrained(cell: Cell = "mingru", vocab: Kind = "char", seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    built = build_vocab(vocab, [TEXT], 300 if vocab == "subword" else None)
    network = Network(NetworkConfig(cell=cell, hidden_size=24, num_layers=2), len(built), built.seen_size)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_((0.6 if name == "head.weight" else 0.3) * torch.randn_like(parameter))
    return LanguageModel(network, built)


@pytest.fixture(scope="module", params=["mingru", "lstm"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(cell=request.param)


@pytest.fixture(scope="module", params=["char", "byte", "subword"])
def model_of_any_vocab(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(vocab=request.param)


@pytest.fixture(scope="module")
def other_model() -> LanguageModel:
    return untrained(seed=1)
