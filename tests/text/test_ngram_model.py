"""An n-gram model against its definition, with dictionaries, and the laws of probabilities."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest

from charrnn.text.ngram_model import END, LEAST_DISCOUNT, START, NGramModel

SIZE = 9  # ids from 2 on are entries; the last one never occurs


def sequences_of(number: int, seed: int = 0) -> list[np.ndarray]:
    """Rows in which an entry depends on the two before it, some of them empty."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(number):
        row = [2, 3]
        for _ in range(draw.integers(0, 9)):
            row.append(2 + (row[-1] * row[-2] + int(draw.random() < 0.3)) % (SIZE - 3))
        rows.append(np.array(row[2:], dtype=np.int64))
    return rows


def reference(sequences: Sequence[np.ndarray], order: int, history: Sequence[int], entry: int) -> float:
    """Probability of an entry, straight from the definition."""
    raw: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(order + 1)]
    for each in sequences:
        row = (START, *each.tolist(), END)
        for length in range(1, order + 1):
            raw[length].update(row[i : i + length] for i in range(len(row) - length + 1))
    counts = list(raw)
    for length in range(1, order):
        surroundings: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for gram in raw[length + 1]:
            surroundings[gram[1:]].add(gram[0])
        counts[length] = Counter({gram: len(surroundings[gram]) or count for gram, count in raw[length].items()})
    del counts[1][(START,)]
    p = 1 / (SIZE - 1)
    for length in range(1, order + 1):
        seen = [sum(count == times for count in counts[length].values()) + 1e-9 for times in range(1, 5)]
        share = seen[0] / (seen[0] + 2 * seen[1])
        discounts = [0.0] + [
            min(max(times - (times + 1) * share * seen[times] / seen[times - 1], LEAST_DISCOUNT), times)
            for times in (1, 2, 3)
        ]
        context = tuple(history[len(history) - length + 1 :])
        if len(context) < length - 1:
            break
        after = {gram[-1]: count for gram, count in counts[length].items() if gram[:-1] == context}
        if not after:
            break
        given = {each: discounts[min(count, 3)] for each, count in after.items()}
        total = sum(after.values())
        p = (after.get(entry, 0) - given.get(entry, 0.0)) / total + sum(given.values()) / total * p
    return p


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("number", [1, 3, 200])
def test_it_is_what_its_definition_says(order: int, number: int) -> None:
    sequences = sequences_of(number)
    model = NGramModel.learn(sequences, SIZE, order)
    draw = np.random.default_rng(1)
    histories = [[START], [START, 2], *([START, *each.tolist()] for each in sequences[:20])]
    histories += [draw.integers(2, SIZE, 5).tolist() for _ in range(20)]
    for history in histories:
        for entry in range(1, SIZE):
            expected = math.log(reference(sequences, order, history, entry))
            assert model.log_probability(history, entry) == pytest.approx(expected, abs=1e-5)


def test_probabilities_sum_to_one_after_anything() -> None:
    model = NGramModel.learn(sequences_of(300), SIZE, 5)
    for history in ([], [START], [START, 4, 5], [3, 3, 3, 3, 3, 3], [SIZE - 1]):
        total = sum(math.exp(model.log_probability(history, entry)) for entry in range(1, SIZE))
        assert total == pytest.approx(1, abs=1e-5)


def test_what_is_far_back_does_not_count() -> None:
    model = NGramModel.learn(sequences_of(300), SIZE, 3)
    for entry in range(1, SIZE):
        assert model.log_probability([2, 3, 4, 5], entry) == model.log_probability([START, 6, 4, 5], entry)


def test_longer_histories_tell_more_of_texts_with_a_long_rule() -> None:
    train, other = sequences_of(2000), sequences_of(200, seed=1)

    def nats(model: NGramModel) -> float:
        rows = [[START, *each.tolist(), END] for each in other]
        return -sum(model.log_probability(row[:i], row[i]) for row in rows for i in range(1, len(row)))

    found = [nats(NGramModel.learn(train, SIZE, order)) for order in (1, 2, 3)]
    assert found[0] > 1.1 * found[1] > 1.2 * found[2]


def test_whole_sequences_are_as_likely_as_their_entries() -> None:
    model = NGramModel.learn(sequences_of(300), SIZE, 4)
    rows = [[START, *each.tolist(), END] for each in [*sequences_of(50, seed=1), np.array([SIZE - 1] * 9)]]
    found = model.log_likelihoods(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
    expected = [sum(model.log_probability(row[:i], row[i]) for i in range(1, len(row))) for row in rows]
    assert found == pytest.approx(expected)
