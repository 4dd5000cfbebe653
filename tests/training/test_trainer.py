"""The training loop on a toy objective: schedule of validations, early stopping, explosions, exact resume."""

import math
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from charrnn.checkpoint import load_tensors, save_tensors
from charrnn.errors import CharrnnError
from charrnn.training.config import TrainingConfig, lr_factor
from charrnn.training.trainer import Progress, Report, Trainer, Units

POINTS = 50
SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM


class Regression:
    """Learns a plane, with everything a real objective has: random dropout, a place in the data, carried state."""

    epoch_steps = POINTS / 4
    units = Units("nats", 1.0, 1.0, "points", 4.0)

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 8), nn.Linear(8, 1))
        self.x = torch.randn(POINTS, 3, generator=torch.Generator().manual_seed(1))
        self.y = self.x.sum(1, keepdim=True)
        self.place = 0
        self.memory = torch.zeros(1)
        self.val_losses: list[float] = []  # instead of the true ones
        self.spoil: Callable[[Tensor], Tensor] = lambda loss: loss

    def next_loss(self) -> Tensor:
        rows = torch.arange(self.place, self.place + 4) % POINTS
        self.place = (self.place + 4) % POINTS
        predicted = self.model(self.x[rows]) + 0.1 * self.memory
        self.memory = predicted.detach().mean(0)
        return self.spoil((predicted - self.y[rows]).square().mean())

    def validate(self) -> float:
        if self.val_losses:
            return self.val_losses.pop(0)
        self.model.eval()
        with torch.no_grad():
            loss = (self.model(self.x) - self.y).square().mean().item()
        self.model.train()
        return loss

    def position(self) -> dict[str, Tensor]:
        return {"place": torch.tensor(self.place), "memory": self.memory}

    def restore(self, position: Mapping[str, Tensor]) -> None:
        self.place, self.memory = int(position["place"]), position["memory"]


class Recorder(Report):
    """Keeps what it is told, and sends itself signals after the steps asked for."""

    def __init__(self, interrupts: Mapping[int, list[signal.Signals]]) -> None:
        self.interrupts = interrupts
        self.losses: dict[int, float] = {}
        self.lrs: dict[int, float] = {}
        self.validations: list[int] = []
        self.closed = 0

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        self.losses[progress.step], self.lrs[progress.step] = loss, lr
        for name in self.interrupts.get(progress.step, []):
            os.kill(os.getpid(), name)

    def validation(self, progress: Progress, val_loss: float, is_best: bool) -> None:
        self.validations.append(progress.step)

    def close(self) -> None:
        self.closed += 1


