"""Training runs from text to a model directory: what they learn, what they leave, and going on after a stop."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import charrnn
from charrnn import storage
from charrnn.checkpoint import load_tensors
from charrnn.errors import CharrnnError, UsageError
from charrnn.tasks.language_model import training
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.tasks.language_model.objective import LanguageModelObjective
from charrnn.training.trainer import Progress, Report

Train = Callable[..., LanguageModel]


class Stop(Report):
    """Sends this process a Ctrl-C when the given steps are reported."""

    def __init__(self, *steps: int) -> None:
        self.steps = steps
        self.notes: list[str] = []

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        if progress.step in self.steps:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


def assert_same_tensors(ours: Path, theirs: Path) -> None:
    a, b = load_tensors(ours)[0], load_tensors(theirs)[0]
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Weights, state, measurements and figures, but for the time they took."""
    assert_same_tensors(ours / "model.safetensors", theirs / "model.safetensors")
    assert_same_tensors(ours / "training" / "state.safetensors", theirs / "training" / "state.safetensors")
    for name in ("train_loss", "val_loss"):
        assert metrics(ours, name) == metrics(theirs, name)
    figures, expected = (json.loads((each / "config.json").read_text()) for each in (ours, theirs))
    del figures["training"]["minutes"], expected["training"]["minutes"]
    assert figures == expected
    assert "scored once" in figures["training"]["validation"]["method"]
    score = f"{figures['training']['validation']['nats_per_char']:.4f} nats"
    assert all(score in (each / "README.md").read_text() for each in (ours, theirs))


def metrics(directory: Path, name: str) -> dict[int, float]:
    lines = [json.loads(line) for line in (directory / "training" / "metrics.jsonl").read_text().splitlines()]
    values = [(line["step"], line[name]) for line in lines if name in line]
    assert all(step < later for (step, _), (later, _) in pairwise(values))
    return dict(values)


def files_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


# Learning


@pytest.mark.parametrize("cell", ["mingru", "lstm", "gru", "elman"])
def test_a_repeated_sentence_is_learned_by_heart(cell: str, train: Train, tmp_path: Path) -> None:
    text = tmp_path / "repeated.txt"
    text.write_text("The quick brown fox jumps over the lazy dog.\n" * 60)
    model = train(files=str(text), cell=cell, hidden_size=32, steps=250, batch_size=8, bptt_len=32, lr=0.02)
    assert model.score(text.read_text()).bits_per_char < 0.3
    assert "jumps over the lazy dog.\nThe" in model.generate("The quick brown fox", temperature=0.0)[0].text
    losses = metrics(tmp_path / "model", "train_loss")
    assert losses[250] < 0.1 * losses[1]


# What a run leaves


def test_a_model_directory_has_all_its_files_and_figures(train: Train, tmp_path: Path, text: Path) -> None:
    model = train(report=None)
    directory = tmp_path / "model"
    assert {str(path.relative_to(directory)) for path in files_of(directory)} == {
        *("config.json", "generation_config.json", "model.safetensors", "README.md", "tokenizer.json"),
        *("training/run.json", "training/state.safetensors", "training/metrics.jsonl"),
    }
    figures = json.loads((directory / "config.json").read_text())["training"]
    content = text.read_text()
    cut = int(len(content) * 0.9)
    assert (figures["train_chars"], figures["val_chars"]) == (cut, len(content) - cut)
    assert (figures["total_steps"], figures["device"], figures["precision"]) == (20, "cpu", "fp32")
    assert figures["text"] == "text.txt"
    assert figures["passes"] == pytest.approx(figures["step"] * 4 * 16 / cut)
    assert figures["validation"]["nats_per_char"] == pytest.approx(model.score(content[cut:]).nats_per_char)
    card = (directory / "README.md").read_text()
    assert f"{figures['validation']['nats_per_char']:.4f} nats" in card
    assert f"{cut:,} characters" in card


def test_a_validation_text_of_its_own_is_used_whole(train: Train, tmp_path: Path, text: Path) -> None:
    val = tmp_path / "val.txt"
    val.write_text("a cat ran on\n" * 40)
    model = train(val=str(val))
    figures = json.loads((tmp_path / "model" / "config.json").read_text())["training"]
    assert figures["train_chars"] == len(text.read_text())
    assert figures["validation"]["nats_per_char"] == pytest.approx(model.score(val.read_text()).nats_per_char)
    assert "a text of its own" in (tmp_path / "model" / "README.md").read_text()


