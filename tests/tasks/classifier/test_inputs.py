"""What the network says of texts that were probably meant otherwise."""

import pytest
import torch
from torch.testing import assert_close

from charrnn.tasks.classifier import inputs
from charrnn.tasks.classifier.inputs import collate, encode, logits_of, make_vocabs
from charrnn.tasks.classifier.network import ClassifierConfig, ClassifierNetwork, ViewName, Views
from charrnn.tasks.classifier.spelling import Spelling
from charrnn.tasks.classifier.word_counts import WordCounts
from charrnn.text.vocab import Vocab

TEXTS = 30 * ["What does the bureau stand for?", "When was the Bureau founded?"]
SPELLING = Spelling(WordCounts.of(TEXTS))
WRONG, RIGHT = "Waht  does the BURAEU", "What  does the BUREAU"


def make(views: Views) -> tuple[ClassifierNetwork, dict[ViewName, Vocab]]:
    torch.manual_seed(0)
    config = ClassifierConfig(views, num_readers=2, char_width=8, subword_width=8).suited(TEXTS)
    vocabs = make_vocabs(TEXTS, config.view_names, 300, {})
    sizes = {name: (len(vocab), vocab.seen_size) for name, vocab in vocabs.items()}
    return ClassifierNetwork(config, sizes, 3).eval(), vocabs


def logits(texts: list[str], views: Views, spelling: Spelling | None) -> torch.Tensor:
    network, vocabs = make(views)
    return logits_of(network, texts, vocabs, "fp32", spelling)


def test_subwords_are_read_as_they_stand_and_as_they_were_meant() -> None:
    wrong, right = logits([WRONG, RIGHT], "subword", None)
    assert (wrong - right).abs().max() > 1e-3
    assert_close(
        logits([RIGHT, WRONG, RIGHT], "subword", SPELLING), torch.stack([right, (wrong + 2 * right) / 3, right])
    )


def test_characters_are_read_as_they_stand() -> None:
    texts = [WRONG, RIGHT]
    assert torch.equal(logits(texts, "char", SPELLING), logits(texts, "char", None))
    network, vocabs = make("both")
    characters, subwords = encode(texts, vocabs)
    first, second = (network(collate([characters[:1], each], [0], network.device)) for each in (subwords, subwords[1:]))
    whole = logits(texts, "both", SPELLING)
    assert_close(whole[:1], (first + 2 * second).detach() / 3)
    assert torch.equal(whole[1], logits(texts, "both", None)[1])


def test_long_texts_stay_as_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the buraeu", 3 * "waht does the buraeu ", "teh bureau"]
    plain, all_meant = (logits(texts, "subword", spelling) for spelling in (None, SPELLING))
    monkeypatch.setattr(inputs, "LONG_CHARS", 20)
    some_meant = logits(texts, "subword", SPELLING)
    assert_close(some_meant, torch.stack([all_meant[0], plain[1], all_meant[2]]))
    assert (all_meant[1] - plain[1]).abs().max() > 1e-3
