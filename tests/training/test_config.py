"""The schedule of the learning rate, and settings that cannot work."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.training.config import TrainingConfig, lr_factor

steps = st.integers(1, 3000)
warmups = st.integers(0, 500)


@given(steps, warmups)
def test_the_learning_rate_rises_once_to_its_peak_and_falls_to_near_zero(total: int, warmup: int) -> None:
    factors = [lr_factor(step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    peak = factors.index(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] <= 2 / total


@given(steps, warmups)
def test_warm_up_takes_its_steps_but_no_more_than_a_tenth(total: int, warmup: int) -> None:
    rising = [lr_factor(step, total, warmup) for step in range(total)].index(1) + 1
    assert rising == max(min(warmup, total // 10), 1)


@given(st.integers(20, 3000), warmups)
def test_warm_up_and_decay_are_linear(total: int, warmup: int) -> None:
    factors = [lr_factor(step, total, warmup) for step in range(total)]
    peak = factors.index(1)
    rise, fall = factors[: peak + 1], factors[peak + 1 :]
    assert rise == pytest.approx([(i + 1) / len(rise) for i in range(len(rise))])
    assert all(math.isclose(a - b, fall[-1]) for a, b in pairwise(fall))


def test_a_part_of_a_budget_is_a_part_of_all_its_bounds() -> None:
    part = TrainingConfig(minutes=4.0, epochs=8.0).part(0.25)
    assert (part.minutes, part.epochs, part.steps) == (1.0, 2.0, None)
    assert TrainingConfig(epochs=8.0).part(0.5) == TrainingConfig(epochs=4.0)
    assert TrainingConfig(steps=7).part(0.01).steps == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"minutes": 1.0, "steps": 5}, "--minutes and --steps"),
        ({"steps": 5, "epochs": 1.0}, "--steps and --epochs"),
        ({"steps": 0}, "steps"),
        ({"minutes": -1.0}, "minutes"),
        ({"minutes": math.inf}, "minutes"),
        ({"epochs": math.nan}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"bptt_len": -4}, "bptt_len"),
        ({"lr": 0.0}, "lr"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"num_validations": 0}, "num_validations"),
        ({"patience": 0}, "patience"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"seed": -1}, "seed"),
        ({"beta2": 1.0}, "beta2"),
    ],
)
def test_settings_that_cannot_work_are_usage_errors(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TrainingConfig(**settings)


def test_validations_are_few_in_a_short_run_and_as_many_as_asked_in_any() -> None:
    counts = [TrainingConfig(minutes=minutes).validations for minutes in (0.01, 0.1, 0.5, 1, 3, 60)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == TrainingConfig(steps=10).validations
    assert TrainingConfig(minutes=0.01, num_validations=7).validations == 7
