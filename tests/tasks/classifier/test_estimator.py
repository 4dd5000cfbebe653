"""`charrnn.TextClassifier` does what scikit-learn expects, also where there is no scikit-learn."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.errors import UsageError
from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.estimator import TextClassifier
from charrnn.training.trainer import Report

SETTINGS: dict[str, Any] = {
    **{"char_width": 12, "char_layers": 1, "num_readers": 1, "views": "char", "num_validations": 1},
    **{"precision": "fp32", "batch_size": 16},
}
SomeExamples = Callable[..., list[Example]]


@pytest.fixture
def texts_and_labels(some_examples: SomeExamples) -> tuple[list[str], list[str]]:
    examples = some_examples(120)
    return [example.text for example in examples], [example.labels[0] for example in examples]


def make(**parameters: Any) -> TextClassifier:
    return charrnn.TextClassifier(**{"steps": 3, "device": "cpu", "settings": SETTINGS, **parameters})


def test_fit_and_predict(texts_and_labels: tuple[list[str], list[str]]) -> None:
    texts, labels = texts_and_labels
    model = make().fit(texts, labels)
    assert model.classes_.tolist() == ["animal", "food", "tool"]
    found = model.predict_proba(texts)
    assert found.shape == (120, 3)
    assert found.sum(1) == pytest.approx(np.ones(120))
    assert (model.predict(texts) == model.classes_[found.argmax(1)]).all()
    assert model.score(texts, labels) > 0.9


def test_text_without_labels_is_read(texts_and_labels: tuple[list[str], list[str]], tmp_path: Path) -> None:
    class Notes(Report):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    (tmp_path / "text.txt").write_text("the cat and the dog eat\n" * 5)
    notes = Notes()
    make(unlabelled=str(tmp_path / "text.txt")).fit(*texts_and_labels, report=notes)
    assert any(note.startswith("what words mean: ") for note in notes.notes)


def test_classes_keep_their_type_and_order(texts_and_labels: tuple[list[str], list[str]]) -> None:
    texts, names = texts_and_labels
    numbers = np.array([{"animal": 10, "food": 9, "tool": -1}[name] for name in names])
    model = make().fit(np.array(texts, dtype=object), numbers)
    assert model.classes_.tolist() == [-1, 9, 10]
    assert model.predict(["my soup", "a hammer"]).tolist() == [9, -1]


def test_any_number_of_labels(texts_and_labels: tuple[list[str], list[str]]) -> None:
    texts, names = texts_and_labels
    given = np.array([[name != "tool", name == "food"] for name in names]).astype(int)
    model = make(steps=8).fit(texts, given)
    assert model.predict_proba(texts).shape == (120, 2)
    assert model.score(texts, given) > 0.8
    assert set(np.unique(model.predict(texts))) <= {0, 1}


def test_scikit_learn_clones_it_and_takes_it_into_a_pipeline(texts_and_labels: tuple[list[str], list[str]]) -> None:
    from sklearn.base import clone, is_classifier
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    texts, labels = texts_and_labels
    model = make(seed=5)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert is_classifier(model)
    shout = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = make_pipeline(shout, copy.set_params(seed=6)).fit(texts, labels)
    assert pipeline.predict_proba(texts).shape == (120, 3)
    assert cross_val_score(model, texts, labels, cv=2).mean() > 0.8


def test_it_needs_no_scikit_learn() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None; import charrnn; "
        "print(charrnn.TextClassifier(steps=3, seed=1).set_params(seed=2))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "TextClassifier(steps=3, seed=2)\n"


def test_wrong_calls_say_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="not fitted"):
        make().predict(["x"])
    with pytest.raises(UsageError, match="2 texts, but 1 labels"):
        make().fit(["x", "y"], ["a"])
    with pytest.raises(UsageError, match="not one text"):
        make().fit("x", ["a"])
    with pytest.raises(UsageError, match="at least two"):
        make().fit(["x", "y"], ["a", "a"])
    for matrix in ([["a"], ["b"]], [[0], [2]], [[[0]], [[1]]]):
        with pytest.raises(UsageError, match="zeros and ones"):
            make().fit(["x", "y"], matrix)
    with pytest.raises(UsageError, match="seed: an argument"):
        make(settings={"seed": 3}).fit(["x", "y"], ["a", "b"])
    with pytest.raises(UsageError, match="did you mean 'noise'"):
        make(settings={"noice": 1}).fit(["x", "y"], ["a", "b"])
    with pytest.raises(ValueError, match="did you mean 'minutes'"):
        make().set_params(minuets=3)
