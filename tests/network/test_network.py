"""Laws of the whole network: carried state, independent lanes, causality, probabilities, dropout, sizes."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charrnn.errors import UsageError
from charrnn.network.cells import SharedDropout
from charrnn.network.config import CELLS, SIZES, Cell, NetworkConfig
from charrnn.network.model import Network, State, detach, select

T, B = 17, 3


def read(network: Network, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    with torch.no_grad():
        logits, state = network(ids, network.initial_state(ids.shape[1]) if state is None else state)
    return logits, state


# Carried state


@pytest.mark.parametrize("lengths", [[5, 1, 9, 2], [1] * T], ids=["chunks", "steps"])
def test_parts_with_carried_state_are_the_whole(network: Network, ids: Tensor, lengths: list[int]) -> None:
    whole, final = read(network, ids)
    state, parts = network.initial_state(B), []
    for part in ids.split(lengths):
        logits, state = read(network, part, state)
        parts.append(logits)
    assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)
    assert_close(state, final, rtol=1e-4, atol=1e-5)


def test_lanes_do_not_see_each_other(network: Network, ids: Tensor) -> None:
    together, final = read(network, ids)
    for lane in range(B):
        alone, state = read(network, ids[:, [lane]])
        assert_close(alone[:, 0], together[:, lane], rtol=1e-4, atol=1e-5)
        assert_close(state, select(final, torch.tensor([lane])), rtol=1e-4, atol=1e-5)


def test_an_input_changes_what_follows_and_nothing_before(network: Network, ids: Tensor) -> None:
    t = 6
    changed = ids.clone()
    changed[t] = (changed[t] + 7) % 30
    before, after = read(network, ids)[0], read(network, changed)[0]
    assert_close(after[:t], before[:t], rtol=0, atol=0)
    for later in (t, t + 1, t + 5):
        assert (after[later] - before[later]).abs().amax(-1).min() > 1e-5, f"input {t} does not reach output {later}"


def test_selected_lanes_go_on_as_they_were(network: Network, ids: Tensor) -> None:
    _, state = read(network, ids)
    lanes = torch.tensor([2, 0, 2])
    logits, final = read(network, ids[:4, lanes], select(state, lanes))
    expected, expected_final = read(network, ids[:4], state)
    assert_close(logits, expected[:, lanes], rtol=1e-4, atol=1e-5)
    assert_close(final, select(expected_final, lanes), rtol=1e-4, atol=1e-5)


def test_a_detached_state_is_the_same_without_its_history(network: Network, ids: Tensor) -> None:
    _, state = network(ids, network.initial_state(B))
    cut = detach(state)
    assert_close(cut, state, rtol=0, atol=0)
    assert any(tensor.requires_grad for layer in state for tensor in layer)
    assert not any(tensor.requires_grad for layer in cut for tensor in layer)


def test_every_parameter_is_trained(network: Network, ids: Tensor) -> None:
    logits, _ = network(ids, network.initial_state(B))
    network.nats(logits, ids).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


# Probabilities


@pytest.mark.parametrize(("vocab_size", "seen_size"), [(40, 30), (31, 30), (30, 30)])
@pytest.mark.parametrize("tied", [False, True])
def test_probabilities_of_all_entries_sum_to_one(
    vocab_size: int, seen_size: int, tied: bool, config: NetworkConfig, make_network: Callable[..., Network]
) -> None:
    network = make_network(replace(config, tie_weights=tied), vocab_size, seen_size)
    ids = torch.arange(vocab_size)[:, None].expand(-1, B)
    logits, _ = read(network, ids)
    nats = torch.stack([network.nats(logits, torch.full_like(ids, entry)) for entry in range(vocab_size)])
    assert_close((-nats).exp().sum(0), torch.ones(vocab_size, B), rtol=1e-4, atol=1e-5)


def test_nats_are_the_softmax_of_seen_entries_and_equal_shares_of_the_unseen(network: Network, ids: Tensor) -> None:
    logits, _ = read(network, ids)
    probs = logits.softmax(-1)
    assert_close(network.nats(logits, torch.full_like(ids, 4)), -probs[..., 4].log(), rtol=1e-4, atol=1e-5)
    for unseen in (30, 35, 39):
        shares = -(probs[..., 30] / 10).log()
        assert_close(network.nats(logits, torch.full_like(ids, unseen)), shares, rtol=1e-4, atol=1e-5)


def test_entries_never_seen_are_read_alike(network: Network, ids: Tensor) -> None:
    unseen = ids.clone()
    unseen[3] = 30
    logits, _ = read(network, unseen)
    for entry in (31, 39):
        unseen[3] = entry
        assert_close(read(network, unseen)[0], logits, rtol=0, atol=0)


def test_the_embedding_of_unseen_entries_is_zero_and_stays_so(config: NetworkConfig) -> None:
    network = Network(config, 40, 30)
    assert not network.embedding.weight[30].any()
    ids = torch.full((4, B), 35)
    logits, _ = network(ids, network.initial_state(B))
    network.nats(logits, ids).mean().backward()
    gradient = network.embedding.weight.grad
    assert gradient is None or not gradient[30].any()


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_a_share_and_the_mean(rate: float) -> None:
    dropout = SharedDropout()
    dropout.rate = rate
    torch.manual_seed(0)
    out = dropout(torch.ones(2, 100, 200))
    kept = out != 0
    assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - rate)))
    deviation = math.sqrt(rate * (1 - rate) / (100 * 200))
    assert abs(kept.float().mean().item() - (1 - rate)) < 5 * deviation
    assert not torch.equal(kept[0, 0], kept[0, 1]), "each lane has a mask of its own"


@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_has_one_dropout_mask_for_all_times(cell: Cell) -> None:
    torch.manual_seed(0)
    network = Network(NetworkConfig(cell=cell, hidden_size=64, num_layers=1, dropout=0.5), 40, 30).train()
    x = torch.randn(T, B, 64)
    outputs, _ = network.layers[0](x, network.initial_state(B)[0])
    # What a mingru layer adds to its input is masked twice, so that a quarter of it is gone.
    branch, expected = (outputs - x, 0.25) if cell == "mingru" else (outputs, 0.5)
    gone = branch == 0
    assert torch.equal(gone, gone[:1].expand_as(gone))
    assert abs(gone.float().mean().item() - expected) < 0.15
    assert network.layers[0](x, network.initial_state(B)[0])[0].ne(outputs).any(), "the next window has another mask"


def test_dropout_is_off_outside_training(
    config: NetworkConfig, make_network: Callable[..., Network], ids: Tensor
) -> None:
    dropped = make_network(replace(config, dropout=0.5))
    assert_close(read(dropped, ids), read(make_network(config), ids), rtol=0, atol=0)
    dropped.train()
    assert not torch.equal(read(dropped, ids)[0], read(dropped, ids)[0])
    dropped.set_dropout(0.0)
    assert_close(read(dropped, ids), read(make_network(config), ids), rtol=0, atol=0)


# Sizes


@pytest.mark.parametrize("cell", CELLS)
def test_sizes_grow(cell: Cell) -> None:
    with torch.device("meta"):
        counts = [Network(NetworkConfig(cell=cell, size=size), 300, 100).num_parameters() for size in SIZES]
    assert all(2 * small < large for small, large in pairwise(counts))


def test_cells_of_one_size_are_about_as_large() -> None:
    with torch.device("meta"):
        networks = {cell: Network(NetworkConfig(cell=cell, size="small"), 300, 100) for cell in CELLS}
    assert networks["lstm"].num_parameters() < 2 * networks["mingru"].num_parameters()
    assert networks["mingru"].num_parameters() < 2 * networks["lstm"].num_parameters()


def test_width_and_depth_can_be_chosen_apart_from_the_size() -> None:
    default = NetworkConfig(size="tiny")
    assert NetworkConfig(size="tiny", hidden_size=24).width == 24
    assert NetworkConfig(size="tiny", hidden_size=24).depth == default.depth
    assert NetworkConfig(size="tiny", num_layers=7).depth == 7
    assert NetworkConfig(size="tiny", num_layers=7).width == default.width
    assert len(Network(NetworkConfig(hidden_size=8, num_layers=5), 10, 10).layers) == 5


def test_tying_saves_one_matrix(config: NetworkConfig) -> None:
    counts = [Network(replace(config, tie_weights=tied), 40, 30).num_parameters() for tied in (False, True)]
    assert counts[0] - counts[1] == 31 * config.width


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"cell": "rnn"}, "rnn"),
        ({"size": "huge"}, "huge"),
        ({"activation": "gelu"}, "gelu"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_layers": -1}, "num_layers"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": math.nan}, "dropout"),
    ],
)
def test_settings_that_cannot_work_are_usage_errors(settings: dict[str, object], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        NetworkConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_network_begins_at_the_frequencies_it_is_told(cell: Cell, tied: bool) -> None:
    """It is about as good as knowing how often each entry occurs; what never occurs is all but impossible."""
    torch.manual_seed(0)
    network = Network(NetworkConfig(cell=cell, hidden_size=32, num_layers=2, tie_weights=tied), 12, 9)
    counts = np.array([9000, 900, 90, 9, 1000, 100, 10, 1, 5000])
    network.expect(counts)
    ids = torch.from_numpy(np.random.default_rng(0).choice(9, (40, 50), p=counts / counts.sum()))
    nats = network.nats(network(ids[:-1], network.initial_state(50))[0], ids[1:]).mean().item()
    entropy = -(counts / counts.sum() * np.log(counts / counts.sum())).sum()
    assert entropy - 0.1 < nats < entropy + (1.0 if tied else 0.3)
