"""Validation loss against time: runs of `charrnn train` with several budgets and, in turn with them, nanoGPT.

    scripts/bench/time_to_loss.py FILE --minutes 0.25 0.5 1 3 --run "" --run "--cell lstm" --plot curve.png
    scripts/bench/time_to_loss.py FILE --minutes 0.1 0.25 1.5 --nanogpt CHECKOUT --repeats 3

A run's learning rate falls to nothing at the end of its budget, so what it has reached before the end says little:
time to a loss is that of the smallest budget whose finished model is as good. Each finished model is scored on the
whole validation text in two ways, the same for both programs:

- full: each character once, after what comes before it. charrnn reads the text through with carried state; nanoGPT,
  whose context is bounded, reads windows that overlap by 7/8, and of each only the end that is new counts.
- windows: nanoGPT's own measure, the one in its README: windows at random places (many more than it draws, the same
  for all models), nothing known of the text before, mean over all positions. Recurrent networks lose most by it.

Training seconds are what the program itself counts: charrnn's with measuring the machine, validations and samples,
nanoGPT's without evaluations. Wall seconds are those of the whole process; nanoGPT's end when it saves the weights it
keeps. Kernels are compiled, and nanoGPT's files of ids written, before any clock runs. One JSON line a run.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nanogpt
import numpy as np
import torch
from torch import Tensor

import charrnn
from charrnn.network.device import choose_device
from charrnn.text.reading import find_text

CONTEXTS = (64, 256)  # of nanoGPT's recipes for a CPU and for a GPU
POSITIONS = 1 << 18  # scored in windows
MACHINE = {"torch": torch.__version__, "cores": torch.get_num_threads()}

Row = dict[str, Any]
Nats = Callable[[Tensor, Tensor], Tensor]  # inputs (B, T), targets (B, T) → nats of each (B, T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--val", metavar="FILE", help="validation text (default: the last 10 %% of the text)")
    parser.add_argument("--minutes", type=float, nargs="+", default=[0.25, 0.5, 1, 3], help="budgets, a run each")
    parser.add_argument("--run", action="append", metavar="OPTIONS", help="a recipe: options of `charrnn train`")
    parser.add_argument("--nanogpt", type=Path, metavar="CHECKOUT", help="train with nanoGPT too; it is copied first")
    parser.add_argument("--recipe", default=nanogpt.CPU_RECIPE, help="arguments of nanoGPT's train.py")
    parser.add_argument("--repeats", type=int, default=1, help="charrnn's repeats have seeds 0, 1, …")
    parser.add_argument("--target-loss", type=float, metavar="NATS", help="report the time to this loss, full pass")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    arguments = parser.parse_args()
    recipes = arguments.run or [""]

    train = "".join(find_text([arguments.file]).chunks())
    cut = len(train) if arguments.val else int(len(train) * 0.9)
    val = "".join(find_text([arguments.val]).chunks()) if arguments.val else train[cut:]
    data = nanogpt.Data(train[:cut], val) if arguments.nanogpt else None
    files = [arguments.file, *(["--val", arguments.val] if arguments.val else [])]
    for recipe in recipes:
        with tempfile.TemporaryDirectory() as folder:
            _train([*files, "--steps", "2"], recipe, Path(folder) / "model")  # compiles kernels

    ours: list[Row] = []
    theirs: list[Row] = []
    for repeat in range(arguments.repeats):
        if data is not None:
            with tempfile.TemporaryDirectory() as folder:
                theirs.append(train_nanogpt(arguments.nanogpt, Path(folder), data, arguments.recipe))
            print(json.dumps({"repeat": repeat} | theirs[-1] | MACHINE), flush=True)
        for recipe in recipes:
            for minutes in sorted(arguments.minutes):
                budget = ["--minutes", str(minutes), "--seed", str(repeat)]
                with tempfile.TemporaryDirectory() as folder:
                    row = train_charrnn([*files, *budget], recipe, Path(folder) / "model", val)
                ours.append({"repeat": repeat, "minutes": minutes} | row)
                print(json.dumps(ours[-1] | MACHINE), flush=True)

    for recipe in recipes:
        own = [row for row in ours if row["what"] == _name(recipe)]
        repeats = [[row for row in own if row["repeat"] == repeat] for repeat in range(arguments.repeats)]
        if arguments.target_loss:
            reached = [first_to(arguments.target_loss, rows, "full_nats") for rows in repeats]
            print(json.dumps(times_row(recipe, arguments.target_loss, reached) | MACHINE))
        for measure in ("full_nats", f"windows_{theirs[0]['context']}_nats") if theirs else ():
            if measure not in own[0]:
                continue
            reached = [first_to(run[measure], rows, measure) for run, rows in zip(theirs, repeats, strict=True)]
            print(json.dumps(ratio_row(recipe, measure, theirs, reached) | MACHINE))
    if arguments.plot:
        plot(ours, theirs, arguments.plot)


def train_charrnn(arguments: list[str], recipe: str, model_path: Path, val: str) -> Row:
    """One row: a run as a user would make it, its curve, and what its finished model scores."""
    begin = time.perf_counter()
    _train(arguments, recipe, model_path)
    wall = time.perf_counter() - begin
    training = json.loads((model_path / "config.json").read_text())["training"]
    metrics = [json.loads(line) for line in (model_path / "training" / "metrics.jsonl").read_text().splitlines()]

    model = charrnn.load(model_path)
    device = model.network.head.weight.device
    score = model.score(val)
    ids = torch.from_numpy(model.vocab.encode(val).astype(np.int64)).to(device)

    def nats(inputs: Tensor, targets: Tensor) -> Tensor:
        logits, _ = model.network(inputs.T, model.network.initial_state(len(inputs)))
        return model.network.nats(logits, targets.T).T

    windows = {}
    if len(ids) == len(val):  # else windows of ids are other text than windows of characters
        windows = {f"windows_{context}_nats": round(windows_loss(nats, ids, context), 4) for context in CONTEXTS}
    per_char = score.tokens / score.chars
    return {
        "what": _name(recipe),
        "train_s": metrics[-1]["seconds"],
        "wall_s": round(wall, 2),
        "parameters": training["parameters"],
        "steps": training["total_steps"],
        "full_nats": round(score.nats_per_char, 4),
        **windows,
        "curve": [(m["seconds"], round(m["val_loss"] * per_char, 4)) for m in metrics if "val_loss" in m],
        "train_curve": [(m["seconds"], round(m["train_loss"] * per_char, 4)) for m in metrics if "train_loss" in m],
    }


def train_nanogpt(checkout: Path, folder: Path, data: nanogpt.Data, recipe: str) -> Row:
    """One row: a run of nanoGPT's recipe, its curve, and what the weights it keeps score."""
    device = choose_device()
    run = nanogpt.train(checkout, folder, data, recipe, device)
    ids = torch.from_numpy(data.val.astype(np.int64)).to(device)
    return {
        "what": "nanoGPT",
        "train_s": round(run.train_seconds, 3),
        "wall_s": round(run.wall_seconds, 2),
        "parameters": run.parameters,
        "steps": run.steps,
        "context": run.context,
        "full_nats": round(overlapping_loss(run.nats, ids, run.context), 4),
        f"windows_{run.context}_nats": round(windows_loss(run.nats, ids, run.context), 4),
        "reported_nats": min(loss for _, loss in run.curve),
        "curve": [(round(seconds, 3), loss) for seconds, loss in run.curve],
    }


