"""Each filter against its definition, spelled out entry by entry."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from charrnn.errors import UsageError
from charrnn.generation import kernels
from charrnn.generation.compiled import kernel_filters
from charrnn.generation.sampling import SamplingConfig, draw, penalize_repetition, probabilities
from charrnn.generation.stepper import NO_ENTRY

# Few values, so that there are many ties.
rows = st.lists(st.integers(-6, 6), min_size=1, max_size=8).map(lambda values: [value / 2 for value in values])


def probs_of(logits: list[float], recent: list[int] | None = None, **settings: Any) -> list[float]:
    settings = {"temperature": 1.0, **settings}
    past = None if recent is None else np.array(recent, dtype=np.int64)
    config = SamplingConfig(**settings)
    probs = probabilities(np.array(logits, np.float32), config, past).tolist()
    assert compiled(logits, config, past) == pytest.approx(probs, abs=2e-6)
    return probs


def compiled(logits: list[float], config: SamplingConfig, recent: Any) -> list[float]:
    """The same by the compiled kernel."""
    probs = np.empty(len(logits), np.float32)
    allowed = np.ones(len(logits), bool)
    past = np.array([NO_ENTRY] if recent is None else [NO_ENTRY, *recent], np.int64)
    kernels.probabilities(np.array(logits, np.float32), past, np.array(kernel_filters(config)), allowed, probs)
    return (probs / probs.sum()).tolist()


def softmax(logits: list[float]) -> list[float]:
    total = sum(map(math.exp, logits))
    return [math.exp(logit) / total for logit in logits]


def kept_only(probs: list[float], kept: Callable[[int], bool]) -> list[float]:
    left = [p if kept(i) else 0.0 for i, p in enumerate(probs)]
    return [p / sum(left) for p in left]


@given(rows, st.floats(0.05, 5))
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    expected = softmax([(logit - max(logits)) / temperature for logit in logits])
    assert probs_of(logits, temperature=temperature) == pytest.approx(expected, abs=1e-5)


@given(rows)
def test_temperature_zero_takes_the_first_of_the_likeliest(logits: list[float]) -> None:
    expected = [float(i == logits.index(max(logits))) for i in range(len(logits))]
    assert probs_of(logits, temperature=0.0) == expected


@pytest.mark.parametrize("temperature", [1e-3, 1e-12, 1e-38, 1e-45, 1e-60, 5e-324])
def test_a_tiny_temperature_takes_the_likeliest(temperature: float) -> None:
    assert probs_of([1.0, 3.0, 2.0, -1e30], temperature=temperature) == [0, 1, 0, 0]
    assert probs_of([2.0, 2.0, 1.0], temperature=temperature) == [0.5, 0.5, 0]


@pytest.mark.parametrize("temperature", [1e3, 1e30, 1e300])
def test_a_huge_temperature_makes_all_alike_but_what_is_impossible(temperature: float) -> None:
    assert probs_of([1.0, 3.0, -math.inf], temperature=temperature) == pytest.approx([0.5, 0.5, 0], abs=1e-3)


@given(rows, st.integers(1, 10))
def test_top_k_keeps_the_k_likeliest_and_their_ties(logits: list[float], k: int) -> None:
    expected = kept_only(softmax(logits), lambda i: sum(other > logits[i] for other in logits) < k)
    assert probs_of(logits, top_k=k) == pytest.approx(expected, abs=1e-5)


@given(rows, st.floats(0, 1))
def test_top_p_keeps_the_fewest_likeliest_that_reach_p(logits: list[float], p: float) -> None:
    before, after = softmax(logits), probs_of(logits, top_p=p)
    kept = sorted((before[i] for i, q in enumerate(after) if q > 0), reverse=True)
    dropped = [before[i] for i, q in enumerate(after) if q == 0]
    assert min(kept) >= max(dropped, default=0.0)
    assert sum(kept) >= p - 1e-5
    assert len(kept) == 1 or sum(kept[:-1]) < p + 1e-5
    assert after == pytest.approx([q / sum(kept) if r > 0 else 0 for q, r in zip(before, after, strict=True)], abs=1e-5)


@given(rows)
def test_top_p_of_zero_keeps_one_and_of_one_keeps_all(logits: list[float]) -> None:
    assert sorted(probs_of(logits, top_p=0.0)) == [0.0] * (len(logits) - 1) + [1.0]
    assert probs_of(logits, top_p=1.0) == probs_of(logits)


@given(rows, st.floats(0, 1))
def test_min_p_keeps_what_is_near_enough_to_the_likeliest(logits: list[float], share: float) -> None:
    ratios = [math.exp(logit - max(logits)) for logit in logits]
    if any(math.isclose(ratio, share, abs_tol=1e-5) for ratio in ratios if ratio < 1):
        return  # either is right
    expected = kept_only(softmax(logits), lambda i: ratios[i] >= share)
    assert probs_of(logits, min_p=share) == pytest.approx(expected, abs=1e-5)


@given(rows, st.data())
def test_the_repetition_penalty_makes_recent_entries_less_likely(logits: list[float], data: st.DataObject) -> None:
    recent = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=6))
    penalized = [
        (logit / 1.5 if logit > 0 else logit * 1.5) if i in recent else logit for i, logit in enumerate(logits)
    ]
    assert probs_of(logits, recent, repetition_penalty=1.5) == pytest.approx(softmax(penalized), abs=1e-5)
    assert probs_of(logits, recent, repetition_penalty=1.0) == probs_of(logits)


def test_a_penalty_counts_once_however_often_an_entry_is_repeated() -> None:
    logits = np.array([2.0, -2.0, 1.0])
    once = penalize_repetition(logits, np.array([0, 1]), 2.0)
    assert_allclose(once, [1.0, -4.0, 1.0])
    assert_allclose(penalize_repetition(logits, np.array([0, 1, 0, 0, 1]), 2.0), once)
    assert probs_of([2.0, -2.0, 1.0], [0, 1, 0, 0, 1], repetition_penalty=2.0) == pytest.approx(softmax(list(once)))


def test_filters_work_in_the_order_that_is_documented() -> None:
    logits = [2.0, 1.5, 1.0, 0.5, 0.0, -1.0]
    penalized = [1.0, *logits[1:]]
    probs = softmax([logit / 0.5 for logit in penalized])  # order of likelihood: 1, 0 = 2, 3, 4, 5
    probs = kept_only(probs, lambda i: i in (0, 1, 2, 3))  # top_k=4
    assert sum(sorted(probs)[-2:]) < 0.83 < sum(sorted(probs)[-3:])
    probs = kept_only(probs, lambda i: i in (0, 1, 2))  # top_p=0.83
    expected = kept_only(probs, lambda i: i == 1)  # min_p=0.5
    settings = {"temperature": 0.5, "top_k": 4, "top_p": 0.83, "repetition_penalty": 2.0}
    assert probs_of(logits, [0], **settings) == pytest.approx(probs, abs=1e-5)
    assert probs_of(logits, [0], **settings, min_p=0.5) == pytest.approx(expected, abs=1e-5)


ANY_SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"top_k": 3},
    {"top_p": 0.7},
    {"min_p": 0.2},
    {"repetition_penalty": 1.3},
    {"temperature": 0.5, "top_k": 5, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1},
]


@pytest.mark.parametrize("settings", ANY_SETTINGS, ids=str)
def test_what_is_impossible_stays_impossible(settings: dict[str, Any]) -> None:
    logits = np.random.default_rng(0).standard_normal(12).astype(np.float32)
    logits[4:] = -np.inf
    before = logits.copy()
    probs = probs_of(logits.tolist(), [1, 7], **settings)
    assert not any(probs[4:])
    assert sum(probs) == pytest.approx(1)
    assert_allclose(logits, before, rtol=0, atol=0)


@pytest.mark.parametrize("settings", ANY_SETTINGS, ids=str)
def test_where_one_entry_is_left_it_is_certain(settings: dict[str, Any]) -> None:
    logits = [-math.inf, -math.inf, -3.0, -math.inf]
    assert probs_of(logits, [2], **settings) == [0, 0, 1, 0]


@given(rows, st.floats(0, 1, exclude_max=True))
def test_a_draw_is_where_the_running_sum_passes_the_random_number(logits: list[float], uniform: float) -> None:
    probs = np.array(softmax(logits), np.float32)
    probs[: len(probs) // 2] = 0
    entry = draw(probs, uniform)
    assert probs[entry] > 0
    assert probs[:entry].sum() <= uniform * probs.sum() + 1e-6
    assert probs[: entry + 1].sum() >= uniform * probs.sum() - 1e-6
    assert kernels.draw(probs, uniform) == entry


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53])
def test_a_draw_never_takes_what_has_no_chance(uniform: float) -> None:
    probs = np.array([0, 0, 1e-30, 0, 1, 0, 0], np.float32)
    for draw_ in (draw, kernels.draw):
        assert probs[draw_(probs, uniform)] > 0


@pytest.mark.parametrize("settings", ANY_SETTINGS, ids=str)
def test_draws_follow_the_filtered_distribution(settings: dict[str, Any]) -> None:
    """Chi-square, of the reference and of the compiled kernel."""
    random = np.random.default_rng(1)
    logits = (1.5 * random.standard_normal(30)).astype(np.float32)
    probs = np.array(probs_of(logits.tolist(), [3, 4, 5], **settings))
    total = 20_000
    for draw_ in (draw, kernels.draw):
        counts = np.bincount([draw_(probs.astype(np.float32), u) for u in random.random(total)], minlength=30)
        assert not counts[probs == 0].any()
        likely = total * probs >= 5
        statistic = ((counts - total * probs)[likely] ** 2 / (total * probs)[likely]).sum()
        freedom = max(likely.sum() - 1, 1)
        assert statistic < freedom + 6 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": -0.1},
        {"top_p": 1.1},
        {"top_p": math.nan},
        {"min_p": 2.0},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": math.inf},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_usage_errors(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(settings))):
        SamplingConfig(**settings)
