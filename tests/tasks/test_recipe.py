"""What is chosen for a budget: all that was left open, nothing that was asked for, and nothing out of bounds."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.network.config import CELLS, SIZES, Cell, NetworkConfig, Size
from charrnn.tasks.language_model.recipe import choose, ngram_dropout, regularization
from charrnn.training.config import TrainingConfig

MINUTES = (None, 0.01, 0.3, 1.0, 3.0, 15.0, 600.0)


@pytest.mark.parametrize("minutes", MINUTES)
@pytest.mark.parametrize("size", [None, *SIZES])
@pytest.mark.parametrize("cell", CELLS)
def test_nothing_is_left_open_and_choosing_again_changes_nothing(
    cell: Cell, size: Size | None, minutes: float | None
) -> None:
    network, training = choose(NetworkConfig(cell=cell, size=size), TrainingConfig(minutes=minutes))
    assert None not in (network.hidden_size, network.num_layers, training.batch_size, training.bptt_len, training.lr)
    if size is not None:
        assert (network.width, network.depth) == SIZES[size]["mingru" if cell == "mingru" else "other"]
    assert choose(network, training) == (network, training)


@pytest.mark.parametrize("cell", CELLS)
def test_more_minutes_never_make_a_smaller_network(cell: Cell) -> None:
    shapes = []
    for minutes in MINUTES[1:]:
        network, _ = choose(NetworkConfig(cell=cell), TrainingConfig(minutes=minutes))
        shapes.append(network.width**2 * network.depth)
    assert all(smaller <= larger for smaller, larger in pairwise(shapes))
    assert len(set(shapes)) > 2


@pytest.mark.parametrize(
    "asked",
    [{"batch_size": 3}, {"bptt_len": 5}, {"lr": 0.123}, {"hidden_size": 40}, {"num_layers": 7}],
    ids=str,
)
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_asked_for_stands(cell: Cell, asked: dict[str, Any]) -> None:
    shape = {name: value for name, value in asked.items() if name in ("hidden_size", "num_layers")}
    rest = {name: value for name, value in asked.items() if name not in shape}
    chosen = choose(NetworkConfig(cell=cell, **shape), TrainingConfig(minutes=0.1, **rest))
    for name, value in asked.items():
        assert value in [getattr(config, name, None) for config in chosen]


@given(st.floats(1e-3, 1e6), st.floats(1e-6, 1e4), st.floats(1e-5, 0.1), st.floats(0.01, 1e6))
def test_regularization_grows_within_bounds(passes: float, parameters: float, lr: float, steps: float) -> None:
    dropout, weight_decay = regularization(passes, parameters, lr, steps)
    assert 0 <= dropout < 0.5
    assert 0 < weight_decay * lr <= 0.02, "a step must not forget much"
    more = regularization(2 * passes, parameters, lr, steps)
    assert more[0] >= dropout
    assert more[1] >= weight_decay
    if passes < 2:
        assert dropout == 0


@given(st.floats(1e-3, 1e6))
def test_the_more_passes_the_more_ngrams_are_hidden_and_never_all(passes: float) -> None:
    assert 0 <= ngram_dropout(passes) <= ngram_dropout(2 * passes) < 0.9
    assert (ngram_dropout(passes) > 0) == (passes > 1)
