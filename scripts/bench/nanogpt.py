"""Trains with nanoGPT, in a copy of the user's checkout of it, for `time_to_loss.py` to compare with."""

import importlib.util
import os
import pickle
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# From nanoGPT's README: "I only have a macbook".
CPU_RECIPE = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 --log_interval=1 --block_size=64 "
    "--batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 --max_iters=2000 --lr_decay_iters=2000 --dropout=0.0"
)


@dataclass(frozen=True)
class Run:
    """A finished run. Its kept weights are those of the best of its own evaluations, as its recipe has it."""

    train_seconds: float  # of the iterations up to the kept weights, evaluations left out
    wall_seconds: float  # of the process, from its start to the saving of the kept weights
    steps: int
    curve: list[tuple[float, float]]  # seconds as `train_seconds`, its own validation loss in nats a character
    parameters: int
    context: int
    nats: Callable[[Tensor, Tensor], Tensor]  # inputs (B, T), targets (B, T) → nats of each (B, T)


class Data:
    """A text as nanoGPT's `data/shakespeare_char/prepare.py` makes it: the ids of all its characters in order."""

    def __init__(self, train: str, val: str) -> None:
        self.id_of = {letter: i for i, letter in enumerate(sorted(set(train + val)))}
        self.train, self.val = self.encode(train), self.encode(val)

    def encode(self, text: str) -> np.ndarray:
        """Ids (N,)."""
        return np.fromiter(map(self.id_of.__getitem__, text), dtype=np.uint16, count=len(text))

    def write(self, folder: Path) -> None:
        """The three files that its `train.py` reads."""
        self.train.tofile(folder / "train.bin")
        self.val.tofile(folder / "val.bin")
        meta = {"vocab_size": len(self.id_of), "stoi": self.id_of, "itos": dict(enumerate(self.id_of))}
        (folder / "meta.pkl").write_bytes(pickle.dumps(meta))


def train(checkout: Path, folder: Path, data: Data, recipe: str, device: torch.device) -> Run:
    """Train in a copy of `checkout` made in `folder`; `device` is for scoring afterwards."""
    copy = folder / "nanoGPT"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "out*", "*.bin"))
    data.write(copy / "data" / "shakespeare_char")
    out = ["--dataset=shakespeare_char", "--out_dir=out", "--log_interval=1"]
    command = [sys.executable, "-u", "-W", "ignore", "train.py", *shlex.split(recipe), *out]
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}  # the same fair share of a busy machine as charrnn takes
    begin = time.perf_counter()
    lines: list[tuple[float, str]] = []
    with subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines += [(time.perf_counter() - begin, line) for line in process.stdout]
    if process.returncode:
        raise SystemExit(f"nanoGPT failed: {shlex.join(command)}")
    checkpoint = torch.load(copy / "out" / "ckpt.pt", map_location=device, weights_only=True)
    step_seconds, losses = _read_log([line for _, line in lines])
    elapsed = [0.0, *np.cumsum(step_seconds).tolist()]
    steps = int(checkpoint["iter_num"])
    model = _load(copy, checkpoint).to(device)

    def nats(inputs: Tensor, targets: Tensor) -> Tensor:
        logits, _ = model(inputs, targets.contiguous())
        return F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")

    return Run(
        train_seconds=elapsed[steps],
        wall_seconds=max(seconds for seconds, line in lines if line.startswith("saving checkpoint")),
        steps=steps,
        curve=[(elapsed[step], loss) for step, loss in losses],
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        context=int(checkpoint["model_args"]["block_size"]),
        nats=nats,
    )


def _read_log(lines: Sequence[str]) -> tuple[list[float], list[tuple[int, float]]]:
    """Seconds of each iteration, and (iteration, validation loss) of each evaluation.

    An iteration's time as printed holds the evaluation before it: there the median stands instead.
    """
    seconds, losses, evaluated = [], [], set()
    for line in lines:
        if found := re.match(r"step (\d+): .*val loss ([\d.]+|nan)", line):
            losses.append((int(found[1]), float(found[2])))
            evaluated.add(int(found[1]))
        elif found := re.match(r"iter (\d+): .*time ([\d.]+)ms", line):
            seconds.append(float(found[2]) / 1000)
    usual = statistics.median(value for step, value in enumerate(seconds) if step not in evaluated)
    return [usual if step in evaluated else value for step, value in enumerate(seconds)], losses


def _load(copy: Path, checkpoint: dict) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("nanogpt_model", copy / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with redirect_stdout(sys.stderr):  # it prints its size
        model = module.GPT(module.GPTConfig(**checkpoint["model_args"]))
    prefix = "_orig_mod."  # of a compiled model
    model.load_state_dict({name.removeprefix(prefix): value for name, value in checkpoint["model"].items()})
    return model.eval()
