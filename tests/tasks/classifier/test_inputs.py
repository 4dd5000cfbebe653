"""What the network says of texts that were probably meant otherwise."""

import pytest
import torch
from torch.testing import assert_close

from charrnn.tasks.classifier import inputs
from charrnn.tasks.classifier.inputs import logits_of, make_vocabs
from charrnn.tasks.classifier.network import ClassifierConfig, ClassifierNetwork, Views
from charrnn.tasks.classifier.spelling import Spelling

TEXTS = 30 * ["What does the bureau stand for?", "When was the Bureau founded?"]
SPELLING = Spelling.learn(TEXTS)
WRONG, RIGHT = "Waht  does the BURAEU", "What  does the BUREAU"


def logits(texts: list[str], views: Views, spelling: Spelling | None) -> torch.Tensor:
    torch.manual_seed(0)
    config = ClassifierConfig(views, num_readers=2, char_width=8, subword_width=8).suited(TEXTS)
    vocabs = make_vocabs(TEXTS, config.view_names, 300, {})
    sizes = {name: (len(vocab), vocab.seen_size) for name, vocab in vocabs.items()}
    network = ClassifierNetwork(config, sizes, 3).eval()
    return logits_of(network, texts, vocabs, "fp32", spelling)


def test_subwords_are_read_as_they_stand_and_as_they_were_meant() -> None:
    wrong, right = logits([WRONG, RIGHT], "subword", None)
    assert (wrong - right).abs().max() > 1e-3
    assert_close(logits([RIGHT, WRONG, RIGHT], "subword", SPELLING), torch.stack([right, (wrong + right) / 2, right]))


def test_characters_are_read_as_they_stand() -> None:
    """So what is read twice is not the mean of the two texts, whose characters differ too."""
    texts = [WRONG, RIGHT]
    assert torch.equal(logits(texts, "char", SPELLING), logits(texts, "char", None))
    both, plain = logits(texts, "both", SPELLING), logits(texts, "both", None)
    assert torch.equal(both[1], plain[1])
    assert (both[0] - plain[0]).abs().max() > 1e-3
    assert (both[0] - plain.mean(0)).abs().max() > 1e-4


def test_long_texts_stay_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the buraeu", 3 * "waht does the buraeu ", "teh bureau"]
    plain, all_meant = (logits(texts, "subword", spelling) for spelling in (None, SPELLING))
    monkeypatch.setattr(inputs, "LONG_CHARS", 20)
    some_meant = logits(texts, "subword", SPELLING)
    assert_close(some_meant, torch.stack([all_meant[0], plain[1], all_meant[2]]))
    assert (all_meant[1] - plain[1]).abs().max() > 1e-3
