"""What a lexicon learns from pairs."""

import numpy as np
import pytest

from charrnn.tasks.seq2seq import lexicon as module
from charrnn.tasks.seq2seq.lexicon import Lexicon

END, SIZE = 0, 12  # ids from 1 on are words


def pairs_of(meanings: np.ndarray, number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sentences of random words, and their translations in another order."""
    draw = np.random.default_rng(3)
    sources = [draw.choice(np.arange(1, SIZE), 5, replace=False) for _ in range(number)]
    targets = [draw.permutation(meanings[source]) for source in sources]

    def between_ends(ids: np.ndarray) -> np.ndarray:
        return np.concatenate([[END], ids, [END]]).astype(np.uint16)

    return [between_ends(source) for source in sources], [between_ends(target) for target in targets]


def test_it_finds_what_each_word_means() -> None:
    meanings = np.concatenate([[END], np.random.default_rng(1).permutation(np.arange(1, SIZE))])
    lexicon = Lexicon.learn(*pairs_of(meanings, 300), SIZE, 3)
    assert lexicon.ids[1:, 0].tolist() == meanings[1:].tolist()
    assert (lexicon.probabilities[1:, 0] > 0.7).all()


def test_probabilities_are_ordered_and_those_of_all_entries_sum_to_one() -> None:
    sources, targets = pairs_of(np.arange(SIZE), 4)
    lexicon = Lexicon.learn(sources, targets, SIZE + 1, SIZE)
    assert (np.diff(lexicon.probabilities) <= 0).all()
    seen = np.unique(np.concatenate(sources))
    assert lexicon.probabilities[seen].sum(1) == pytest.approx(1)
    assert not lexicon.probabilities[SIZE].any()  # never seen


def test_the_likeliest_are_kept() -> None:
    sources, targets = pairs_of(np.arange(SIZE), 20)
    whole, short = (Lexicon.learn(sources, targets, SIZE, size) for size in (SIZE, 2))
    assert np.array_equal(whole.ids[:, :2], short.ids)
    assert np.array_equal(whole.probabilities[:, :2], short.probabilities)


def test_of_very_many_pairs_an_even_choice_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, targets = pairs_of(np.arange(SIZE), 40)
    half = Lexicon.learn(sources[::2], targets[::2], SIZE, 3)
    monkeypatch.setattr(module, "MOST_CELLS", 20 * len(sources[0]) * len(targets[0]))
    few = Lexicon.learn(sources, targets, SIZE, 3)
    assert np.array_equal(few.ids, half.ids)
    assert np.array_equal(few.probabilities, half.probabilities)