def test_the_model_given_back_is_the_best_not_the_last(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, Tensor]] = []
    losses = iter([3.0, 2.0, 2.5, 2.6])

    def validate(self: LanguageModelObjective) -> float:
        kept.append({name: weight.detach().clone() for name, weight in self.model.named_parameters()})
        return next(losses)

    monkeypatch.setattr(LanguageModelObjective, "validate", validate)
    report = Stop()
    model = train(num_validations=6, patience=2, steps=30, report=report)
    assert len(kept) == 4
    for name, weight in model.network.named_parameters():
        assert torch.equal(weight, kept[1][name]), name
    figures = json.loads((tmp_path / "model" / "config.json").read_text())["training"]
    assert (figures["step"], figures["total_steps"]) == (10, 30)
    assert any("stopped early at step 20" in note for note in report.notes)
    with pytest.raises(UsageError, match="--resume"):
        train()


def test_the_seed_decides_the_run(train: Train, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("two", 2)):
        train(name, seed=seed, dropout=0.2)
    assert_same_run(tmp_path / "one", tmp_path / "same")
    weights = [load_tensors(tmp_path / name / "model.safetensors")[0]["head.weight"] for name in ("one", "two")]
    assert not torch.equal(*weights)


def test_validating_more_often_does_not_change_what_is_learned(train: Train, tmp_path: Path) -> None:
    """Nothing that validations and samples do reaches the training."""
    for name, count in (("few", 1), ("many", 10)):
        train(name, num_validations=count, dropout=0.2)
    assert_same_tensors(*(tmp_path / name / "training" / "state.safetensors" for name in ("few", "many")))


def test_a_run_of_some_minutes_is_the_run_of_as_many_steps(train: Train, tmp_path: Path) -> None:
    train("timed", minutes=0.01, size="tiny", lr=0.01)
    steps = json.loads((tmp_path / "timed" / "config.json").read_text())["training"]["total_steps"]
    train("counted", steps=steps, size="tiny", lr=0.01)
    assert_same_run(tmp_path / "timed", tmp_path / "counted")


OPEN: dict[str, Any] = dict.fromkeys(("hidden_size", "num_layers", "batch_size", "bptt_len", "num_validations"))


def test_more_minutes_make_larger_networks_and_no_shorter_steps(train: Train, tmp_path: Path) -> None:
    runs = []
    for minutes in (0.01, 1, 9):
        with pytest.raises(KeyboardInterrupt):
            train(str(minutes), minutes=minutes, report=Stop(1), **OPEN)
        run = json.loads((tmp_path / str(minutes) / "training" / "run.json").read_text())
        runs.append((run["network"]["hidden_size"] ** 2 * run["network"]["num_layers"], run["training"]["bptt_len"]))
    assert runs == sorted(runs)
    assert len(set(runs)) == 3


def test_what_is_asked_for_stands_whatever_the_budget(train: Train, tmp_path: Path) -> None:
    train(minutes=0.01, size="small", lr=0.001, **{**OPEN, "bptt_len": 48, "hidden_size": 8})
    run = json.loads((tmp_path / "model" / "training" / "run.json").read_text())
    assert run["network"]["size"] == "small"
    assert run["network"]["hidden_size"] == 8
    assert run["training"]["bptt_len"] == 48
    assert run["training"]["lr"] == 0.001


def test_dropout_grows_with_the_passes_over_the_text(train: Train) -> None:
    def rate(name: str, **settings: Any) -> float:
        report = Stop()
        train(name, report=report, **settings)
        note = next(note for note in report.notes if "dropout" in note)
        return float(re.search(r"dropout (\S+) and", note)[1])  # type: ignore[index]

    assert rate("few", epochs=0.2) == 0
    assert 0 < rate("many", epochs=8) < rate("more", epochs=16) <= 0.5
    assert rate("large", epochs=8, hidden_size=32) > rate("small", epochs=8, hidden_size=24)
    assert rate("asked", epochs=8, dropout=0.25) == 0.25


