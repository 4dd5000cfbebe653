"""A run killed again and again ends with the same network, bit for bit, as one that was left in peace."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charrnn.checkpoint import load_tensors

KillAndResume = Callable[..., None]

pytestmark = pytest.mark.slow

PROGRAM = "import charrnn.cli.train_seq2seq as t, charrnn.cli as cli; cli.run(t.train_translator, 't')"
SETTINGS = {"hidden_size": 16, "encoder_layers": 2, "decoder_layers": 1, "num_heads": 2, "beam": 1}
SETTINGS |= {"batch_size": 16, "num_validations": 20, "patience": 20, "steps": 300}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "-q", *map(str, arguments)]


def test_kills_at_any_moment_leave_no_trace(tmp_path: Path, pairs: Path, kill_and_resume: KillAndResume) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    start = [pairs, *options, "--set=precision=fp32", "--device=cpu", "-o"]
    subprocess.run(command(*start, undisturbed), check=True, capture_output=True)
    kill_and_resume(command(*start, killed), command("-o", killed, "--resume"), killed, times=6, longest=0.5)
    theirs, ours = (load_tensors(each / "model.safetensors")[0] for each in (undisturbed, killed))
    assert theirs.keys() == ours.keys()
    assert [name for name, tensor in theirs.items() if not torch.equal(tensor, ours[name])] == []
    reports = [json.loads((each / "report.json").read_text()) for each in (undisturbed, killed)]
    assert reports[0]["validation"] == reports[1]["validation"]
