"""Untrained models, whose weights are large enough that every context gives another distribution."""

import pytest
import torch

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.network.ngrams import NGramsBefore
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Kind, build_vocab

TEXT = "It was a dark and stormy night – “naïve” café, ありがとう, 😀! " * 5


def untrained(cell: Cell = "mingru", vocab: Kind = "char", seed: int = 0, ngrams: bool = False) -> LanguageModel:
    torch.manual_seed(seed)
    built = build_vocab(vocab, [TEXT], 300 if vocab == "subword" else None)
    codes = NGramsBefore.frequent(built.encode(TEXT), built.num_known, 100 if ngrams else 0)
    config = NetworkConfig(cell=cell, hidden_size=24, num_layers=2, ngrams=len(codes))
    network = Network(config, len(built), built.seen_size)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_((0.6 if name == "head.weight" else 0.3) * torch.randn_like(parameter))
        if network.ngrams is not None:
            network.ngrams.codes.copy_(codes)
            network.ngrams.embedding.weight[0] = 0  # of those not in the table
    return LanguageModel(network, built)


@pytest.fixture(scope="module", params=["mingru", "lstm", "mingru with n-grams"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    cell, _, ngrams = request.param.partition(" ")
    return untrained(cell=cell, ngrams=bool(ngrams))


@pytest.fixture(scope="module", params=["char", "byte", "subword"])
def model_of_any_vocab(request: pytest.FixtureRequest) -> LanguageModel:
    return untrained(vocab=request.param)


@pytest.fixture(scope="module")
def other_model() -> LanguageModel:
    return untrained(seed=1)
