"""The models beside the network, as one: what they read, and what is saved of them."""

import numpy as np
import pytest
import torch

from charrnn.tasks.classifier.beside import Beside
from charrnn.tasks.classifier.class_ngrams import ClassNGrams
from charrnn.tasks.classifier.linear import LinearConfig, LinearModel, as_meant
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.word_counts import WordCounts

TEXTS = ["the quick brown horse", "the hammer is heavy"] * 20
BELONGS = np.tile(np.eye(2, dtype=bool), (20, 1))


@pytest.fixture(scope="module")
def beside() -> Beside:
    config, spelling = LinearConfig(), Spelling(WordCounts.of(TEXTS))
    linear = LinearModel.fit(*as_meant(TEXTS, spelling), BELONGS, config, spelling=spelling)
    return Beside(linear, ClassNGrams.fit(*as_meant(TEXTS, spelling), BELONGS, config.class_chars))


def test_both_models_read_unknown_words_as_known_ones(beside: Beside) -> None:
    for misspelled, meant in zip(beside.scores(["teh hamer"]), beside.scores(["the hammer"]), strict=True):
        assert torch.equal(misspelled, meant)
    plain = ClassNGrams.fit(*as_meant(TEXTS, None), BELONGS, 5)
    assert not torch.equal(*(plain.scores(*as_meant([text], None)) for text in ("teh hamer", "the hammer")))


def test_they_are_the_same_from_what_is_saved(beside: Beside) -> None:
    tensors = beside.tensors() | {"network.weight": torch.zeros(1)}
    again = Beside.from_tensors(LinearConfig(), tensors, 2)
    for own, expected in zip(again.scores([*TEXTS, "Ω"]), beside.scores([*TEXTS, "Ω"]), strict=True):
        assert torch.equal(own, expected)
    alone = Beside(beside.linear, None)
    assert len(Beside.from_tensors(LinearConfig(), alone.tensors(), 2).scores(TEXTS)) == 1
    with pytest.raises(ValueError, match="another number of labels"):
        Beside.from_tensors(LinearConfig(), tensors, 3)