def test_ngrams_are_dropped_where_a_text_is_read_more_than_once(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, epochs in (("once", 0.9), ("again", 3)):
        train(name, epochs=epochs)
        with monkeypatch.context() as patch:
            patch.setattr(training, "ngram_dropout", lambda passes: 0.0)
            train(f"{name}, none dropped", epochs=epochs)
        weights = [load_tensors(tmp_path / run / "model.safetensors")[0] for run in (name, f"{name}, none dropped")]
        assert torch.equal(weights[0]["head.weight"], weights[1]["head.weight"]) == (name == "once")


# Going on after Ctrl-C


CELLS: dict[str, dict[str, Any]] = {
    "mingru": {"cell": "mingru", "dropout": 0.3},
    "lstm": {"cell": "lstm"},
    "three passes": {"cell": "lstm", "batch_size": 32},  # so that n-grams are dropped
}


@pytest.mark.parametrize("stops", [[1], [10], [20, 30], [40]], ids=str)
@pytest.mark.parametrize("settings", CELLS.values(), ids=CELLS)
def test_an_interrupted_and_resumed_run_is_the_undisturbed_one(
    settings: dict[str, Any], stops: list[int], train: Train, tmp_path: Path
) -> None:
    settings = settings | {"steps": 40, "num_layers": 2}
    train("undisturbed", **settings)
    with pytest.raises(KeyboardInterrupt):
        train("stopped", report=Stop(stops[0]), **settings)
    for stop in stops[1:]:
        with pytest.raises(KeyboardInterrupt):
            charrnn.resume(tmp_path / "stopped", report=Stop(stop))
    charrnn.resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "undisturbed")


@pytest.fixture
def stopped(train: Train, tmp_path: Path) -> Path:
    """A run that a Ctrl-C ended after its first validation."""
    with pytest.raises(KeyboardInterrupt):
        train("stopped", steps=40, num_validations=4, report=Stop(20))
    return tmp_path / "stopped"


@pytest.mark.parametrize("rewritten", [None, "short", "new text before it\n" * 300], ids=["gone", "cut", "longer"])
def test_resuming_needs_no_text_while_it_is_in_the_cache(rewritten: str | None, stopped: Path, text: Path) -> None:
    """And a text that is another by now is not what the weights are scored on."""
    if rewritten is None:
        text.unlink()
    else:
        text.write_text(rewritten + ("" if len(rewritten) < 10 else text.read_text()))
    report = Stop()
    model = charrnn.resume(stopped, report=report)
    assert max(metrics(stopped, "train_loss")) == 40
    assert any("no final score" in note for note in report.notes)
    assert len(model.generate(max_chars=10)[0].text) == 10


def test_resuming_without_the_cache_reads_the_text_again(
    stopped: Path, text: Path, train: Train, tmp_path: Path
) -> None:
    train("undisturbed", steps=40, num_validations=4)
    shutil.rmtree(os.environ["CHARRNN_CACHE"])
    charrnn.resume(stopped)
    assert_same_run(stopped, tmp_path / "undisturbed")


def test_a_text_that_moved_is_given_anew(stopped: Path, text: Path, train: Train, tmp_path: Path) -> None:
    train("undisturbed", steps=40, num_validations=4)
    (tmp_path / "elsewhere").mkdir()
    moved = text.rename(tmp_path / "elsewhere" / text.name)
    shutil.rmtree(os.environ["CHARRNN_CACHE"])
    with pytest.raises(CharrnnError, match=r"text\.txt"):
        charrnn.resume(stopped)
    charrnn.resume(stopped, [str(moved)])
    assert_same_run(stopped, tmp_path / "undisturbed")


def test_another_text_is_refused(stopped: Path, text: Path) -> None:
    before = files_of(stopped)
    text.write_text(text.read_text() + "!")
    with pytest.raises(UsageError, match="another"):
        charrnn.resume(stopped, [str(text)])
    shutil.rmtree(os.environ["CHARRNN_CACHE"])
    with pytest.raises(CharrnnError, match="changed"):
        charrnn.resume(stopped)
    assert files_of(stopped) == before


def test_resuming_a_run_that_has_ended_changes_nothing_but_says_so(train: Train, tmp_path: Path) -> None:
    model = train()
    before = files_of(tmp_path / "model")
    report = Stop()
    again = charrnn.resume(tmp_path / "model", report=report)
    assert any("has ended" in note for note in report.notes)
    assert files_of(tmp_path / "model") == before
    assert again.generate(seed=1) == model.generate(seed=1)


@pytest.mark.parametrize("name", ["run.json", "state.safetensors"])
def test_without_a_run_there_is_nothing_to_resume(name: str, stopped: Path) -> None:
    (stopped / "training" / name).unlink()
    with pytest.raises(UsageError, match="no run to resume"):
        charrnn.resume(stopped)


