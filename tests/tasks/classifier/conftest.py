"""Labelled texts that are quickly learned, and tiny classifiers of them."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.model import Classifier
from charrnn.training.trainer import Progress, Report

TINY: dict[str, Any] = {
    **{
        "views": "both",
        "num_readers": 1,
        "char_width": 16,
        "char_layers": 1,
        "subword_width": 16,
        "subword_layers": 1,
        "subword_vocab_size": 300,
    },
    **{
        "batch_size": 16,
        "bptt_len": 64,
        "num_validations": 2,
        "steps": 10,
        "precision": "fp32",
        "device": "cpu",
        "pretraining": 0.25,
    },
}
WORDS = {
    "animal": ["cat", "dog", "naïve owl", "horse"],
    "food": ["bread", "soup", "日本 rice", "apple"],
    "tool": ["saw", "drill 😀", "hammer", "wrench"],
}
FRAMES = ["the {} is here", "my {}, and so on", "one {} was good", "a {}"]


def make_examples(number: int, seed: int = 0) -> list[Example]:
    draw = random.Random(seed)
    labels = [draw.choice(list(WORDS)) for _ in range(number)]
    return [
        Example(f"{draw.choice(FRAMES).format(draw.choice(WORDS[label]))} {draw.randrange(1000)}", (label,))
        for label in labels
    ]


def write_tsv(path: Path, examples: list[Example]) -> Path:
    rows = ["label\ttext", *(f"{example.labels[0]}\t{example.text}" for example in examples)]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


class Stop(Report):
    """Sends this process a Ctrl-C at some of the steps that are reported, counted over all parts of the run."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers
        self.count = 0
        self.notes: list[str] = []

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        self.count += 1
        if self.count in self.numbers:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def stop_at() -> Callable[..., Stop]:
    """`stop_at(2, 6)`: a report that stops a run at these steps, if any, and keeps its notes."""
    return Stop


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "train.tsv", make_examples(160))


@pytest.fixture
def some_examples() -> Callable[..., list[Example]]:
    """`some_examples(number, seed)`."""
    return make_examples


Train = Callable[..., Classifier]


@pytest.fixture
def train(tmp_path: Path, labelled: Path) -> Train:
    """`train("name", **settings)`: a tiny run on `labelled` in a directory of that name."""

    def run(name: str = "model", texts: Path | None = None, **settings: Any) -> Classifier:
        budget = {"steps": None} if {"minutes", "epochs"} & settings.keys() else {}
        return charrnn.train_classifier(texts or labelled, tmp_path / name, **{**TINY, **budget, **settings})

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny classifier; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_CACHE", str(folder / "cache"))
        train, test = write_tsv(folder / "a.tsv", make_examples(160)), write_tsv(folder / "b.tsv", make_examples(40, 1))
        charrnn.train_classifier(train, folder / "model", test=test, **TINY | {"steps": 30})
    return folder / "model"


@pytest.fixture(scope="session")
def classifier(trained: Path) -> Classifier:
    return charrnn.load(trained, device="cpu")
