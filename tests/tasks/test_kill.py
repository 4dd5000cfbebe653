"""A process killed again and again ends with the same model, bit for bit, as one that was left in peace."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charrnn.checkpoint import load_tensors

KillAndResume = Callable[..., None]

pytestmark = pytest.mark.slow

SETTINGS = {"hidden_size": 24, "num_layers": 1, "batch_size": 4, "bptt_len": 16, "precision": "fp32"}


def command(*arguments: str | Path, **settings: object) -> list[str]:
    pairs = [f"--set={name}={value}" for name, value in (SETTINGS | settings).items()]
    return [sys.executable, "-m", "charrnn", "train", "-q", *map(str, arguments), *pairs]


def resumption(model: Path) -> list[str]:
    return [sys.executable, "-m", "charrnn", "train", "-q", "-o", str(model), "--resume"]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small a network is quickest on one thread, above all where other work shares the processor."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")


def assert_same_tensors(ours: Path, theirs: Path) -> None:
    a, b = load_tensors(ours)[0], load_tensors(theirs)[0]
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize(
    ("cell", "dropout", "validations"), [("mingru", 0.3, 60), ("lstm", 0.0, 5)], ids=["mingru", "lstm"]
)
def test_kills_at_any_moment_leave_no_trace(
    cell: str, dropout: float, validations: int, tmp_path: Path, text: Path, kill_and_resume: KillAndResume
) -> None:
    settings = {"cell": cell, "dropout": dropout, "num_validations": validations, "patience": validations}
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    start = [text, "--steps", "3000"]
    assert run(command(*start, "-o", undisturbed, **settings)).returncode == 0

    kill_and_resume(command(*start, "-o", killed, **settings), resumption(killed), killed, times=5)

    for name in ("model.safetensors", "training/state.safetensors"):
        assert_same_tensors(killed / name, undisturbed / name)


def test_a_run_killed_before_it_saved_anything_can_be_started_anew(tmp_path: Path, text: Path) -> None:
    model = tmp_path / "model"
    # A budget in minutes is measured for two seconds before the first state is saved.
    process = subprocess.Popen(command(text, "-o", model, "--minutes", "1"), stderr=subprocess.DEVNULL)
    while not (model / "config.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (model / "training" / "state.safetensors").exists()

    refused = run(resumption(model))
    assert refused.returncode == 2
    assert "no run to resume" in refused.stderr
    assert run(command(text, "-o", model, "--steps", "5")).returncode == 0
    assert (model / "model.safetensors").exists()
