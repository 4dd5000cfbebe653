"""The command line called in this process: exit code, stdout and stderr."""

import io
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from charrnn.cli import main

TINY = ["hidden_size=16", "num_layers=1", "batch_size=4", "bptt_len=16", "num_validations=2"]
TINY += ["precision=fp32", "device=cpu"]
OPTIONS = [option for pair in TINY for option in ("--set", pair)]
WORDS = ["one", "two", "naïve", "the", "cat", "日本", "sat\n", "😀", "on", "a"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`cli("generate", model, …)`: what that command gives."""

    def run(*arguments: str | Path, stdin: str | bytes = b"") -> Result:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            capfd.readouterr()
            with pytest.raises(SystemExit) as caught:
                main()
        return Result(caught.value.code or 0, *capfd.readouterr())  # type: ignore[arg-type]

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    draw = random.Random(0)
    path.write_text(" ".join(draw.choice(WORDS) for _ in range(1200)), encoding="utf-8")
    return path


@pytest.fixture
def train(cli: Cli, text: Path) -> Cli:
    """`train(output, …)`: a tiny run of 20 steps on `text`."""

    def run(output: Path, *arguments: str | Path) -> Result:
        budget = [] if {"--minutes", "--epochs", "--steps", "--config"} & set(arguments) else ["--steps", "20"]
        return cli("train", text, "-o", output, *OPTIONS, *budget, *arguments)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model; tests change copies of it only (`model`)."""
    import charrnn

    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text("The naïve cat sat on the mat. 日本 😀\n" * 80, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_CACHE", str(folder / "cache"))
        settings = dict(pair.split("=") for pair in TINY) | {"steps": "60", "lr": "0.02"}
        charrnn.train(str(folder / "text.txt"), folder / "model", **settings)
    return folder / "model"


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "model")
