"""A run killed again and again ends with the same classifier, bit for bit, as one that was left in peace."""

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

PROGRAM = "import charrnn.cli.finetune_classifier as f, charrnn.cli as cli; cli.run(f.finetune_classifier, 'f')"
SETTINGS = {
    "num_readers": 2,
    "char_width": 16,
    "char_layers": 1,
    "subword_width": 16,
    "subword_layers": 1,
    "subword_vocab_size": 300,
}
SETTINGS |= {"batch_size": 16, "num_validations": 20, "patience": 20, "steps": 400, "pretraining": 0.4}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM, "-q", *map(str, arguments)]


def test_kills_at_any_moment_leave_no_trace(tmp_path: Path, labelled: Path, kill_and_resume: KillAndResume) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    start = [labelled, *options, "--set=precision=fp32", "--device=cpu", "-o"]
    subprocess.run(command(*start, undisturbed), check=True, capture_output=True)
    kill_and_resume(command(*start, killed), command("-o", killed, "--resume"), killed, times=8, longest=0.8)
    theirs, ours = (load_tensors(each / "model.safetensors")[0] for each in (undisturbed, killed))
    assert theirs.keys() == ours.keys()
    assert [name for name, tensor in theirs.items() if not torch.equal(tensor, ours[name])] == []
    reports = [json.loads((each / "report.json").read_text()) for each in (undisturbed, killed)]
    assert reports[0]["validation"] == reports[1]["validation"]
