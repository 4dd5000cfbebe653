"""N-gram models of classes: Bayes' rule, any text, saving."""

import math

import numpy as np
import pytest
import torch

from charrnn.tasks.classifier import class_ngrams as module
from charrnn.tasks.classifier.class_ngrams import ClassNGrams
from charrnn.tasks.classifier.tokens import code_points
from charrnn.text.ngram_model import END, START, NGramModel

SYLLABLES = (["ka", "no", "mi", "sa"], ["stra", "burg", "heim", "er"], ["ov", "ich", "sky", "en"])


def names(number: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Names of three kinds, one of them rarer, and their classes (N, 3)."""
    draw = np.random.default_rng(seed)
    classes = draw.choice(3, number, p=[0.5, 0.4, 0.1])
    return ["".join(draw.choice(SYLLABLES[c], 3)) for c in classes], np.eye(3, dtype=bool)[classes]


def fit(texts: list[str], belongs: np.ndarray, order: int = 4) -> ClassNGrams:
    return ClassNGrams.fit(*code_points(texts), belongs, order)


@pytest.fixture(scope="module")
def model() -> ClassNGrams:
    return fit(*names(300))


def test_kinds_of_names_are_told_apart(model: ClassNGrams) -> None:
    texts, belongs = names(200, seed=1)
    assert (model.scores(*code_points(texts)).argmax(1).numpy() == belongs.argmax(1)).mean() > 0.98


def test_scores_are_of_text_and_class_together() -> None:
    texts, belongs = names(40)
    model = fit(texts, belongs)
    others = ["kano", "straburg", "", "Ω", "a b"]
    points, starts = code_points(others)
    characters = sorted(set(code_points(texts)[0].tolist()))
    for c, of_class in enumerate(belongs.T):
        own = [code_points([text])[0] for text, is_own in zip(texts, of_class, strict=True) if is_own]
        ngrams = NGramModel.learn([2 + np.searchsorted(characters, each) for each in own], len(characters) + 3, 4)
        for i, score in enumerate(model.scores(points, starts)[:, c].tolist()):
            text = points[starts[i] : starts[i + 1]]
            known = [characters.index(p) if p in characters else len(characters) for p in text]
            row = [START, *(2 + place for place in known), END]
            expected = sum(ngrams.log_probability(row[:k], row[k]) for k in range(1, len(row)))
            assert score == pytest.approx(expected + math.log(of_class.mean()), rel=2e-3)  # half precision


def test_rare_classes_can_be_as_likely_as_others(model: ClassNGrams) -> None:
    texts, belongs = names(300)
    points = code_points(["kaburgsky", ""])
    balanced = ClassNGrams.fit(*code_points(texts), belongs, 4, balanced=True).scores(*points)
    prior = np.log(belongs.mean(0)) - math.log(1 / 3)
    assert (model.scores(*points) - balanced).numpy() == pytest.approx(np.stack([prior, prior]), abs=1e-4)


def test_each_text_is_scored_alone_and_any_text_can_be(model: ClassNGrams) -> None:
    texts = ["kano", "", "日本 😀", "burg " * 2000, "\ud800", "Straburg heim"]
    together = model.scores(*code_points(texts))
    assert together.isfinite().all()
    assert torch.equal(together, torch.cat([model.scores(*code_points([text])) for text in texts]))
    assert model.scores(*code_points([])).shape == (0, 3)


def test_it_is_the_same_from_what_is_saved(model: ClassNGrams) -> None:
    tensors = model.tensors()
    again = ClassNGrams.from_tensors(4, tensors)
    points = code_points([*names(50, seed=2)[0], "Ω"])
    assert torch.equal(again.scores(*points), model.scores(*points))
    for name, tensor in tensors.items():
        with pytest.raises((KeyError, ValueError)):
            ClassNGrams.from_tensors(4, {key: value for key, value in tensors.items() if key != name})
        if name != "characters":
            with pytest.raises(ValueError, match="do not fit"):
                ClassNGrams.from_tensors(4, tensors | {name: tensor[:-1]})


def test_a_class_without_texts_is_never_the_likeliest() -> None:
    texts, belongs = names(300)
    more = fit(texts, np.concatenate([belongs, np.zeros((300, 1), dtype=bool)], axis=1))
    assert (more.scores(*code_points(texts)).argmax(1) < 3).all()


def test_of_very_many_texts_an_even_choice_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, belongs = names(300)
    points, _ = code_points(texts)
    monkeypatch.setattr(module, "MOST_CHARS", len(points) - 1)
    half = fit(texts, belongs)
    assert 0 < len(half.tensors()["keys"]) < len(fit(texts[:150], belongs[:150]).tensors()["keys"]) * 1.5
    assert (half.scores(*code_points(texts)).argmax(1).numpy() == belongs.argmax(1)).mean() > 0.95
