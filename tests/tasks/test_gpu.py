"""Training, resuming, scoring and writing on a GPU, and the setting `compile`."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import charrnn
from charrnn.errors import UsageError
from charrnn.network.device import choose_device
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.training.trainer import Progress, Report

Train = Callable[..., LanguageModel]


class Stop(Report):
    """Sends this process a Ctrl-C at step 10."""

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)


def losses(directory: Path) -> list[float]:
    lines = [json.loads(line) for line in (directory / "training" / "metrics.jsonl").read_text().splitlines()]
    return [line["train_loss"] for line in lines if "train_loss" in line]


def test_compile_on_a_cpu_is_refused_before_anything_is_written(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for a GPU"):
        train(compile=True)
    assert not (tmp_path / "model").exists()


@pytest.mark.gpu
def test_a_run_on_a_gpu_can_start_from_another_model(train: Train, tmp_path: Path) -> None:
    train("base", steps=5)
    model = train("tuned", steps=5, device="auto", init_from=tmp_path / "base")
    assert model.network.head.weight.device.type == choose_device("auto").type


@pytest.mark.gpu
@pytest.mark.parametrize("settings", [{}, {"cell": "lstm"}, {"compile": True}], ids=["mingru", "lstm", "compiled"])
def test_a_run_on_a_gpu_goes_on_after_a_stop_and_its_model_works_anywhere(
    settings: dict[str, object], train: Train, tmp_path: Path, text: Path
) -> None:
    settings = {"device": "auto", "precision": "auto", "dropout": 0.2, "steps": 40, "lr": 0.01} | settings
    train("undisturbed", **settings)
    with pytest.raises(KeyboardInterrupt):
        train("stopped", **settings, report=Stop())
    model = charrnn.resume(tmp_path / "stopped")
    assert model.network.head.weight.device.type == choose_device("auto").type != "cpu"

    # A GPU adds up in another order each time; the dropout masks, place and carried state are the same.
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "undisturbed"), rel=0.02)
    assert losses(tmp_path / "stopped")[-1] < 0.9 * losses(tmp_path / "stopped")[0]

    sample = text.read_text()[:300]
    on_cpu = charrnn.load(tmp_path / "stopped", device="cpu")
    assert model.score(sample).nats == pytest.approx(on_cpu.score(sample).nats, rel=0.01)
    drawn = [model.generate("the cat", num_samples=2, max_chars=50, seed=seed) for seed in (1, 1, 2)]
    assert [len(each.text) for each in drawn[0]] == [50, 50]
    assert drawn[0] == drawn[1] != drawn[2]
