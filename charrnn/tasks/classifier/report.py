"""What a classifier does right and wrong on labelled texts: figures, and a text for people.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charrnn.tasks.classifier.calibration import expected_calibration_error
from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.model import THRESHOLD

WIDEST_MATRIX = 20  # labels of a confusion matrix that is printed; of more, the pairs most often confused
SHOWN_MISTAKES = 10
SHOWN_PAIRS = 15
SHOWN_CHARS = 100  # of a text
TITLES = {"network": "network", "linear": "linear model", "ngrams": "n-grams of each class"}

Array = npt.NDArray[Any]


def evaluate(labels: Sequence[str], examples: Sequence[Example], found: Tensor, multi_label: bool) -> dict[str, Any]:
    """Figures of probabilities `found` (N, C) next to the labels that the examples have.

    accuracy: share of texts whose label, or whose very set of labels, was found. macro_f1: mean F1 over the labels
    that texts here have or are said to have. A label that training never saw can only be missed.
    """
    known = set(labels)
    given, answers = _indicators(labels, examples), _answers(found, multi_label)
    strange = np.array([not known.issuperset(example.labels) for example in examples], dtype=bool)
    right = (given == answers).all(1) & ~strange
    hits, said, there = (given & answers).sum(0), answers.sum(0), given.sum(0)
    table = [
        {"label": label, "precision": p, "recall": r, "f1": f, "texts": int(n)}
        for label, p, r, f, n in zip(
            labels, _ratio(hits, said), _ratio(hits, there), _ratio(2 * hits, said + there), there, strict=True
        )
    ]
    unseen = Counter(label for example in examples for label in example.labels if label not in known)
    scores = [row["f1"] for row, number in zip(table, said + there, strict=True) if number] + [0.0] * len(unseen)
    report: dict[str, Any] = {
        "texts": len(examples),
        "accuracy": float(right.mean()),
        "macro_f1": float(np.mean(scores or [0.0])),
    }
    if multi_label:
        report["micro_f1"] = float(_ratio(2 * hits.sum(), said.sum() + there.sum() + unseen.total()))
        confidence, correct = found.flatten(), torch.from_numpy(given.astype(float)).flatten()
    else:
        confidence, correct = found.max(1).values, torch.from_numpy(right)
    report["expected_calibration_error"] = expected_calibration_error(confidence, correct)
    report["per_label"] = table
    report["unseen_labels"] = dict(sorted(unseen.items()))  # and how many texts have them
    if not multi_label:
        said = (labels[i] for i in found.argmax(1).tolist())
        pairs = Counter((example.labels[0], label) for example, label in zip(examples, said, strict=True))
        report["confusion"] = [[*pair, count] for pair, count in sorted(pairs.items())]  # label given, label said
    report["mistakes"] = _mistakes(labels, examples, found, right, multi_label)
    return report


def render(report: Mapping[str, Any]) -> str:
    """The report for people. `report` maps the names of parts, "validation" and "test", to what `evaluate` gave,
    beside "seconds" and "alone", the accuracy of each model on validation without the other."""
    lines = []
    for part in ("validation", "test"):
        if part in report:
            lines += _render_part(part, report[part])
    alone = ", ".join(f"{TITLES[name]} {100 * value:.1f} %" for name, value in report["alone"].items())
    lines.append(f"on validation alone: {alone}")
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in report["seconds"].items())
    lines.append(f"time: {seconds}")
    return "\n".join(lines) + "\n"


def _render_part(part: str, figures: Mapping[str, Any]) -> list[str]:
    lines = [f"{part}: {figures['texts']:,} texts", ""]
    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1"}
    lines += [f"{title:18}{100 * figures[name]:6.2f} %" for name, title in names.items() if name in figures]
    lines += [f"{'calibration error':18}{100 * figures['expected_calibration_error']:6.2f} %", ""]
    table = figures["per_label"]
    width = max(len("label"), *(len(row["label"]) for row in table))
    lines.append(f"{'label':{width}}  precision  recall      F1   texts")
    for row in table:
        numbers = "".join(
            f"{100 * row[name]:{size}.1f}" for name, size in (("precision", 11), ("recall", 8), ("f1", 8))
        )
        lines.append(f"{row['label']:{width}}{numbers}{row['texts']:8,}")
    for label, number in figures["unseen_labels"].items():
        lines.append(f"{label}: not in training, so all {number:,} are mistakes")
    lines.append("")
    if "confusion" in figures:
        lines += _render_confusion([row["label"] for row in table], figures["confusion"])
    if figures["mistakes"]:
        lines.append("most confident mistakes:")
        for mistake in figures["mistakes"]:
            said, given = (", ".join(mistake[name]) or "nothing" for name in ("said", "given"))
            lines.append(f"  {mistake['probability']:.3f} {said}, not {given}: {mistake['text']}")
        lines.append("")
    return lines


def _render_confusion(labels: Sequence[str], confusion: Sequence[Sequence[Any]]) -> list[str]:
    if len(labels) > WIDEST_MATRIX:
        often = [(count, given, said) for given, said, count in confusion if given != said and count > 1]
        often = sorted(often, key=lambda pair: -pair[0])[:SHOWN_PAIRS]
        lines = [f"  {count:5,}  {given} taken for {said}" for count, given, said in often]
        return ["most often confused:", *lines, ""] if lines else []
    counts = {(given, said): f"{count:,}" for given, said, count in confusion}
    size = max(map(len, [*counts.values(), *(label[:8] for label in labels)])) + 2
    width = max(map(len, labels))
    lines = [
        "confusion (rows: given, columns: said)",
        " " * width + "".join(f"{label[:8]:>{size}}" for label in labels),
    ]
    for given in labels:
        lines.append(f"{given:{width}}" + "".join(f"{counts.get((given, said), '·'):>{size}}" for said in labels))
    return [*lines, ""]


def _indicators(labels: Sequence[str], examples: Sequence[Example]) -> Array:
    """Which labels each text has (N, C)."""
    index = {label: i for i, label in enumerate(labels)}
    given = np.zeros((len(examples), len(labels)), dtype=bool)
    for row, example in zip(given, examples, strict=True):
        row[[index[label] for label in example.labels if label in index]] = True
    return given


def _answers(found: Tensor, multi_label: bool) -> Array:
    """Which labels are said of each text (N, C)."""
    if multi_label:
        return (found >= THRESHOLD).numpy()
    return torch.zeros_like(found, dtype=torch.bool).scatter_(1, found.argmax(1, keepdim=True), True).numpy()


def _mistakes(
    labels: Sequence[str], examples: Sequence[Example], found: Tensor, right: Array, multi_label: bool
) -> list[dict[str, Any]]:
    """The mistakes that were made with the most confidence."""
    answers = _answers(found, multi_label)
    certainty = torch.maximum(found, 1 - found).prod(1) if multi_label else found.max(1).values
    wrong = np.flatnonzero(~right)
    order = wrong[np.argsort(-certainty.numpy()[wrong], kind="stable")][:SHOWN_MISTAKES]
    return [
        {
            "text": " ".join(examples[i].text.split())[:SHOWN_CHARS],
            "given": list(examples[i].labels),
            "said": [label for label, said in zip(labels, answers[i], strict=True) if said],
            "probability": certainty[i].item(),
        }
        for i in order
    ]


def _ratio(a: Any, b: Any) -> Any:
    """a / b, 0 where b is."""
    return np.where(b > 0, a / np.maximum(b, 1), 0.0).tolist()
