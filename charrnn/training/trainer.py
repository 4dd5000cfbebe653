"""The training loop, for any model and any loss.

Everything that advances is in one value (`Trainer.capture`), written to one file at once. A run that was killed at
any moment and resumed from that file does what the undisturbed run would have done, bit for bit.
"""

from __future__ import annotations

import json
import math
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from charrnn.checkpoint import load_tensors, network_tensors, save_tensors
from charrnn.errors import CharrnnError
from charrnn.network.memory import give_memory_back
from charrnn.training.config import WEIGHT_DECAY, TrainingConfig, lr_factor
from charrnn.training.metrics import MetricsLog
from charrnn.training.optimizer import Optimizer

STATE, METRICS = "state.safetensors", "metrics.jsonl"
SAVE_SECONDS = 30.0
LOG_EVERY = 10  # steps between readings of the loss, each of which waits for the device
CALIBRATION_SECONDS = 5.0


class Objective(Protocol):
    """What is trained: a model, its batches, and the loss. It owns whatever advances with the batches."""

    @property
    def model(self) -> nn.Module: ...

    epoch_steps: float  # steps in one pass over the data
    units: Units

    def next_loss(self) -> Tensor:
        """Loss of the next batch, in most cases its mean nats."""

    def validate(self) -> float:
        """Validation loss; the lowest decides which weights are kept."""

    def position(self) -> dict[str, Tensor]:
        """Everything that advances: place in the data, carried state."""

    def restore(self, position: Mapping[str, Tensor]) -> None:
        """Go back to a `position`."""


@dataclass(frozen=True)
class Units:
    """How an objective's figures are shown: losses, most in nats, are multiplied by the factors."""

    loss: str  # "bits/char"
    train_factor: float
    val_factor: float
    amount: str  # "chars": what a step works through
    per_step: float


class Report:
    """What a run tells while it goes on; the command line shows it. Does nothing itself."""

    def start(self, progress: Progress, units: Units) -> None:
        """The budget is known, and the first step (or the first after a resume) is about to begin."""

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        """Some steps were made; `loss` is their mean in nats."""

    def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
        """A validation was made."""

    def sample(self, text: str, temperature: float) -> None:
        """The model wrote something."""

    def note(self, text: str) -> None:
        """Something worth a line."""

    def close(self) -> None:
        """The run ended, one way or another."""


@dataclass
class Progress:
    """How far a run is."""

    step: int = 0
    total_steps: int = 0
    seconds: float = 0.0  # of training, over all its parts
    first_loss: float | None = None
    best_loss: float | None = None  # validation
    best_step: int = 0
    validations_since_best: int = 0
    stopped_early: bool = False

    @property
    def finished(self) -> bool:
        return self.stopped_early or (self.total_steps > 0 and self.step >= self.total_steps)


