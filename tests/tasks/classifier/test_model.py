"""A trained classifier: the same answers in every company, whatever the text, and after loading; and reasons."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import charrnn
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.classifier import inputs
from charrnn.tasks.classifier import model as model_module
from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.model import EXPLAINED_CHARS, Classifier

TEXTS = ["the cat is here", "", "my bread, and so on", "日本 \udc80\x00 😀", "x" * 3000, "a saw\nor two\t"]


def test_labels_are_learned(classifier: Classifier, some_examples: Callable[..., list[Example]]) -> None:
    examples = some_examples(60, seed=2)
    found = classifier.classify([example.text for example in examples])
    right = sum(each.label == example.labels[0] for each, example in zip(found, examples, strict=True))
    assert right > 50


def test_probabilities_add_up_and_are_ranked(classifier: Classifier) -> None:
    for each in classifier.classify(TEXTS, top=9):
        labels, values = zip(*each.ranking, strict=True)
        assert sorted(labels) == sorted(classifier.labels)
        assert sum(values) == pytest.approx(1, abs=1e-5)
        assert list(values) == sorted(values, reverse=True)
        assert (each.label, each.probability) == each.ranking[0]
    assert all(len(each.ranking) == 2 for each in classifier.classify(TEXTS, top=2))
    assert classifier.classify("one text")[0].ranking == classifier.classify(["one text"], top=1)[0].ranking
    assert classifier.classify([]) == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=30), min_size=1, max_size=6))
def test_a_text_gets_the_same_answer_in_every_company(classifier: Classifier, texts: list[str]) -> None:
    together = classifier.probabilities(texts)
    for text, row in zip(texts, together, strict=True):
        assert_close(classifier.probabilities([text])[0], row, rtol=1e-3, atol=1e-5)


def test_a_long_text_is_read_whole_in_windows(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "the cat sat on a mat " * 40
    whole = classifier.probabilities([text, "short"])
    monkeypatch.setattr(inputs, "WINDOW", 100)
    monkeypatch.setattr(inputs, "LONG_CHARS", 64)
    assert_close(classifier.probabilities([text, "short"]), whole, rtol=1e-3, atol=1e-5)


def test_lines_are_answered_in_order_a_company_at_a_time(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "LINES_AT_ONCE", 2)
    taken = []

    def lines() -> Iterator[str]:
        for text in TEXTS:
            taken.append(text)
            yield text

    answers = classifier.classify_lines(lines())
    labels = [next(answers).label]
    assert len(taken) == 2
    labels += [answer.label for answer in answers]
    assert labels == [classifier.classify(text)[0].label for text in TEXTS]


def test_saving_and_loading_change_nothing(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "again")
    again = charrnn.load(tmp_path / "again", device="cpu")
    assert torch.equal(again.probabilities(TEXTS), classifier.probabilities(TEXTS))
    assert again.config() == classifier.config()


def test_a_classifier_does_not_write_and_a_writer_does_not_classify(trained: Path) -> None:
    from charrnn.tasks.language_model.model import LanguageModel

    with pytest.raises(UsageError, match="holds a classifier, not a language model"):
        LanguageModel.load(trained)


def test_a_single_view_has_its_vocabulary_where_any_model_has_it(
    train: Callable[..., Classifier], tmp_path: Path
) -> None:
    for views in ("char", "subword"):
        made = train(views, views=views, steps=4)
        assert {path.name for path in (tmp_path / views).glob("tokenizer*")} == {"tokenizer.json"}
        again = charrnn.load(tmp_path / views, device="cpu")
        assert list(again.vocabs) == [views]
        assert torch.equal(again.probabilities(TEXTS), made.probabilities(TEXTS))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_subword.json"])
def test_a_damaged_file_is_named(name: str, trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    (copy / name).write_bytes((copy / name).read_bytes()[:-30])
    with pytest.raises(CharrnnError, match=name):
        charrnn.load(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ["a", "b"]}, "damaged"),
        ({"labels": [1, 2, 3]}, "labels"),
        ({"blend": {"network": "much"}}, "network"),
        ({"network": {"char_width": 99}}, "do not fit"),
        ({"network": {"views": None}}, "not all there"),
        ({"vocabs": {}}, "char"),
        ({"model_type": "oracle"}, "oracle"),
    ],
)
def test_a_configuration_that_does_not_fit_is_one_line(
    change: dict[str, object], words: str, trained: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(trained, tmp_path / "model")
    config = json.loads((copy / "config.json").read_text())
    for key, value in change.items():
        config[key] = config[key] | value if isinstance(value, dict) and value else value
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(CharrnnError, match=words) as error:
        charrnn.load(copy)
    assert "\n" not in str(error.value)


# Reasons


def test_what_decides_a_text_is_what_explains_it(classifier: Classifier) -> None:
    found = classifier.explain("one hammer was good")
    assert (found.label, found.text) == ("tool", "one hammer was good")
    assert found.probability == pytest.approx(classifier.classify(found.text)[0].probability, rel=1e-4)
    assert 4 <= int(found.weights.argmax()) < 10
    assert "".join(piece for piece, _ in found.pieces()) == found.text
    assert classifier.explain(found.text, "food").weights.argmin() == found.weights.argmax()


@pytest.mark.parametrize("text", ["", "a", "ab", "日本", "word " * 2000])
def test_any_text_is_explained(classifier: Classifier, text: str) -> None:
    found = classifier.explain(text)
    assert found.text == text.strip()[:EXPLAINED_CHARS]
    assert found.weights.shape == (len(found.text),)
    assert not (found.weights == 0).all() or not text


def test_a_long_text_is_explained_for_the_label_of_the_whole(classifier: Classifier) -> None:
    text = "my soup was good " * (EXPLAINED_CHARS // 17 + 1) + "a hammer and a saw " * 2000
    found, (said,) = classifier.explain(text), classifier.classify([text])
    assert (found.label, found.probability) == (said.label, pytest.approx(said.probability, rel=1e-4))
    assert classifier.explain(found.text).label == "food" != found.label


def test_an_unknown_label_is_not_explained(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="'tol'"):
        classifier.explain("text", "tol")
    with pytest.raises(UsageError, match="top"):
        classifier.classify("text", top=0)
