"""Figures of a report are those that their definitions give."""

import pytest
import torch
from sklearn.metrics import f1_score

from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.report import evaluate, render

LABELS = ("a", "b", "c")
GIVEN = ["a", "a", "a", "b", "b", "c", "new"]
SAID = ["a", "a", "b", "b", "b", "a", "a"]
EXAMPLES = [Example(f"text {i}", (label,)) for i, label in enumerate(GIVEN)]
FOUND = torch.tensor([[0.8 if label == said else 0.1 for label in LABELS] for said in SAID])


def test_figures_of_one_label_a_text() -> None:
    report = evaluate(LABELS, EXAMPLES, FOUND, multi_label=False)
    assert report["accuracy"] == pytest.approx(4 / 7)
    f1 = {"a": 4 / 7, "b": 4 / 5, "c": 0, "new": 0}
    assert report["macro_f1"] == pytest.approx(sum(f1.values()) / 4)
    assert {row["label"]: row["f1"] for row in report["per_label"]} == pytest.approx({n: f1[n] for n in LABELS})
    assert report["confusion"] == [["a", "a", 2], ["a", "b", 1], ["b", "b", 2], ["c", "a", 1], ["new", "a", 1]]
    assert report["unseen_labels"] == {"new": 1}
    assert report["expected_calibration_error"] == pytest.approx(0.8 - 4 / 7)
    assert {mistake["text"] for mistake in report["mistakes"]} == {"text 2", "text 5", "text 6"}


def test_figures_of_several_labels_a_text() -> None:
    examples = [Example("x", ("a", "b")), Example("y", ()), Example("z", ("c",))]
    found = torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.1, 0.3], [0.9, 0.4, 0.4]])
    report = evaluate(LABELS, examples, found, multi_label=True)
    assert report["accuracy"] == pytest.approx(2 / 3)
    assert report["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    (mistake,) = report["mistakes"]
    assert (mistake["said"], mistake["given"]) == (["a"], ["c"])


def test_labels_that_training_never_saw_are_missed() -> None:
    examples = [Example("x", ("a", "new")), Example("y", ("newer",))]
    report = evaluate(LABELS, examples, torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.1]]), multi_label=True)
    assert report["accuracy"] == 0
    assert report["micro_f1"] == pytest.approx(2 * 1 / (1 + 3))
    assert report["macro_f1"] == pytest.approx((1 + 0 + 0) / 3)
    assert "newer: not in training, so all 1 are mistakes" in whole(report)


@pytest.mark.parametrize("number", [1, 5, 40])
def test_macro_f1_is_that_of_the_standard_library_of_the_field(number: int) -> None:
    draw = torch.Generator().manual_seed(number)
    found = torch.rand(number, len(LABELS), generator=draw).softmax(1)
    given = [LABELS[i] for i in torch.randint(2, (number,), generator=draw)]  # "c" is never right
    said = [LABELS[i] for i in found.argmax(1)]
    report = evaluate(LABELS, [Example("x", (label,)) for label in given], found, multi_label=False)
    assert report["macro_f1"] == pytest.approx(f1_score(given, said, average="macro", zero_division=0))


def whole(part: dict[str, object]) -> str:
    return render({"test": part, "alone": {"network": 0.5, "linear": 0.25}, "seconds": {"training": 12.3}})


def test_the_report_for_people_has_all_of_it() -> None:
    text = whole(evaluate(LABELS, EXAMPLES, FOUND, multi_label=False))
    for words in ("test: 7 texts", "57.14 %", "precision", "confusion", "0.800 a, not new: text 6", "training 12 s"):
        assert words in text


def test_of_many_labels_the_pairs_most_often_confused_are_shown() -> None:
    labels = tuple(f"label {i}" for i in range(50))
    examples = [Example("x", (labels[i],)) for i in (3, 3, 7)]
    found = torch.eye(50)[[4, 4, 7]]
    text = whole(evaluate(labels, examples, found, multi_label=False))
    assert "2  label 3 taken for label 4" in text
    assert "confusion (rows" not in text
