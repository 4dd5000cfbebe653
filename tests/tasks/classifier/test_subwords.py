"""Where embeddings of subwords start: what stands among like neighbours is alike, however the text came."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import charrnn
from charrnn.checkpoint import load_tensors
from charrnn.tasks.classifier import words
from charrnn.tasks.classifier.inputs import make_vocabs
from charrnn.tasks.classifier.model import Classifier
from charrnn.tasks.classifier.network import ClassifierConfig, ClassifierNetwork
from charrnn.tasks.classifier.subwords import subword_vectors
from charrnn.text.vocab import Vocab

ANIMALS, TOOLS = ["cat", "dog", "owl"], ["saw", "drill", "hammer"]
TEXTS = [f"{frame} {noun}" for frame in ("my", "some") for noun in ANIMALS + TOOLS]


def make_lines(number: int = 300) -> list[str]:
    draw = random.Random(0)
    frames = [(ANIMALS, "the {} eats and sleeps"), (TOOLS, "use one {} on wood")]
    return [frame.format(draw.choice(nouns)) for nouns, frame in draw.choices(frames, k=number)]


def make_vocab(size: int = 400) -> Vocab:
    return make_vocabs(TEXTS, ["subword"], size, {}, make_lines())["subword"]


def test_the_vocabulary_holds_what_only_text_without_labels_has() -> None:
    assert (
        len(make_vocab().encode(" sleeps"))
        == 1
        < len(make_vocabs(TEXTS, ["subword"], 400, {})["subword"].encode(" sleeps"))
    )
    assert ClassifierConfig().suited(TEXTS).subword_vocab_size == 4000
    assert ClassifierConfig().suited(TEXTS, more_text=True).subword_vocab_size == 16_000
    assert ClassifierConfig(subword_vocab_size=300).suited(TEXTS, more_text=True).subword_vocab_size == 300


def test_entries_among_like_ones_are_alike() -> None:
    vocab = make_vocab()
    vectors = subword_vectors(vocab, iter(make_lines()), 8)
    assert vectors.shape == (vocab.seen_size, 8)
    assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))
    dog, cat, saw = (vectors[vocab.encode(f" {word}").item()] for word in ("dog", "cat", "saw"))
    assert dog @ cat > 0.8 > 0.5 > dog @ saw


def test_lines_are_counted_alike_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = subword_vectors(make_vocab(), make_lines(), 8)
    monkeypatch.setattr(words, "LINES_AT_ONCE", 7)
    assert torch.equal(subword_vectors(make_vocab(), make_lines(), 8), vectors)


def test_little_text_and_entries_that_it_lacks_are_enough() -> None:
    vocab = make_vocabs(["ab"], ["subword"], 300, {})["subword"]
    vectors = subword_vectors(vocab, ["ab", "xyz 日本"], 300)
    assert vectors.shape == (vocab.seen_size, 300)
    assert vectors.isfinite().all()


def test_readers_start_from_the_vectors_each_turned_another_way() -> None:
    torch.manual_seed(0)
    config = ClassifierConfig(num_readers=2, subword_width=8).suited(["two words"])
    network = ClassifierNetwork(config, {"char": (300, 9), "subword": (300, 20)}, 3)
    embeddings = [reader.views["subword"].forwards.embedding.weight for reader in network.readers]  # type: ignore[index,union-attr]
    vectors = F.normalize(torch.randn(20, 8), dim=1)
    last = [weight[20:].clone() for weight in embeddings]
    network.start_subwords(vectors)
    for weight, before in zip(embeddings, last, strict=True):
        assert_close(weight[:20] @ weight[:20].T, 8 * vectors @ vectors.T)
        assert torch.equal(weight[20:], before)
    assert (embeddings[0][:20] - embeddings[1][:20]).norm() > 1
    backwards = network.readers[0].views["subword"].backwards  # type: ignore[index,union-attr]
    assert backwards.embedding.weight is embeddings[0]


def test_a_run_starts_from_them_and_goes_on_without_them(
    train: Callable[..., Classifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: Callable[..., Any]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_lines()))
    started: list[torch.Tensor] = []
    start = ClassifierNetwork.start_subwords

    def look(network: ClassifierNetwork, vectors: torch.Tensor) -> None:
        start(network, vectors)
        started.append(network.state_dict()["readers.0.views.subword.forwards.embedding.weight"].clone())

    monkeypatch.setattr(ClassifierNetwork, "start_subwords", look)
    settings: dict[str, Any] = {"unlabelled": text, "pretraining": 0, "num_validations": 5}
    train("whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        train("parts", report=stop_at(1), **settings)
    text.unlink()
    charrnn.resume_classifier(tmp_path / "parts")
    assert len(started) == 2
    assert torch.equal(*started)
    whole, parts = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert not [name for name, tensor in whole.items() if not torch.equal(tensor, parts[name])]
    (end,) = (tensor for name, tensor in whole.items() if name.endswith("subword.forwards.embedding.weight"))
    assert F.cosine_similarity(end, started[0]).mean() > 0.8


def test_a_view_of_characters_and_a_language_model_keep_what_they_have(
    train: Callable[..., Classifier], labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(network: ClassifierNetwork, vectors: torch.Tensor) -> None:
        raise AssertionError

    monkeypatch.setattr(ClassifierNetwork, "start_subwords", never)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_lines()))
    tiny = {"hidden_size": 16, "num_layers": 1, "batch_size": 4, "bptt_len": 16, "steps": 3, "device": "cpu"}
    charrnn.train(str(labelled), tmp_path / "base", vocab="subword", precision="fp32", **tiny)
    train("characters", unlabelled=text, views="char")
    train("subwords", model=tmp_path / "base", unlabelled=text, steps=4)
