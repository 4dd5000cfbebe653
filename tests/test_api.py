"""The package's front: a few functions, two errors, nothing imported before it is needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.training.trainer import Progress, Report

TINY: dict[str, Any] = {
    **{"hidden_size": 16, "num_layers": 1, "batch_size": 4, "bptt_len": 16, "steps": 10, "num_validations": 2},
    **{"precision": "fp32", "device": "cpu"},
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("A short text, again and again. " * 60)
    return path


def test_train_load_and_resume_work_together(text: Path, tmp_path: Path) -> None:
    model = charrnn.train(text.as_posix(), tmp_path / "model", **TINY)
    for same in (
        charrnn.load(tmp_path / "model"),
        charrnn.load(str(tmp_path / "model")),
        charrnn.resume(tmp_path / "model"),
    ):
        assert same.generate("A", seed=1) == model.generate("A", seed=1)
        assert same.score("A short text") == model.score("A short text")


def test_settings_of_text_network_and_training_are_given_by_name(text: Path, tmp_path: Path) -> None:
    charrnn.train(
        [str(text), str(text)], tmp_path / "model", **TINY, cell="gru", vocab="byte", seed=5, val_fraction=0.25
    )
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    run = json.loads((tmp_path / "model" / "training" / "run.json").read_text())
    assert config["network"]["cell"] == "gru"
    assert config["vocab"]["kind"] == "byte"
    assert run["training"]["seed"] == 5
    assert config["training"]["train_chars"] == 3 * config["training"]["val_chars"] == 2 * 0.75 * len(text.read_text())


def test_a_report_is_told_how_it_goes(text: Path, tmp_path: Path) -> None:
    told: list[str] = []

    class Told(Report):
        def start(self, progress: Progress, units: Any) -> None:
            told.append(f"start {progress.total_steps} {units.loss}")

        def step(self, progress: Progress, loss: float, lr: float) -> None:
            told.append("step")

        def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
            told.append("validation")

        def sample(self, text: str, temperature: float) -> None:
            told.append("sample")

        def close(self) -> None:
            told.append("close")

    charrnn.train(str(text), tmp_path / "model", report=Told(), **TINY)
    told = [entry for entry, before in zip(told, ["", *told], strict=False) if entry != before]
    assert told == ["start 10 bits/char", "step", "validation", "sample", "step", "validation", "sample", "close"]


def test_training_is_silent(text: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    charrnn.train(str(text), tmp_path / "model", **TINY)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: charrnn.train(str(path / "text.txt"), path / "new", bach_size=3), "batch_size"),
        (lambda path: charrnn.train(str(path / "text.txt"), path / "new", batch_size="many"), "batch_size"),
        (lambda path: charrnn.train(str(path / "missing.txt"), path / "new"), "missing.txt"),
        (lambda path: charrnn.load(path / "nothing"), "nothing"),
        (lambda path: charrnn.resume(path), "no run"),
    ],
)
def test_a_call_that_cannot_work_is_a_usage_error(call: Any, words: str, text: Path, tmp_path: Path) -> None:
    with pytest.raises(charrnn.UsageError, match=words):
        call(tmp_path)
    assert issubclass(charrnn.UsageError, charrnn.CharrnnError)
    assert not (tmp_path / "new").exists()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="trian"):
        charrnn.trian  # type: ignore[attr-defined]  # noqa: B018


HELP = "import sys, charrnn.cli; sys.argv[1:] = {}; charrnn.cli.charrnn(standalone_mode=False)"


@pytest.mark.parametrize(
    "program",
    ["import charrnn", HELP.format(["--help"]), HELP.format(["train", "--help"])],
    ids=["import", "help", "train help"],
)
def test_what_needs_no_torch_does_not_wait_for_it(program: str) -> None:
    check = (
        "import sys; heavy = {'torch', 'numba', 'numpy', 'tokenizers'} & sys.modules.keys(); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", f"{program}; {check}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
