"""A training run on the terminal: notes, a bar, validations and samples, all on stderr."""

from __future__ import annotations

import sys

from tqdm import tqdm

from charrnn.training.trainer import Progress, Report, Units


class Terminal(Report):
    """Shows a run with a tqdm bar: loss, speed, time left."""

    def __init__(self) -> None:
        self.bar: tqdm[None] | None = None
        self.units: Units | None = None

    def start(self, progress: Progress, units: Units) -> None:
        self.units = units
        self.bar = tqdm(
            total=round(progress.total_steps * units.per_step),
            initial=round(progress.step * units.per_step),
            unit=units.amount.removesuffix("s"),
            unit_scale=True,
            dynamic_ncols=True,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
        )

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        assert self.bar is not None
        assert self.units is not None
        self.bar.set_postfix_str(f"{loss * self.units.train_factor:.3f} {self.units.loss}", refresh=False)
        self.bar.update(round(progress.step * self.units.per_step) - self.bar.n)

    def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
        assert self.units is not None
        loss = f"{val_loss * self.units.val_factor:.3f} {self.units.loss}"
        self.note(f"step {progress.step:,}: validation {loss}{', the best yet' if is_best else ''}")

    def sample(self, text: str, temperature: float) -> None:
        lines = text.strip("\n").replace("\r", " ").splitlines()
        self.note(f"  temperature {temperature}: " + "\n                   ".join(lines))

    def note(self, text: str) -> None:
        # tqdm.write keeps the line out of the bar.
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
