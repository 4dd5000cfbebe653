"""`charrnn train`: runs from the command line, and what they say and leave."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from charrnn.checkpoint import load_tensors
from charrnn.cli.progress import Terminal
from charrnn.tasks.language_model.objective import LanguageModelObjective
from charrnn.training.trainer import Progress

Cli = Callable[..., Any]


def test_train_generate_evaluate(train: Cli, cli: Cli, text: Path, tmp_path: Path) -> None:
    trained = train(tmp_path / "new")
    assert (trained.code, trained.out) == (0, "")
    for words in (
        "characters to train on",
        "step 20: validation",
        "bits/char",
        "temperature 0.5",
        f"generate {tmp_path / 'new'}",
    ):
        assert words in trained.err
    assert len(cli("generate", tmp_path / "new", "-n", "20").out) == 21
    figures = json.loads((tmp_path / "new" / "config.json").read_text())["training"]["validation"]
    content = text.read_text()
    (tmp_path / "val.txt").write_text(content[int(0.9 * len(content)) :])
    scored = cli("evaluate", tmp_path / "new", tmp_path / "val.txt", "--json")
    assert json.loads(scored.out)["nats_per_char"] == pytest.approx(figures["nats_per_char"])


def test_quiet_is_silent(train: Cli, tmp_path: Path) -> None:
    result = train(tmp_path / "new", "-q")
    assert (result.code, result.out, result.err) == (0, "", "")


def test_flags_set_pairs_and_a_toml_file_mean_the_same(train: Cli, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text('cell = "gru"\nsteps = 7\nvocab = "byte"\nseed = 3\nlr = 0.01\n')
    pairs = ["--set", "cell=gru", "--set", "steps=7", "--set", "vocab=byte", "--set", "seed=3"]
    calls = {
        "flags": ["--cell", "gru", "--steps", "7", "--vocab", "byte", "--seed", "3", "--set", "lr=0.01"],
        "pairs": ["--set", "lr=0.01", *pairs, "--steps", "7"],
        "toml": ["--config", config],
        "flags win": ["--config", config, "--steps", "7", "--cell", "gru"],
    }
    config.write_text(config.read_text())
    weights = []
    for name, arguments in calls.items():
        assert train(tmp_path / name, "-q", *arguments).code == 0
        weights.append(load_tensors(tmp_path / name / "model.safetensors")[0])
    for other in weights[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in weights[0].items())


def test_a_flag_is_stronger_than_a_pair_and_a_pair_than_the_file(train: Cli, tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("steps = 3\nseed = 1\nlr = 0.5\n")
    train(tmp_path / "new", "--config", config, "--set", "seed=2", "--set", "lr=0.25", "--seed", "4")
    training = json.loads((tmp_path / "new" / "training" / "run.json").read_text())["training"]
    assert (training["steps"], training["lr"], training["seed"]) == (3, 0.25, 4)


def test_text_can_come_from_standard_input(cli: Cli, train: Cli, text: Path, tmp_path: Path) -> None:
    train(tmp_path / "file")
    pairs = ["hidden_size=16", "num_layers=1", "batch_size=4", "bptt_len=16", "num_validations=2", "precision=fp32"]
    options = [option for pair in pairs for option in ("--set", pair)]
    result = cli(
        "train", "-", "-o", tmp_path / "stdin", "--steps", "20", "--device", "cpu", *options, stdin=text.read_bytes()
    )
    assert result.code == 0
    weights = [load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("file", "stdin")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_plot_draws_the_loss(train: Cli, tmp_path: Path) -> None:
    result = train(tmp_path / "new", "--plot")
    assert result.code == 0
    assert str(tmp_path / "new" / "loss.png") in result.err
    assert (tmp_path / "new" / "loss.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_ctrl_c_saves_and_says_how_to_go_on(
    train: Cli, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "undisturbed")
    step = Terminal.step

    def interrupted(self: Terminal, progress: Progress, loss: float, lr: float) -> None:
        step(self, progress, loss, lr)
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Terminal, "step", interrupted)
    result = train(tmp_path / "stopped")
    assert (result.code, result.out) == (130, "")
    assert f"charrnn train -o {tmp_path / 'stopped'} --resume" in result.err
    assert result.err.endswith("charrnn: interrupted\n")
    monkeypatch.setattr(Terminal, "step", step)
    resumed = cli("train", "-o", tmp_path / "stopped", "--resume")
    assert resumed.code == 0
    assert "resuming at step 10 of 20" in resumed.err
    weights = [load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("undisturbed", "stopped")]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())


def test_resuming_what_has_ended_says_so(train: Cli, cli: Cli, tmp_path: Path) -> None:
    train(tmp_path / "new")
    result = cli("train", "-o", tmp_path / "new", "--resume")
    assert result.code == 0
    assert "has ended at step 20 of 20" in result.err


def test_fine_tuning_reports_what_it_kept(train: Cli, trained: Path, tmp_path: Path) -> None:
    result = train(tmp_path / "new", "--init-from", trained)
    assert result.code == 0
    assert "entries kept from" in result.err


def test_an_exploding_loss_is_one_last_line(train: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_loss = LanguageModelObjective.next_loss
    monkeypatch.setattr(LanguageModelObjective, "next_loss", lambda self: next_loss(self) * torch.nan)
    result = train(tmp_path / "new")
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert last.startswith("charrnn: the loss is not a number at step 1: ")
    assert "--set lr=" in last
    assert "Traceback" not in result.err
