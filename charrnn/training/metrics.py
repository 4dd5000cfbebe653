"""`metrics.jsonl`: one JSON object a line, in order of steps, also after a run was killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from charrnn.storage import atomic_write


class MetricsLog:
    """Appends measurements; `rewind` forgets those that a resumed run will make again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, **values: Any) -> None:
        """Add a line. It must hold a `step`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def rewind(self, step: int) -> None:
        """Drop what was measured after `step`, and a last line that a kill cut short."""
        kept = [line for line in self.read() if line["step"] <= step]
        atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def read(self) -> list[dict[str, Any]]:
        """All whole lines."""
        if not self.path.exists():
            return []
        lines = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return lines
