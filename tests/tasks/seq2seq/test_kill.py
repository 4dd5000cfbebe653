"""A run killed again and again ends with the same network, bit for bit, as one that was left in peace."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from charrnn.checkpoint import load_tensors

pytestmark = pytest.mark.slow

PROGRAM = "import charrnn.cli.train_seq2seq as t, charrnn.cli as cli; cli.run(t.train_translator, 't')"
SETTINGS = {"hidden_size": 16, "encoder_layers": 2, "decoder_layers": 1, "num_heads": 2, "beam": 1}
SETTINGS |= {"batch_size": 16, "num_validations": 20, "patience": 20, "steps": 300}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "-q", *map(str, arguments)]


def test_kills_at_any_moment_leave_no_trace(tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    start = [pairs, *options, "--set=precision=fp32", "--device=cpu", "-o"]
    subprocess.run(command(*start, undisturbed), check=True, capture_output=True)
    moments = random.Random(0)
    kills = 0
    for _ in range(6):
        saved = any(killed.rglob("state.safetensors"))
        process = subprocess.Popen(
            command("-o", killed, "--resume") if saved else command(*start, killed), stdout=subprocess.DEVNULL
        )
        wait_for_work(process, killed)
        time.sleep(moments.uniform(0, 0.5))
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 3, "the run was over before it could be killed"
    subprocess.run(command("-o", killed, "--resume"), check=True, capture_output=True)
    theirs, ours = (load_tensors(each / "model.safetensors")[0] for each in (undisturbed, killed))
    assert theirs.keys() == ours.keys()
    assert [name for name, tensor in theirs.items() if not torch.equal(tensor, ours[name])] == []
    reports = [json.loads((each / "report.json").read_text()) for each in (undisturbed, killed)]
    assert reports[0]["validation"] == reports[1]["validation"]


def wait_for_work(process: subprocess.Popen[bytes], model: Path) -> None:
    """Until the process has measured something, or ended."""

    def latest() -> int:
        return max((path.stat().st_mtime_ns for path in model.rglob("metrics.jsonl")), default=0)

    before = latest()
    while process.poll() is None and latest() == before:
        time.sleep(0.005)