class Trainer:
    """Trains an objective within its budget; `run` can be interrupted and, by a new Trainer, resumed."""

    def __init__(
        self,
        objective: Objective,
        config: TrainingConfig,
        lr: float,
        directory: Path,
        after_validation: Callable[[bool], None],
        report: Report,
    ) -> None:
        """`directory` receives state and metrics; `after_validation` is told whether the weights are the best yet."""
        self.objective = objective
        self.config = config
        self.lr = lr
        self.directory = directory
        self.after_validation = after_validation
        self.report = report
        self.progress = Progress()
        self.metrics = MetricsLog(directory / METRICS)
        self.device = next(objective.model.parameters()).device
        weight_decay = WEIGHT_DECAY if config.weight_decay is None else config.weight_decay
        self.optimizer = Optimizer(objective.model, betas=(0.9, config.beta2), weight_decay=weight_decay)
        self._losses: list[Tensor] = []  # of the steps since the latest reading
        self._clock = time.monotonic()
        self._saved_at = self._clock

    # The value of everything that advances

    def capture(self) -> dict[str, Tensor]:
        """Model, optimizer, place in the data, losses not read yet, random state: all tensors that advance."""
        tensors = {f"model.{name}": own.detach() for name, own in network_tensors(self.objective.model).items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        tensors |= {f"data.{name}": value for name, value in self.objective.position().items()}
        tensors["losses"] = torch.stack(self._losses) if self._losses else torch.empty(0)
        tensors["random.cpu"] = torch.get_rng_state()
        if self.device.type != "cpu":
            tensors["random.gpu"] = torch.get_device_module(self.device).get_rng_state(self.device)
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what `capture` gave."""
        with torch.no_grad():
            for name, own in network_tensors(self.objective.model).items():
                own.copy_(tensors[f"model.{name}"].view_as(own))
        self.optimizer.restore(_under("optimizer.", tensors))
        self.objective.restore(_under("data.", tensors))
        self._losses = list(tensors["losses"].to(self.device))
        torch.set_rng_state(tensors["random.cpu"].cpu())
        if self.device.type != "cpu" and "random.gpu" in tensors:
            torch.get_device_module(self.device).set_rng_state(tensors["random.gpu"].cpu(), self.device)

    def save(self) -> None:
        """Write the state, so that the run can go on from here."""
        self._tick()
        save_tensors(self.directory / STATE, self.capture(), {"progress": json.dumps(asdict(self.progress))})
        self._saved_at = time.monotonic()

    def load(self) -> None:
        """Go on from the saved state. Raises CharrnnError if it is damaged or another network's."""
        path = self.directory / STATE
        tensors, metadata = load_tensors(path)
        try:
            self.progress = Progress(**json.loads(metadata["progress"]))
            self.restore(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CharrnnError(f"{path}: damaged, or of another run: {error!r}") from None
        self.metrics.rewind(self.progress.step)

    # The run

    def plan(self) -> None:
        """Turn the budget into a number of steps, fixed from here on, and save the run's first state."""
        config = self.config
        self.objective.model.train()
        totals = [] if config.steps is None else [config.steps]
        if config.epochs is not None:
            totals.append(max(round(config.epochs * self.objective.epoch_steps), 1))
        if config.minutes is not None:
            totals.append(self._steps_within(60 * config.minutes))
        self.progress.total_steps = min(totals)
        self._clock = time.monotonic()  # measuring was no training
        self.save()

    def run(self) -> Progress:
        """Train to the end of the budget, or until validation has clearly stopped improving.

        Raises CharrnnError where the loss is no number or explodes, with the state as it was saved before, and
        KeyboardInterrupt on Ctrl-C or SIGTERM, with the state saved.
        """
        progress, config = self.progress, self.config
        self.objective.model.train()
        self.report.start(progress, self.objective.units)
        self._clock = time.monotonic()
        try:
            with _deferred_interrupt() as interrupted:
                while not progress.finished:
                    lr = self.lr * lr_factor(progress.step, progress.total_steps, config.warmup_steps)
                    self._losses.append(self._step(lr))
                    progress.step += 1
                    validate = self._validation_due()
                    if progress.step % LOG_EVERY == 0 or validate or progress.step == 1:
                        self._log(lr)
                    if validate:
                        self._validate()
                    if interrupted() or validate or time.monotonic() - self._saved_at > SAVE_SECONDS:
                        if self._losses:
                            self._read_losses()  # what is saved is sound
                        self.save()
                    if interrupted():
                        raise KeyboardInterrupt
        finally:
            self.report.close()
            give_memory_back()
        if progress.stopped_early:
            self.report.note(
                f"stopped early at step {progress.step:,}: no better validation since step {progress.best_step:,}"
            )
        return progress

    def _step(self, lr: float) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.objective.next_loss()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.config.max_grad_norm)
        self.optimizer.step(lr)
        return loss.detach()

    def _read_losses(self) -> float:
        """The mean loss since the latest reading. Raises CharrnnError where it is no number, or explodes."""
        progress = self.progress
        loss = torch.stack(self._losses).mean().item()
        if progress.first_loss is None:
            progress.first_loss = loss
        if not math.isfinite(loss) or loss > 3 * max(progress.first_loss, 1.0):
            trouble = "is not a number" if not math.isfinite(loss) else f"exploded to {loss:.1f} nats"
            raise CharrnnError(
                f"the loss {trouble} at step {progress.step}: start again with a lower learning rate, "
                f"--set lr={self.lr / 3:.2g} (the best weights so far, if any, are kept)"
            )
        return loss

    def _log(self, lr: float) -> None:
        self._tick()
        progress, loss = self.progress, self._read_losses()
        self._losses.clear()
        self.metrics.append(step=progress.step, train_loss=loss, lr=lr, seconds=round(progress.seconds, 3))
        self.report.step(progress, loss, lr)

    def _validation_due(self) -> bool:
        done, total, count = self.progress.step, self.progress.total_steps, self.config.validations
        return done * count // total > (done - 1) * count // total

    def _validate(self) -> None:
        progress = self.progress
        val_loss = self.objective.validate()
        self._tick()
        is_best = progress.best_loss is None or val_loss < progress.best_loss
        if is_best:
            progress.best_loss, progress.best_step, progress.validations_since_best = (
                val_loss,
                progress.step,
                0,
            )
        else:
            progress.validations_since_best += 1
            progress.stopped_early = (
                progress.validations_since_best >= self.config.patience and progress.step < progress.total_steps
            )
        self.metrics.append(step=progress.step, val_loss=val_loss, seconds=round(progress.seconds, 3))
        self.report.validation(progress, val_loss, is_best)
        self.after_validation(is_best)
        self.objective.model.train()  # whatever was made with it meanwhile

    def _steps_within(self, seconds: float) -> int:
        """Steps that fit, measured on a few that are then undone: so `--steps` with this number, and all else the same,
        is the same run."""
        before = self.capture()
        self._step(0.0)  # allocations, and on the first run of a machine compiled kernels: no part of the budget
        self.objective.validate()
        begin = time.monotonic()
        times: list[float] = []
        while len(times) < 5 or time.monotonic() - begin < min(CALIBRATION_SECONDS, seconds / 40):
            start = time.monotonic()
            self._step(0.0).item()
            times.append(time.monotonic() - start)
        start = time.monotonic()
        self.objective.validate()
        validation_seconds = time.monotonic() - start
        self.restore(before)
        left = seconds - (time.monotonic() - begin) - validation_seconds * self.config.validations
        left *= 0.96  # for saving, logging and samples
        return max(int(left / statistics.fmean(times)), 2 * self.config.validations)  # steps are of many lengths

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.seconds += now - self._clock
        self._clock = now


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C and SIGTERM back until the step at hand is done; a second one comes through at once."""
    received = threading.Event()

    def hold(signum: int, frame: Any) -> None:
        if received.is_set():
            raise KeyboardInterrupt
        received.set()

    if threading.current_thread() is not threading.main_thread():
        yield received.is_set  # only the main thread can handle signals
        return
    previous = {name: signal.signal(name, hold) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received.is_set
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
