"""The loss curve of a run as a picture (matplotlib, the `plot` extra)."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

from charrnn.errors import UsageError


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