class Run:
    """A trainer of a `Regression` with a folder of its own."""

    def __init__(self, folder: Path, config: TrainingConfig, interrupts: Mapping[int, list[signal.Signals]]) -> None:
        folder.mkdir(exist_ok=True)
        self.objective = Regression()
        self.report = Recorder(interrupts)
        self.bests: list[bool] = []
        self.trainer = Trainer(self.objective, config, config.lr or 0.01, folder, self.bests.append, self.report)
        self.state_file = folder / "state.safetensors"

    def metrics(self, name: str) -> dict[int, float]:
        """Measurements of one name by step; fails if their steps do not increase."""
        lines = [(line["step"], line[name]) for line in self.trainer.metrics.read() if name in line]
        assert all(step < later for (step, _), (later, _) in pairwise(lines))
        return dict(lines)


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run("name", steps=…)`: a run in a folder of that name, neither planned nor loaded yet."""

    def make(name: str = "run", interrupts: Mapping[int, list[signal.Signals]] | None = None, **given: Any) -> Run:
        settings = {"steps": 40, "num_validations": 4, "device": "cpu", **given}
        return Run(tmp_path / name, TrainingConfig(**settings), interrupts or {})

    return make


def start(run: Run) -> Run:
    run.trainer.plan()
    run.trainer.run()
    return run


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


# Budget, schedule, validations


@pytest.mark.parametrize(("settings", "steps"), [({"steps": 7}, 7), ({"steps": None, "epochs": 2.0}, 25)])
def test_a_budget_is_a_number_of_steps(settings: dict[str, Any], steps: int, make_run: MakeRun) -> None:
    run = start(make_run(**settings))
    assert run.trainer.progress.step == run.trainer.progress.total_steps == steps
    assert run.trainer.progress.finished


def test_of_two_budgets_the_lesser_counts(make_run: MakeRun) -> None:
    timed = start(make_run("timed", steps=None, minutes=1e-9, epochs=20.0)).trainer
    assert timed.progress.step == 2 * timed.config.validations  # the least that minutes come to
    assert start(make_run("counted", steps=None, minutes=0.1, epochs=2.0)).trainer.progress.step == 25


def test_a_budget_of_minutes_leaves_no_trace_but_its_number_of_steps(make_run: MakeRun) -> None:
    timed = make_run("timed", steps=None, minutes=0.002)
    before = timed.trainer.capture()
    timed.trainer.plan()
    assert_same(timed.trainer.capture(), before)
    timed.trainer.run()
    counted = start(make_run("counted", steps=timed.trainer.progress.total_steps))
    assert_same(timed.trainer.capture(), counted.trainer.capture())


def test_a_budget_of_minutes_is_kept_by_steps_of_many_lengths(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("charrnn.training.trainer.time", SimpleNamespace(monotonic=lambda: clock[0]))
    run = make_run(steps=None, minutes=0.5)

    def take_time(loss: Tensor) -> Tensor:
        clock[0] += 0.04 if run.objective.place % 3 == 0 else 0.01
        return loss

    run.objective.spoil = take_time
    start(run)
    assert 0.9 * 30 < run.trainer.progress.seconds < clock[0] < 30


@pytest.mark.parametrize(("steps", "count"), [(40, 4), (100, 12), (37, 5), (5, 5), (3, 12), (1, 1)])
def test_validations_are_evenly_spaced_and_the_last_is_at_the_end(steps: int, count: int, make_run: MakeRun) -> None:
    run = start(make_run(steps=steps, num_validations=count, patience=count))
    at = [0, *run.report.validations]
    assert len(at) - 1 == min(steps, count)
    assert at[-1] == steps
    gaps = {b - a for a, b in pairwise(at)}
    assert max(gaps) - min(gaps) <= 1


def test_the_learning_rate_follows_the_schedule(make_run: MakeRun) -> None:
    run = start(make_run(lr=0.02, warmup_steps=3))
    assert run.report.lrs == {step: 0.02 * lr_factor(step - 1, 40, 3) for step in (1, 10, 20, 30, 40)}


def test_the_loss_goes_down_and_is_logged(make_run: MakeRun) -> None:
    run = start(make_run(steps=300, lr=0.05))
    logged = run.metrics("train_loss")
    assert logged == run.report.losses
    assert logged[300] < 0.5 * logged[1]
    validated = run.metrics("val_loss")
    assert list(validated) == run.report.validations
    assert validated[300] < 0.5 * validated[75]


def test_only_matrices_decay(make_run: MakeRun) -> None:
    run = make_run(steps=5, lr=0.1, weight_decay=1.0)
    run.objective.spoil = lambda loss: 0 * loss
    before = {name: weight.clone() for name, weight in run.objective.model.named_parameters()}
    start(run)
    for name, weight in run.objective.model.named_parameters():
        shrunk = weight.detach().abs().sum() < before[name].abs().sum()
        assert bool(shrunk) == (name == "2.weight"), name  # the others are too small to be matrices


# Best weights and early stopping


def test_the_best_are_those_with_the_lowest_validation_yet(make_run: MakeRun) -> None:
    run = make_run(num_validations=5)
    run.objective.val_losses = [3.0, 2.0, 2.0, 2.5, 1.0]
    progress = start(run).trainer.progress
    assert run.bests == [True, True, False, False, True]
    assert (progress.best_step, progress.best_loss) == (40, 1.0)
    assert not progress.stopped_early


def test_training_stops_when_validation_no_longer_improves(make_run: MakeRun) -> None:
    run = make_run(num_validations=8, patience=3)
    run.objective.val_losses = [3.0, 2.0, 2.1, 1.9, 2.2, 2.3, 2.4, 2.5]
    progress = start(run).trainer.progress
    assert run.bests == [True, True, False, True, False, False, False]
    assert progress.stopped_early
    assert (progress.step, progress.best_step) == (35, 20)

    again = make_run(num_validations=8, patience=3)
    again.trainer.load()
    again.trainer.run()
    assert again.trainer.progress.step == 35, "a run that stopped early has ended"
    assert again.bests == []


def test_a_validation_that_is_no_number_is_never_the_best(make_run: MakeRun) -> None:
    run = make_run()
    run.objective.val_losses = [2.0, math.nan, math.nan, 1.0]
    start(run)
    assert run.bests == [True, False, False, True]


def test_training_has_dropout_whatever_is_done_to_the_model_meanwhile(make_run: MakeRun) -> None:
    undisturbed = start(make_run("undisturbed"))
    run = make_run("disturbed")
    run.objective.model.eval()
    run.trainer.after_validation = lambda is_best: run.objective.model.eval() and None
    start(run)
    assert run.objective.model.training
    assert_same(run.trainer.capture(), undisturbed.trainer.capture())


# A loss that explodes


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(math.nan, "is not a number"), (math.inf, "is not a number"), (1e6, "exploded to")],
    ids=["nan", "infinity", "explosion"],
)
def test_an_exploding_loss_ends_the_run_and_says_what_to_do(spoil: float, words: str, make_run: MakeRun) -> None:
    run = make_run(lr=0.03)
    losses: list[Tensor] = []

    def spoiled(loss: Tensor) -> Tensor:
        losses.append(loss)
        return loss * spoil if len(losses) > 23 else loss

    run.objective.spoil = spoiled
    run.trainer.plan()
    with pytest.raises(CharrnnError, match=words) as caught:
        run.trainer.run()
    assert "step 30" in str(caught.value)
    assert "lr=0.01" in str(caught.value)
    assert run.bests == [True, True], "no validation of broken weights"
    assert run.report.closed == 1
    saved = load_tensors(run.state_file)[0]
    assert all(tensor.isfinite().all() for tensor in saved.values()), "the state saved last is a sound one"


def test_losses_below_one_do_not_explode_beside_a_first_one_of_zero(make_run: MakeRun) -> None:
    """As a risk's may, which lies between 0 and 1."""
    run = make_run()
    losses: list[Tensor] = []

    def small(loss: Tensor) -> Tensor:
        losses.append(loss)
        return loss.sigmoid() * (len(losses) > 1)

    run.trainer.plan()
    run.objective.spoil = small
    assert run.trainer.run().finished
    assert run.report.losses[1] == 0 < run.report.losses[10]


# Exact resume


@pytest.fixture
def undisturbed(make_run: MakeRun) -> Run:
    return start(make_run("undisturbed"))


@pytest.mark.parametrize("stops", [[1], [10], [20], [30], [40], [1, 10, 20, 30]], ids=str)
@pytest.mark.parametrize("name", [SIGINT, SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_and_resumed_run_is_the_undisturbed_one(
    name: signal.Signals, stops: list[int], make_run: MakeRun, undisturbed: Run
) -> None:
    run = make_run(interrupts={stop: [name] for stop in stops})
    run.trainer.plan()
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            run.trainer.run()
        assert run.trainer.progress.step == stop
        run = make_run(interrupts={later: [name] for later in stops if later > stop})
        run.trainer.load()
    run.trainer.run()

    assert_same(run.trainer.capture(), undisturbed.trainer.capture())
    if stops != [40]:  # otherwise there was nothing left to save
        assert_same(load_tensors(run.state_file)[0], load_tensors(undisturbed.state_file)[0])
    for measurement in ("train_loss", "val_loss"):
        assert run.metrics(measurement) == undisturbed.metrics(measurement)
    ours, theirs = (asdict(each.trainer.progress) | {"seconds": 0} for each in (run, undisturbed))
    assert ours == theirs


def stopped_at_15(make_run: MakeRun, spoil: Callable[[Tensor], Tensor]) -> Run:
    """A run that will be stopped between two readings of the loss, losses from step 14 on spoiled."""
    run = make_run()
    run.trainer.plan()
    steps: list[Tensor] = []

    def spoiled(loss: Tensor) -> Tensor:
        steps.append(loss)
        if len(steps) == 15:
            os.kill(os.getpid(), SIGINT)
        return spoil(loss) if len(steps) >= 14 else loss

    run.objective.spoil = spoiled
    return run


def test_losses_that_were_not_read_yet_are_kept(make_run: MakeRun, undisturbed: Run) -> None:
    run = stopped_at_15(make_run, lambda loss: loss)
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    assert run.trainer.progress.step == 15
    again = make_run()
    again.trainer.load()
    again.trainer.run()
    assert_same(again.trainer.capture(), undisturbed.trainer.capture())
    assert again.metrics("train_loss") == undisturbed.metrics("train_loss")


def test_a_state_that_is_no_number_is_not_saved(make_run: MakeRun) -> None:
    run = stopped_at_15(make_run, lambda loss: loss * math.nan)
    with pytest.raises(CharrnnError, match="is not a number at step 15"):
        run.trainer.run()
    assert all(tensor.isfinite().all() for tensor in load_tensors(run.state_file)[0].values())


def test_work_after_the_last_save_is_done_again_alike(make_run: MakeRun, undisturbed: Run) -> None:
    """What a kill leaves: a state of some steps ago, and measurements and weights of later ones."""
    run = make_run(interrupts={20: [SIGINT]})
    run.trainer.plan()
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    state = run.state_file.read_bytes()
    ahead = make_run(interrupts={30: [SIGINT]})
    ahead.trainer.load()
    with pytest.raises(KeyboardInterrupt):
        ahead.trainer.run()
    run.state_file.write_bytes(state)

    again = make_run()
    again.trainer.load()
    assert again.trainer.progress.step == 20
    again.trainer.run()
    assert_same(again.trainer.capture(), undisturbed.trainer.capture())
    assert again.metrics("train_loss") == undisturbed.metrics("train_loss")
    assert again.metrics("val_loss") == undisturbed.metrics("val_loss")


def test_the_state_of_the_random_numbers_is_part_of_a_run(make_run: MakeRun, undisturbed: Run) -> None:
    run = make_run(interrupts={20: [SIGINT]})
    run.trainer.plan()
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    again = make_run()
    torch.manual_seed(12345)
    again.trainer.load()
    again.trainer.run()
    assert_same(again.trainer.capture(), undisturbed.trainer.capture())


def test_early_stopping_counts_on_after_a_resume(make_run: MakeRun) -> None:
    settings = {"num_validations": 8, "patience": 3}
    run = make_run(interrupts={20: [SIGINT]}, **settings)
    run.objective.val_losses = [1.0, 2.0, 2.0, 2.0]
    run.trainer.plan()
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    assert run.trainer.progress.step == 20
    assert run.trainer.progress.stopped_early

    run = make_run("other", interrupts={10: [SIGINT]}, **settings)
    run.objective.val_losses = [1.0, 2.0]
    run.trainer.plan()
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    again = make_run("other", **settings)
    again.objective.val_losses = [2.0, 2.0, 2.0]
    again.trainer.load()
    again.trainer.run()
    assert again.trainer.progress.step == 20


def test_a_second_interrupt_does_not_wait(make_run: MakeRun) -> None:
    run = make_run(interrupts={20: [SIGINT, SIGINT]})
    run.trainer.plan()
    with pytest.raises(KeyboardInterrupt):
        run.trainer.run()
    assert run.report.validations == [10], "the validation of step 20 is not waited for"
    again = make_run()
    again.trainer.load()
    assert again.trainer.progress.step == 10, "the last save is still whole"


@pytest.mark.parametrize("interrupts", [{}, {10: [SIGINT]}, {10: [SIGINT, SIGINT]}], ids=["end", "once", "twice"])
def test_signals_are_handled_as_before_afterwards(
    interrupts: dict[int, list[signal.Signals]], make_run: MakeRun
) -> None:
    handlers = signal.getsignal(SIGINT), signal.getsignal(SIGTERM)
    run = make_run(interrupts=interrupts)
    run.trainer.plan()
    try:
        run.trainer.run()
    except KeyboardInterrupt:
        assert interrupts
    assert (signal.getsignal(SIGINT), signal.getsignal(SIGTERM)) == handlers
    assert run.report.closed == 1


def test_training_runs_in_any_thread(make_run: MakeRun) -> None:
    run = make_run()
    thread = threading.Thread(target=start, args=[run])
    thread.start()
    thread.join()
    assert run.trainer.progress.finished


# Damaged states


def damage_byte(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def damage_progress(data: bytes) -> bytes:
    assert data.count(rb"\"step\": 40") == 1
    return data.replace(rb"\"step\": 40", rb"\"step\": 10")


@pytest.mark.parametrize(
    "damage",
    [damage_byte, damage_progress, lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 500],
    ids=["flipped bit", "other progress", "cut short", "empty", "another file"],
)
def test_a_damaged_state_is_refused_and_left_alone(damage: Callable[[bytes], bytes], make_run: MakeRun) -> None:
    run = start(make_run())
    run.state_file.write_bytes(damage(run.state_file.read_bytes()))
    files = {path: path.read_bytes() for path in run.state_file.parent.iterdir()}
    with pytest.raises(CharrnnError, match="damaged") as caught:
        make_run().trainer.load()
    assert str(run.state_file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in run.state_file.parent.iterdir()} == files


@pytest.mark.parametrize("lost", ["model.0.weight", "data.place", "random.cpu", "optimizer.exp_avg.0.weight"])
def test_a_state_that_lacks_something_is_refused(lost: str, make_run: MakeRun) -> None:
    run = start(make_run())
    tensors, metadata = load_tensors(run.state_file)
    del tensors[lost]
    save_tensors(run.state_file, tensors, {"progress": metadata["progress"]})
    with pytest.raises(CharrnnError, match=r"damaged, or of another run"):
        make_run().trainer.load()


@pytest.mark.parametrize("name", ["model.0.weight", "optimizer.exp_avg.0.weight"])
def test_a_state_of_another_shape_is_refused(name: str, make_run: MakeRun) -> None:
    run = start(make_run())
    tensors, metadata = load_tensors(run.state_file)
    save_tensors(run.state_file, tensors | {name: tensors[name][:1]}, {"progress": metadata["progress"]})
    with pytest.raises(CharrnnError, match=r"damaged, or of another run"):
        make_run().trainer.load()
