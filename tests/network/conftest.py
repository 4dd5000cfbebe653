"""Networks of every cell, with weights that leave nothing at the zero or one it starts with, and n-grams of `ids`."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from charrnn.network import cells, model, operations
from charrnn.network.config import NetworkConfig
from charrnn.network.model import Network
from charrnn.network.ngrams import code

VOCAB_SIZE, SEEN_SIZE = 40, 30
IDS = torch.randint(0, VOCAB_SIZE, (17, 3), generator=torch.Generator().manual_seed(2))
NGRAMS = [IDS[t : t + n, lane].clamp(max=SEEN_SIZE).tolist() for n in (2, 3, 5) for lane in (0, 2) for t in range(12)]

CONFIGS = {
    "mingru": NetworkConfig(cell="mingru"),
    "lstm": NetworkConfig(cell="lstm"),
    "gru": NetworkConfig(cell="gru"),
    "elman-tanh": NetworkConfig(cell="elman", activation="tanh"),
    "elman-sigmoid": NetworkConfig(cell="elman", activation="sigmoid"),
    "elman-relu": NetworkConfig(cell="elman", activation="relu"),
}
MakeNetwork = Callable[..., Network]


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> NetworkConfig:
    return replace(CONFIGS[request.param], hidden_size=20, num_layers=2)


@pytest.fixture
def make_network() -> MakeNetwork:
    def make(config: NetworkConfig, vocab_size: int = VOCAB_SIZE, seen_size: int = SEEN_SIZE) -> Network:
        torch.manual_seed(1)
        network = Network(config, vocab_size, seen_size)
        if network.ngrams is not None:
            codes = [code(ngram, network.ngrams.num_entries) for ngram in NGRAMS]
            network.ngrams.codes.copy_(torch.tensor(sorted(codes)))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        return network.eval()

    return make


@pytest.fixture
def ids() -> Tensor:
    return IDS.clone()


@pytest.fixture(params=["untied", "tied", "ngrams"])
def network(request: pytest.FixtureRequest, config: NetworkConfig, make_network: MakeNetwork) -> Network:
    ngrams = len(NGRAMS) if request.param == "ngrams" else 0
    return make_network(replace(config, tie_weights=request.param == "tied", ngrams=ngrams))


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operations that other devices than a CPU use, here on a CPU."""
    for name in ("norm_conv", "add_norm", "masked_add", "swiglu"):
        monkeypatch.setattr(cells, name, getattr(operations, f"{name}_reference"))
    monkeypatch.setattr(cells, "gated_mix", operations.gated_mix_parallel)
    monkeypatch.setattr(model, "norm", operations.norm_reference)
