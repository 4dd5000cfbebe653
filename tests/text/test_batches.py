"""Batches hold every text once, of like length, within their budget; a position brings them back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.text.batches import ShuffledBatches, by_length, pad

LENGTHS = st.lists(st.integers(0, 60), max_size=50)


@given(LENGTHS, st.integers(1, 200))
def test_by_length_gives_every_text_once_within_the_budget(lengths: list[int], max_tokens: int) -> None:
    batches = list(by_length(lengths, max_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_tokens
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=6))
def test_padding_is_undone_by_the_lengths(sequences: list[list[int]]) -> None:
    ids, lengths = pad([np.array(sequence, dtype=np.uint8) for sequence in sequences])
    assert ids.shape == (max(map(len, sequences), default=0), len(sequences))
    assert [ids[:length, lane].tolist() for lane, length in enumerate(lengths)] == sequences
    assert ids.sum() == sum(map(sum, sequences))


def one_pass(batches: ShuffledBatches) -> list[list[int]]:
    return [batches.next_batch().tolist() for _ in range(len(batches))]


@pytest.mark.parametrize(("batch_size", "max_tokens"), [(8, 10_000), (8, 100), (1, 1), (1000, 10_000)])
def test_a_pass_has_every_text_once_within_both_budgets(batch_size: int, max_tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(0, 40, 500)
    batches = ShuffledBatches(lambda draw: lengths, batch_size, max_tokens, seed=0)
    first, second = one_pass(batches), one_pass(batches)
    for made in (first, second):
        assert sorted(i for batch in made for i in batch) == list(range(500))
        assert all(len(batch) <= batch_size for batch in made)
        assert all(len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens for batch in made)
    assert first != second


def test_little_is_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 5000)
    made = one_pass(ShuffledBatches(lambda draw: lengths, 32, 10_000, seed=0))
    padded = sum(len(batch) * lengths[batch].max() for batch in made)
    assert padded < 1.1 * lengths.sum()


@pytest.mark.parametrize("steps", [0, 3, 17, 40])
def test_a_position_brings_the_same_batches_back(steps: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 30, 100)
    batches, other = (ShuffledBatches(lambda draw: lengths, 8, 1000, seed=3) for _ in range(2))
    for _ in range(steps):
        batches.next_batch()
    other.position = batches.position
    for _ in range(30):
        assert other.next_batch().tolist() == batches.next_batch().tolist()
