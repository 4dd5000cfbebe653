"""Truncated backpropagation through time: state goes on from window to window, gradients do not."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from charrnn.network.config import Cell, NetworkConfig
from charrnn.network.evaluation import score_stream
from charrnn.network.model import Network
from charrnn.tasks.language_model.objective import LanguageModelObjective

LANES = 3
MakeObjective = Callable[..., LanguageModelObjective]


@pytest.fixture(params=["mingru", "lstm"])
def make_objective(request: pytest.FixtureRequest) -> MakeObjective:
    cell: Cell = request.param

    def make(bptt_len: int, num_ids: int = 240, num_val_ids: int = 70) -> LanguageModelObjective:
        torch.manual_seed(0)
        network = Network(NetworkConfig(cell=cell, hidden_size=16, num_layers=2), 20, 12)
        ids = np.random.default_rng(0).integers(0, 12, num_ids).astype(np.uint8)
        val_ids = np.random.default_rng(1).integers(0, 13, num_val_ids).astype(np.uint8)
        return LanguageModelObjective(
            network,
            ids,
            val_ids,
            batch_size=LANES,
            bptt_len=bptt_len,
            precision="fp32",
            chars_per_token=(2.0, 2.5),
        )

    return make


@pytest.mark.parametrize("bptt_len", [1, 5, 20])
def test_windows_with_carried_state_are_one_long_window(bptt_len: int, make_objective: MakeObjective) -> None:
    whole, parts = make_objective(40), make_objective(bptt_len)
    losses = torch.stack([parts.next_loss() for _ in range(40 // bptt_len)])
    assert_close(losses.mean(), whole.next_loss(), rtol=1e-4, atol=1e-5)


def test_lanes_go_round_the_whole_text(make_objective: MakeObjective) -> None:
    objective = make_objective(20, num_ids=240)
    first = objective.next_loss()
    for _ in range(11):
        objective.next_loss()
    objective.state = objective.model.initial_state(LANES)
    assert_close(objective.next_loss(), first)  # after as many windows as the text has, it begins again
    assert objective.epoch_steps == 240 / (20 * LANES)


def test_gradients_stop_at_the_window(make_objective: MakeObjective) -> None:
    objective = make_objective(10)
    objective.next_loss()
    assert not any(tensor.requires_grad for layer in objective.state for tensor in layer)
    objective.next_loss().backward()
    objective.next_loss().backward()


def test_a_position_brings_the_same_losses_back(make_objective: MakeObjective) -> None:
    objective = make_objective(10)
    objective.next_loss()
    position = {name: tensor.clone() for name, tensor in objective.position().items()}
    losses = [objective.next_loss().item() for _ in range(3)]
    objective.restore(position)
    assert [objective.next_loss().item() for _ in range(3)] == losses


def test_validation_is_the_mean_over_the_validation_text(make_objective: MakeObjective) -> None:
    objective = make_objective(10, num_val_ids=70)
    assert objective.validate() == objective.validate()
    first, rest = int(objective.val_ids[0, 0]), objective.val_ids[1:, 0]
    assert len(rest) == 69
    nats = torch.cat(list(score_stream(objective.model.eval(), [rest], first)))
    assert objective.validate() == pytest.approx(nats.mean().item(), rel=1e-4)


def test_validation_turns_dropout_off_and_on_again(make_objective: MakeObjective) -> None:
    objective = make_objective(10)
    objective.model.set_dropout(0.5)
    objective.model.train()
    assert objective.validate() == objective.validate()
    assert objective.model.training


def test_a_long_validation_text_is_read_in_places_spread_over_all_of_it(make_objective: MakeObjective) -> None:
    objective = make_objective(10, num_val_ids=200_000)
    rows, lanes = objective.val_ids.shape
    assert rows * lanes <= 1 << 16
    ids = np.random.default_rng(1).integers(0, 13, 200_000)
    for lane in range(lanes):
        start = lane * 200_000 // lanes
        assert objective.val_ids[:, lane].tolist() == ids[start : start + rows].tolist()


def test_losses_are_shown_in_bits_per_character(make_objective: MakeObjective) -> None:
    units = make_objective(10).units
    assert units.train_factor * 2 * np.log(2) == pytest.approx(1)
    assert units.val_factor * 2.5 * np.log(2) == pytest.approx(1)
    assert units.per_step == 10 * LANES * 2
