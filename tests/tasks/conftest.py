"""Small texts and tiny runs on them."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.training.trainer import Progress, Report

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_layers": 1,
    "batch_size": 4,
    "bptt_len": 16,
    "num_validations": 2,
    "steps": 20,
    "precision": "fp32",
    "device": "cpu",
}
WORDS = ["the", "cat", "dog", "sat", "on", "a", "mat", "and", "naïve", "café", "ran", "“so”", "日本", "😀"]

Train = Callable[..., LanguageModel]


class Recorder(Report):
    """Keeps notes and the steps at which something was reported."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.validations: list[int] = []
        self.samples: list[str] = []

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        self.steps.append(progress.step)

    def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
        self.validations.append(progress.step)

    def sample(self, text: str, temperature: float) -> None:
        self.samples.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)


def random_words(num_words: int, seed: int = 0, words: list[str] = WORDS) -> str:
    draw = random.Random(seed)
    return "".join(draw.choice(words) + draw.choice([" ", " ", " ", ".\n"]) for _ in range(num_words))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(random_words(1500), encoding="utf-8")
    return path


@pytest.fixture
def train(tmp_path: Path, text: Path) -> Train:
    """`train("name", **settings)`: a tiny run on `text` in a directory of that name."""

    def run(name: str = "model", *, files: Any = None, **settings: Any) -> LanguageModel:
        budget = {"steps": None} if {"minutes", "epochs"} & settings.keys() else {}
        return charrnn.train(str(text) if files is None else files, tmp_path / name, **{**TINY, **budget, **settings})

    return run


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