def windows_loss(nats: Nats, ids: Tensor, context: int) -> float:
    """Mean nats over all positions of windows of `ids` (N,) at random places, each read from nothing."""
    count = POSITIONS // context
    starts = torch.randint(len(ids) - context, (count,), generator=torch.Generator().manual_seed(0))
    total = sum(float(_nats_of_windows(nats, ids, part, context).sum()) for part in starts.split(64))
    return total / (count * context)


def overlapping_loss(nats: Nats, ids: Tensor, context: int) -> float:
    """Mean nats of `ids` (N,) but the first, each counted once, after at least 7/8 of a context where there is one."""
    last = len(ids) - 1 - context
    starts = torch.tensor([*range(0, last, max(context // 8, 1)), last])
    new = torch.diff(starts, prepend=torch.tensor([-context]))  # targets that the window before did not reach
    total = 0.0
    for part, count in zip(starts.split(64), new.split(64), strict=True):
        counted = torch.arange(context) >= context - count[:, None]
        total += float((_nats_of_windows(nats, ids, part, context) * counted).sum())
    return total / (len(ids) - 1)


def _nats_of_windows(nats: Nats, ids: Tensor, starts: Tensor, context: int) -> Tensor:
    windows = ids[(starts[:, None] + torch.arange(context + 1)).to(ids.device)]
    with torch.inference_mode():
        return nats(windows[:, :-1], windows[:, 1:]).double().cpu()


def first_to(target: float, rows: list[Row], measure: str) -> Row | None:
    """The quickest of the finished models that are at least this good."""
    reached = [row for row in rows if row[measure] <= target]
    return min(reached, key=lambda row: row["train_s"], default=None)


def times_row(recipe: str, target: float, reached: list[Row | None]) -> Row:
    """Time to a loss, median of the repeats that reached it."""
    runs = [run for run in reached if run is not None]
    row = {"what": f"time to {target} nats, {_name(recipe)}", "reached": f"{len(runs)} of {len(reached)}"}
    return row | {name: _median([run[name] for run in runs]) for name in ("minutes", "train_s", "wall_s")}


def ratio_row(recipe: str, measure: str, theirs: list[Row], reached: list[Row | None]) -> Row:
    """How many times as long nanoGPT takes to its final loss: median of repeats, 0 where no budget reached it."""
    row: Row = {
        "what": f"nanoGPT's time / time of {_name(recipe)}",
        "measure": measure,
        "target_nats": [run[measure] for run in theirs],
        "minutes": [run and run["minutes"] for run in reached],
    }
    for name in ("train_s", "wall_s"):
        ratios = [their[name] / our[name] if our else 0.0 for their, our in zip(theirs, reached, strict=True)]
        row |= {f"{name}_ratio": _median(ratios), f"{name}_ratios": [round(ratio, 2) for ratio in ratios]}
    return row


def plot(ours: list[Row], theirs: list[Row], path: Path) -> None:
    """Lines: validation as each program reports it while the (longest) run goes on. Marks: finished models, in full."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(8, 4.8), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(row["what"] for row in [*ours, *theirs])):
        rows = [row for row in [*ours, *theirs] if row["what"] == name]
        color, mark = f"C{number}", "s" if name == "nanoGPT" else "o"
        curve = [point for point in max(rows, key=lambda row: row.get("minutes", 0))["curve"] if point[0] > 0]
        axes.plot(*zip(*curve, strict=True), color=color, linewidth=1.5, label=name)
        axes.plot([row["train_s"] for row in rows], [row["full_nats"] for row in rows], mark, color=color)
    axes.plot([], [], "o", color="gray", label="finished model, each character scored once")
    axes.set(xscale="log", xlabel="seconds of training", ylabel="validation loss, nats per character")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path, dpi=110)


def _train(arguments: list[str], recipe: str, model_path: Path) -> None:
    command = [sys.executable, "-m", "charrnn", "train", *arguments, "-o", str(model_path), "-q", *shlex.split(recipe)]
    subprocess.run(command, check=True)


def _name(recipe: str) -> str:
    return f"charrnn {recipe}".strip()


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


if __name__ == "__main__":
    main()
