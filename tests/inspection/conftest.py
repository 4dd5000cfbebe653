"""Untrained models, whose weights are large enough that every context gives another distribution."""

import pytest
import torch

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Kind, build_vocab

TRAINED_ON = "Ein naïver Text – “café” (früh), 日本 😀!\nNoch EINE Zeile, die zweite von 12.\n\n" * 4


def untrained(kind: Kind = "char", cell: Cell = "mingru") -> LanguageModel:
    torch.manual_seed(0)
    vocab = build_vocab(kind, [TRAINED_ON], 290 if kind == "subword" else None)
    network = Network(NetworkConfig(cell=cell, hidden_size=12, num_layers=2), len(vocab), vocab.seen_size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return LanguageModel(network, vocab)


@pytest.fixture(scope="package", params=["char", "byte", "subword"])
def model_of_any_vocab(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(kind=request.param)


@pytest.fixture(scope="package", params=["mingru", "lstm", "gru", "elman"])
def model_of_any_cell(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(cell=request.param)


@pytest.fixture(scope="package")
def model() -> LanguageModel:
    return untrained()


@pytest.fixture
def text() -> str:
    """With characters that the models' vocabularies spell in bytes, and some that have a meaning in HTML."""
    return TRAINED_ON[:160] + 'Unseen: Ж漢字 \x00\t</script><b class="x">&amp;<!-- \n' + TRAINED_ON[:40]
