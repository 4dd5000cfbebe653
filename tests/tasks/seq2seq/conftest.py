"""Pairs that are quickly learned, and tiny networks for them."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.tasks.seq2seq.model import Seq2Seq

TINY: dict[str, Any] = {
    **{"hidden_size": 16, "encoder_layers": 2, "decoder_layers": 1, "num_heads": 2, "dropout": 0.0},
    **{"batch_size": 32, "num_validations": 2, "steps": 10, "precision": "fp32", "device": "cpu", "beam": 2},
}


def make_rows(number: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    words = ["".join(draw.choice("abcé") for _ in range(draw.randrange(1, 6))) for _ in range(number)]
    return [f"{word}\t{word.upper()}" for word in words]


def write_tsv(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["source\ttarget", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "train.tsv", make_rows(300))


Train = Callable[..., Seq2Seq]


@pytest.fixture
def train(tmp_path: Path, pairs: Path) -> Train:
    """`train("name", **settings)`: a tiny run on `pairs` in a directory of that name."""

    def run(name: str = "model", files: Any = None, **settings: Any) -> Seq2Seq:
        budget = {"steps": None} if {"minutes", "epochs"} & settings.keys() else {}
        return charrnn.train_seq2seq(files or pairs, tmp_path / name, **{**TINY, **budget, **settings})

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny network that writes words in capitals; not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_CACHE", str(folder / "cache"))
        train, test = write_tsv(folder / "a.tsv", make_rows(300)), write_tsv(folder / "b.tsv", make_rows(30, 1))
        charrnn.train_seq2seq(train, folder / "model", test=test, **TINY | {"steps": 60, "hidden_size": 32})
    return folder / "model"


@pytest.fixture(scope="session")
def model(trained: Path) -> Seq2Seq:
    return charrnn.load(trained, device="cpu")
