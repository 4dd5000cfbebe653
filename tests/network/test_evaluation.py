"""Scoring with carried state: no chunking may change the figure."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from charrnn.network import evaluation
from charrnn.network.evaluation import mean_nats, score_stream
from charrnn.network.model import Network

FIRST = 5


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, 40, (60,), generator=torch.Generator().manual_seed(3))


def one_step_at_a_time(network: Network, ids: Tensor, first: int) -> Tensor:
    state, previous, nats = network.initial_state(1), first, []
    with torch.no_grad():
        for target in ids.tolist():
            logits, state = network(torch.tensor([[previous]]), state)
            nats.append(network.nats(logits, torch.tensor([[target]]))[0, 0])
            previous = target
    return torch.stack(nats)


def test_each_target_is_scored_after_all_before_it(network: Network, ids: Tensor) -> None:
    scored = torch.cat(list(score_stream(network, [ids], FIRST)))
    assert_close(scored, one_step_at_a_time(network, ids, FIRST), rtol=1e-4, atol=1e-5)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 60), max_size=6), window=st.sampled_from([1, 7, 2048]))
def test_chunks_do_not_change_the_score(
    cuts: list[int], window: int, network: Network, ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = torch.cat(list(score_stream(network, [ids], FIRST)))
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "WINDOW", window)
        chunks = torch.tensor_split(ids, sorted(cuts))  # some of them empty
        parts = torch.cat(list(score_stream(network, chunks, FIRST)))
    assert_close(parts, whole, rtol=1e-4, atol=1e-5)


def test_nothing_to_score_is_no_score(network: Network) -> None:
    assert list(score_stream(network, [], FIRST)) == []
    assert list(score_stream(network, [torch.tensor([], dtype=torch.long)], FIRST)) == []


@pytest.mark.parametrize("window", [1, 7, 64])
def test_the_mean_over_lanes_is_that_of_each_lane_read_alone(network: Network, ids: Tensor, window: int) -> None:
    lanes = ids.view(20, 3)
    alone = [one_step_at_a_time(network, lanes[1:, lane], int(lanes[0, lane])) for lane in range(3)]
    assert mean_nats(network, lanes, window) == pytest.approx(torch.cat(alone).mean().item(), rel=1e-4)
