"""The directory that a run writes into."""

from __future__ import annotations

from pathlib import Path

from charrnn import model_directory
from charrnn.errors import UsageError
from charrnn.training.trainer import STATE

RUN = "run.json"
TOKENIZERS = "tokenizer*.json"


def require_run(output: Path) -> None:
    """Raises UsageError if no run in this model directory has saved its state."""
    if not (output / "training" / RUN).exists() or not any((output / "training").rglob(STATE)):
        raise UsageError(f"{output}: no run to resume here: leave --resume out to start one")


def refuse_occupied(output: Path) -> None:
    """Never write into a directory that holds a model, a run, or anything else. Raises UsageError."""
    existing = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UsageError(f"{existing}: is a file; -o takes a directory")
    if existing != output:
        return
    if any((output / "training").rglob(STATE)):
        raise UsageError(f"{output}: already holds a run: add --resume to go on with it, or choose another -o")
    if (output / model_directory.CONFIG).exists() and (output / model_directory.WEIGHTS).exists():
        raise UsageError(f"{output}: already holds a model: choose another -o")
    ours = ["training", ".*.partial"]
    if (output / "training" / RUN).exists():  # of a run that was killed before it saved anything
        ours += [model_directory.CONFIG, TOKENIZERS, model_directory.GENERATION_CONFIG]
    if any(not any(map(entry.match, ours)) for entry in output.iterdir()):
        raise UsageError(f"{output}: is not empty and holds no model: choose a new directory")