@pytest.mark.parametrize("name", ["training/state.safetensors", "training/run.json", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_run_is_refused_and_left_alone(share: float, name: str, stopped: Path) -> None:
    path = stopped / name
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    before = files_of(stopped)
    with pytest.raises(CharrnnError) as caught:
        charrnn.resume(stopped)
    assert "\n" not in str(caught.value)
    assert files_of(stopped) == before


# Kills


class Killed(BaseException):
    """What ends a run here as a kill would: nothing catches it."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """`kill_at(n, before)`: end the run just before (or after) the n-th file (from 0) is put in its place."""
    replace = os.replace

    def arm(n: int, before: bool) -> None:
        written = 0

        def replace_or_die(source: Path, target: Path) -> None:
            nonlocal written
            if written == n and before:
                left = f".{target.name}.{storage.HOST}-999999999.partial"  # as a kill leaves it
                shutil.copyfile(source, target.with_name(left))
                raise Killed
            replace(source, target)
            written += 1
            if written == n + 1:
                raise Killed

        monkeypatch.setattr(os, "replace", replace_or_die)

    return arm


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_a_kill_at_any_write_changes_nothing_in_the_end(
    before: bool, kill_at: Callable[[int, bool], None], monkeypatch: pytest.MonkeyPatch, train: Train, tmp_path: Path
) -> None:
    settings: Mapping[str, Any] = {"dropout": 0.3, "steps": 20}
    train("undisturbed", **settings)
    kills = 0
    while True:
        name = f"killed-{kills}"
        kill_at(kills, before)
        try:
            train(name, **settings)
        except Killed:
            monkeypatch.undo()
            monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
        else:
            break
        kills += 1
        if (tmp_path / name / "training" / "state.safetensors").exists():
            charrnn.resume(tmp_path / name)
        else:
            with pytest.raises(UsageError, match="no run to resume"):
                charrnn.resume(tmp_path / name)
            train(name, **settings)
        assert_same_run(tmp_path / name, tmp_path / "undisturbed")
        assert not list((tmp_path / name).rglob("*.partial"))
    assert kills > 12


# Refusals


def test_a_loss_that_explodes_keeps_the_best_weights(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_loss, calls = LanguageModelObjective.next_loss, iter(range(100))
    monkeypatch.setattr(
        LanguageModelObjective, "next_loss", lambda self: next_loss(self) * (1 if next(calls) < 25 else torch.nan)
    )
    with pytest.raises(CharrnnError, match=r"step 30.*lr=") as caught:
        train(steps=40, num_validations=4)
    assert "\n" not in str(caught.value)
    model = charrnn.load(tmp_path / "model")
    assert all(weight.isfinite().all() for weight in model.network.parameters())
    assert json.loads((tmp_path / "model" / "config.json").read_text())["training"]["step"] == 20


def test_a_learning_rate_far_too_great_is_noticed(train: Train) -> None:
    with pytest.raises(CharrnnError, match=r"step \d+.*lr="):
        train(cell="elman", activation="relu", lr=1e4, steps=60, max_grad_norm=1e6)


def test_a_directory_in_use_is_left_alone(train: Train, tmp_path: Path) -> None:
    train("model")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "config.json").write_text("{}")
    without_state = shutil.copytree(tmp_path / "model", tmp_path / "without_state")
    shutil.rmtree(without_state / "training")
    without_config = shutil.copytree(without_state, tmp_path / "without_config")
    (without_config / "config.json").unlink()
    for name in ("model", "foreign", "without_state", "without_config"):
        before = files_of(tmp_path / name)
        with pytest.raises(UsageError, match=str(tmp_path / name)):
            train(name)
        assert files_of(tmp_path / name) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 10, "epochs": 1.0}, "one budget"),
        ({"device": "abacus"}, "abacus"),
        ({"precision": "fp64"}, "fp64"),
        ({"cell": "rnn"}, "rnn"),
        ({"hiden_size": 4}, "hidden_size"),
        ({"val_fraction": 1.5}, "val_fraction"),
        ({"bptt_len": 100_000}, "too short"),
        ({"vocab": "word"}, "word"),
        ({"vocab_size": 17}, "too small"),
        ({"init_from": "nowhere"}, "nowhere"),
    ],
    ids=str,
)
def test_a_call_that_cannot_work_makes_nothing(
    settings: dict[str, Any], words: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        train("new", **settings)
    assert not (tmp_path / "new").exists()
