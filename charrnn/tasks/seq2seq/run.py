"""All that decides how a run from pairs of texts goes, written to a model directory so that it can go on from there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from charrnn import model_directory
from charrnn.errors import CharrnnError, UsageError
from charrnn.settings import from_mapping
from charrnn.storage import atomic_write
from charrnn.tasks.seq2seq.data import Pair, Splits
from charrnn.tasks.seq2seq.inputs import Sides
from charrnn.tasks.seq2seq.model import Task, describe_sides, read_sides, write_sides
from charrnn.tasks.seq2seq.network import Seq2SeqConfig
from charrnn.tasks.seq2seq.objective import ObjectiveConfig
from charrnn.tasks.seq2seq.search import SearchConfig
from charrnn.training.config import TrainingConfig
from charrnn.training.directory import RUN, require_run

EXAMPLES = "examples.jsonl"


@dataclass(frozen=True)
class Run:
    """Everything that decides how a run goes, all choices made."""

    task: Task
    splits: Splits
    sides: Sides
    network: Seq2SeqConfig
    objective: ObjectiveConfig
    search: SearchConfig
    training: TrainingConfig
    init_from: str | None  # a language model's directory

    def write(self, directory: Path) -> None:
        """Write what `read` needs into a model directory."""
        settings = {
            "task": self.task,
            "network": asdict(self.network),
            "objective": asdict(self.objective),
            "search": asdict(self.search),
            "training": asdict(self.training),
            "sides": describe_sides(self.sides),
            "val_was_given": self.splits.val_was_given,
            "init_from": self.init_from,
        }
        lines = [
            json.dumps({"part": part, **asdict(pair)}) + "\n"
            for part in ("train", "val", "test")
            for pair in getattr(self.splits, part)
        ]
        write_sides(directory, self.sides)
        atomic_write(directory / "training" / EXAMPLES, "".join(lines))
        atomic_write(directory / "training" / RUN, json.dumps(settings, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Run:
        """The run in a model directory. Raises UsageError if there is none to resume."""
        require_run(directory)
        path = directory / "training" / RUN
        values = model_directory.read_json(path)
        if "sides" not in values:
            raise UsageError(f"{directory}: the run here trains no network from sequence to sequence")
        parts: dict[str, list[Pair]] = {"train": [], "val": [], "test": []}
        try:
            with (directory / "training" / EXAMPLES).open(encoding="utf-8") as file:
                for row in map(json.loads, file):
                    parts[row["part"]].append(Pair(row["source"], row["target"]))
            return cls(
                task=values["task"],
                splits=Splits(**parts, val_was_given=bool(values["val_was_given"])),
                sides=read_sides(directory, values["sides"]),
                network=from_mapping(Seq2SeqConfig, values["network"]),
                objective=from_mapping(ObjectiveConfig, values["objective"]),
                search=from_mapping(SearchConfig, values["search"]),
                training=from_mapping(TrainingConfig, values["training"]),
                init_from=values["init_from"],
            )
        except (OSError, KeyError, TypeError, ValueError, UsageError) as error:
            raise CharrnnError(f"{path}: damaged: {error!r}") from None
