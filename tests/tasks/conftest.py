"""Small texts and tiny runs on them."""

import random
import subprocess
import time
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


Command = list[str]
KillAndResume = Callable[..., None]


@pytest.fixture
def kill_and_resume(monkeypatch: pytest.MonkeyPatch) -> KillAndResume:
    """`kill_and_resume(start, resumption, model)`: run commands to the end of a run, killing them at random moments."""
    # So small a network is quickest on one thread, above all where other work shares the processor.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")

    def run(start: Command, resumption: Command, model: Path, times: int = 6, longest: float = 0.8) -> None:
        moments = random.Random(0)
        kills = 0
        for _ in range(times):
            saved = any(model.rglob("state.safetensors"))
            process = subprocess.Popen(resumption if saved else start, stdout=subprocess.DEVNULL)
            wait_for_work(process, model)
            time.sleep(moments.uniform(0, longest))
            kills += process.poll() is None
            process.kill()
            process.wait()
        assert kills >= 3, "the run was over before it could be killed"
        subprocess.run(resumption, check=True, capture_output=True)

    return run


def wait_for_work(process: subprocess.Popen[bytes], model: Path) -> None:
    """Until the process has measured something, or ended."""

    def latest() -> int:
        return max((path.stat().st_mtime_ns for path in model.rglob("metrics.jsonl")), default=0)

    before = latest()
    while process.poll() is None and latest() == before:
        time.sleep(0.005)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
