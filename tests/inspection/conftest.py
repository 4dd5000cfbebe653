"""Untrained models, whose weights are large enough that every context gives another distribution."""

import pytest
import torch

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.network.ngrams import NGramsBefore
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Kind, build_vocab

TRAINED_ON = "Ein naïver Text – “café” (früh), 日本 😀!\nNoch EINE Zeile, die zweite von 12.\n\n" * 4


def untrained(kind: Kind = "char", cell: Cell = "mingru", ngrams: bool = False) -> LanguageModel:
    torch.manual_seed(0)
    vocab = build_vocab(kind, [TRAINED_ON], 290 if kind == "subword" else None)
    codes = NGramsBefore.frequent(vocab.encode(TRAINED_ON), vocab.num_known, 100 if ngrams else 0)
    config = NetworkConfig(cell=cell, hidden_size=12, num_layers=2, ngrams=len(codes))
    network = Network(config, len(vocab), vocab.seen_size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        if network.ngrams is not None:
            network.ngrams.codes.copy_(codes)
            network.ngrams.embedding.weight[0] = 0  # of those not in the table
    return LanguageModel(network, vocab)


@pytest.fixture(scope="package", params=["char", "byte", "subword"])
def model_of_any_vocab(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(kind=request.param)


@pytest.fixture(scope="package", params=["mingru", "lstm", "gru", "elman", "lstm with n-grams"])
def model_of_any_cell(request: pytest.FixtureRequest) -> LanguageModel:
    cell, _, ngrams = request.param.partition(" ")
    return untrained(cell=cell, ngrams=bool(ngrams))


@pytest.fixture(scope="package")
def model() -> LanguageModel:
    return untrained()


@pytest.fixture
def text() -> str:
    """With characters that the models' vocabularies spell in bytes, and some that have a meaning in HTML."""
    return TRAINED_ON[:160] + 'Unseen: Ж漢字 \x00\t</script><b class="x">&amp;<!-- \n' + TRAINED_ON[:40]
