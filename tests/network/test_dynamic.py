"""Dynamic evaluation: each target is scored by weights that have not seen it, and the network stays as it was."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from charrnn.errors import CharrnnError, UsageError
from charrnn.network import dynamic
from charrnn.network.config import NetworkConfig
from charrnn.network.dynamic import DynamicConfig, score_dynamic
from charrnn.network.evaluation import score_stream
from charrnn.network.model import Network, detach

FIRST = 5
CONFIG = DynamicConfig(segment_len=7, lr=3e-3, decay=0.1)


@pytest.fixture
def ids(ids: Tensor) -> Tensor:
    """One text, of which the network knows n-grams, twice."""
    return ids.T.flatten().repeat(2)


@pytest.fixture
def mingru(make_network: Callable[[NetworkConfig], Network]) -> Network:
    return make_network(NetworkConfig(cell="mingru", hidden_size=20, num_layers=2))


def both(
    network: Network, chunks: Iterable[Tensor], config: DynamicConfig = CONFIG, first: int = FIRST
) -> tuple[Tensor, Tensor]:
    plain, adapted = zip(*score_dynamic(network, chunks, first, config), strict=True)
    return torch.cat(plain), torch.cat(adapted)


def reference(network: Network, ids: Tensor, config: DynamicConfig) -> Tensor:
    """Nats under plain RMS-normalized gradient descent of all but the embeddings of n-grams: nothing in place."""
    network = copy.deepcopy(network)
    loaded = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    squares: dict[str, list[Tensor]] = {name: [] for name in loaded}
    inputs, state, nats = torch.cat([torch.tensor([FIRST]), ids[:-1]]), network.initial_state(1), []
    for start in range(0, len(ids), config.segment_len):
        part = slice(start, start + config.segment_len)
        logits, state = network(inputs[part, None], state)
        nats.append(network.nats(logits, ids[part, None])[:, 0])
        network.zero_grad()
        nats[-1].mean().backward()
        state = detach(state)
        for name, weight in network.named_parameters():
            if name == "ngrams.embedding.weight":
                continue
            assert weight.grad is not None
            squares[name].append(weight.grad**2)
            rms = torch.stack(squares[name]).mean(0).sqrt()
            stepped = weight - config.lr * weight.grad / (rms + dynamic.EPSILON)
            weight.data = (stepped + config.decay * (loaded[name] - stepped)).detach()
    return torch.cat(nats).detach()


def test_it_is_gradient_descent_on_what_has_been_scored(network: Network, ids: Tensor) -> None:
    plain, adapted = both(network, [ids])
    assert_close(adapted, reference(network, ids, CONFIG), rtol=2e-3, atol=2e-3)
    assert not torch.allclose(adapted, plain, rtol=2e-2)


def test_beside_it_stands_the_plain_figure(network: Network, ids: Tensor) -> None:
    plain, _ = both(network, [ids])
    assert_close(plain, torch.cat(list(score_stream(network, [ids], FIRST))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{"lr": 0}, {"decay": 1}], ids=str)
def test_weights_that_do_not_move_give_the_plain_figure(
    changes: dict[str, float], mingru: Network, ids: Tensor
) -> None:
    plain, adapted = both(mingru, [ids], replace(CONFIG, **changes))
    assert_close(adapted, plain, rtol=1e-5, atol=1e-6)


def test_no_target_is_scored_by_weights_that_have_seen_it(mingru: Network, ids: Tensor) -> None:
    """What comes later changes nothing that was scored before."""
    changed = ids.clone()
    changed[35:] = (changed[35:] + 1) % 40
    assert torch.equal(both(mingru, [ids])[1][:35], both(mingru, [changed])[1][:35])


def test_the_first_segment_is_scored_by_the_loaded_weights(mingru: Network, ids: Tensor) -> None:
    plain, adapted = both(mingru, [ids])
    assert_close(adapted[: CONFIG.segment_len], plain[: CONFIG.segment_len], rtol=1e-5, atol=1e-6)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 60), max_size=6))
def test_chunks_do_not_change_the_score(cuts: list[int], mingru: Network, ids: Tensor) -> None:
    chunks = torch.tensor_split(ids, sorted(cuts))  # some of them empty
    for parts, whole in zip(both(mingru, chunks), both(mingru, [ids]), strict=True):
        assert torch.equal(parts, whole)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_was(training: bool, mingru: Network, ids: Tensor) -> None:
    mingru.train(training)
    mingru.set_dropout(0.5)
    before = copy.deepcopy(mingru.state_dict())
    both(mingru, [ids])
    assert all(torch.equal(weight, before[name]) for name, weight in mingru.state_dict().items())
    assert all(weight.grad is None for weight in mingru.parameters())
    assert (mingru.training, mingru.dropout) == (training, 0.5)


def test_the_adapting_network_drops_nothing_out(mingru: Network, ids: Tensor) -> None:
    without = both(mingru, [ids])
    mingru.set_dropout(0.5)
    assert torch.equal(both(mingru, [ids])[1], without[1])


def test_a_text_that_repeats_itself_becomes_easier(mingru: Network) -> None:
    plain, adapted = both(mingru, [torch.tensor([3, 17, 8, 29, 11] * 100)])
    assert adapted[-100:].mean() < plain[-100:].mean() - 0.5


def test_text_is_read_no_further_than_needed(mingru: Network) -> None:
    read: list[int] = []
    chunks = (torch.tensor([read.append(i) or i]) for i in range(30))  # type: ignore[func-returns-value]
    next(score_dynamic(mingru, chunks, FIRST, CONFIG))
    assert len(read) == CONFIG.segment_len


def test_the_callers_gradients_are_left_alone(mingru: Network, ids: Tensor) -> None:
    with torch.no_grad():
        for _ in score_dynamic(mingru, [ids], FIRST, CONFIG):
            assert not torch.is_grad_enabled()
    for _ in score_dynamic(mingru, [ids], FIRST, CONFIG):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_nothing_to_score_is_no_score(mingru: Network) -> None:
    assert list(score_dynamic(mingru, [], FIRST, CONFIG)) == []
    assert list(score_dynamic(mingru, [torch.tensor([], dtype=torch.long)], FIRST, CONFIG)) == []


def test_weights_that_explode_are_an_error(mingru: Network, ids: Tensor) -> None:
    with pytest.raises(CharrnnError, match="learning rate below 1e"):
        both(mingru, [ids], DynamicConfig(lr=1e38, segment_len=7))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("segment_len", 0), ("segment_len", 2049), ("lr", -1e-3), ("lr", float("nan")), ("lr", float("inf"))],
        *[("decay", -0.1), ("decay", 1.1), ("decay", float("nan"))],
    ],
)
def test_bad_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{value}$"):
        DynamicConfig(**{name: value})  # type: ignore[arg-type]
