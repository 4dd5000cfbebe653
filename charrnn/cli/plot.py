"""Loss curves, confusion matrices and alignments as pictures (matplotlib, the `plot` extra)."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.errors import UsageError

if TYPE_CHECKING:
    from charrnn.tasks.seq2seq.model import Alignment

MOST_NUMBERS = 20  # labels up to which the cells of a confusion matrix hold their numbers


def require_matplotlib() -> None:
    """Say what to do where matplotlib is missing, before any time is spent."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib: pip install matplotlib")


def plot_run(model_directory: Path) -> Path:
    """Draw training and validation loss (bits a token) against time; returns the picture's path."""
    from matplotlib.figure import Figure

    from charrnn.training.metrics import MetricsLog
    from charrnn.training.trainer import METRICS

    lines = MetricsLog(model_directory / "training" / METRICS).read()
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, label, style in (("train_loss", "training", "-"), ("val_loss", "validation", "o-")):
        points = [(line["seconds"] / 60, line[name] / math.log(2)) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), style, label=label, linewidth=1.2, markersize=4)
    axes.set(xlabel="minutes", ylabel="bits per token", title=str(model_directory))
    axes.grid(alpha=0.3)
    axes.legend()
    path = model_directory / "loss.png"
    figure.savefig(path, dpi=120)
    return path


def plot_confusion(report: Path) -> Path:
    """Draw the confusion matrix in a classifier's `report.json`: of its test part, else of validation."""
    from matplotlib.figure import Figure

    parts = json.loads(report.read_text(encoding="utf-8"))
    part = "test" if "test" in parts else "validation"
    if "confusion" not in parts[part]:
        raise UsageError("texts with several labels have no confusion matrix")
    labels = [row["label"] for row in parts[part]["per_label"]]
    known = {(given, said): count for given, said, count in parts[part]["confusion"]}
    counts = [[known.get((given, said), 0) for said in labels] for given in labels]
    side = min(3 + 0.25 * len(labels), 30)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="said", ylabel="given", title=f"{part}: share of each label's texts")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    if len(labels) <= MOST_NUMBERS:
        for y, row in enumerate(counts):
            for x, count in enumerate(row):
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, str(count), ha="center", va="center", color=colour, fontsize=8)
    path = report.with_name("confusion.png")
    figure.savefig(path, dpi=120)
    return path


def plot_alignment(alignment: Alignment, path: Path) -> Path:
    """Draw where each entry of a target (down) looks in its source (across); returns the picture's path."""
    from matplotlib.figure import Figure

    across, down = ([entry.replace("\n", "↵") for entry in side] for side in (alignment.source, alignment.target))
    figure = Figure(figsize=(min(2 + 0.25 * len(across), 40), min(1.5 + 0.25 * len(down), 40)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(alignment.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(across)), across, rotation=90)
    axes.set_yticks(range(len(down)), down)
    axes.xaxis.tick_top()
    figure.savefig(path, dpi=120)
    return path
