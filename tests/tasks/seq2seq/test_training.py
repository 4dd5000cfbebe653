"""Training runs from pairs to a model directory: what they leave, and going on after a stop."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import charrnn
from charrnn.checkpoint import load_tensors
from charrnn.errors import UsageError
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.tasks.seq2seq import training
from charrnn.tasks.seq2seq.inputs import Encoded
from charrnn.tasks.seq2seq.model import Seq2Seq
from charrnn.tasks.seq2seq.search import Hypothesis, SearchConfig
from charrnn.training.metrics import MetricsLog
from charrnn.training.trainer import METRICS, Progress, Report

Train = Callable[..., Seq2Seq]


class Stop(Report):
    """Sends this process a Ctrl-C at a step that is reported, counted from 1."""

    def __init__(self, number: int | None = None) -> None:
        self.number = number
        self.count = 0
        self.notes: list[str] = []

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        self.count += 1
        if self.count == self.number:
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.notes.append(text)


def files_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def figures_of(directory: Path) -> dict[str, Any]:
    report = json.loads((directory / "report.json").read_text())
    del report["seconds"]
    return report  # type: ignore[no-any-return]


@pytest.fixture
def writer(tmp_path: Path) -> LanguageModel:
    text = tmp_path / "text.txt"
    text.write_text("ABC CAB BÉ AAB\n" * 200, encoding="utf-8")
    tiny = {"cell": "mingru", "hidden_size": 16, "num_layers": 2, "steps": 5, "device": "cpu", "precision": "fp32"}
    return charrnn.train(text, output=tmp_path / "writer", **tiny)


def test_a_run_starts_from_a_language_model(writer: LanguageModel, tmp_path: Path, train: Train) -> None:
    model = train(
        init_from=tmp_path / "writer", hidden_size=None, members=2, steps=1, lr=1e-12, weight_decay=0.0, averaging=0.0
    )
    assert "ensemble of 2" in (tmp_path / "model" / "README.md").read_text()
    decoder, given = model.network.networks[-1].decoder, writer.network
    for (name, weight), expected in zip(
        decoder.layers[0].named_parameters(), given.layers[0].parameters(), strict=True
    ):
        assert torch.allclose(weight, expected, atol=1e-6), name
    for letter in "ABCÉ":
        own, other = model.sides.target.vocab.tokens.index(letter), writer.vocab.tokens.index(letter)
        assert torch.allclose(decoder.embedding.weight[own], given.embedding.weight[other], atol=1e-6)
    for misfit in ({"hidden_size": 32}, {"hidden_size": None, "cell": "gru"}):
        with pytest.raises(UsageError, match="can't start a network"):
            train("misfit", init_from=tmp_path / "writer", **misfit)
    assert not (tmp_path / "misfit").exists()


def test_a_directory_has_all_its_files_and_the_report_its_figures(trained: Path) -> None:
    assert files_of(trained) == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_target.json", "generation_config.json"),
        *("README.md", "report.json", "report.txt", "training/run.json", "training/state.safetensors"),
        *("training/metrics.jsonl", "joint.safetensors"),
    }
    config, report = (json.loads((trained / name).read_text()) for name in ("config.json", "report.json"))
    assert (config["model_type"], config["task"]) == ("seq2seq", "translate")
    assert report["test"]["pairs"] == 30
    assert config["training"]["test"]["exact_match"] == report["test"]["exact_match"] > 0.1
    text, card = (trained / "report.txt").read_text(), (trained / "README.md").read_text()
    for part in ("validation", "test"):
        for figure in ("exact_match", "symbol_error_rate"):
            shown = f"{100 * report[part][figure]:.2f} %"
            assert shown in text
            assert shown in card


def test_what_is_left_open_suits_pairs_and_task(train: Train) -> None:
    words = {"source_vocab": "subword", "target_vocab": "subword"}
    chars, subwords = (train(f"{len(kinds)}", steps=1, dropout=None, **kinds).network.config for kinds in ({}, words))
    assert cast(float, chars.dropout) < cast(float, subwords.dropout)
    assert chars.lexicon > 0
    summarizer = train("summarizer", task="summarize", steps=1).network.config
    assert summarizer.lexicon == 0
    assert summarizer.max_source < chars.max_source


@pytest.mark.parametrize(
    ("settings", "rewarded"),
    [
        ({"task": "summarize", "minutes": 0.02}, training.REWARDED),
        ({"task": "summarize", "minutes": 0.02, "rewarded": 0.0}, 0.0),
        ({"task": "summarize", "steps": 2}, 0.0),
        ({"task": "translate", "minutes": 0.02}, 0.0),
    ],
    ids=str,
)
def test_a_summarizer_with_ample_time_learns_from_what_it_writes(
    settings: dict[str, Any], rewarded: float, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.tasks.seq2seq.training.REWARDED_MINUTES", 1.0)  # 300 pairs of a dozen entries each
    train(**settings)
    run = json.loads((tmp_path / "model" / "training" / "run.json").read_text())
    assert run["objective"]["rewarded"] == rewarded
    assert (tmp_path / "model" / "training" / "reward").exists() == (rewarded > 0)


@pytest.mark.parametrize(("taken", "left"), [(30, 0.5), (45, 0.25), (50, 1 / 6), (70, 0.125)])
def test_rewards_have_what_is_left_of_the_time(
    taken: float, left: float, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[float | None] = []

    class Quick(training.Trainer):
        """Makes two steps, as if they took so many seconds."""

        def plan(self) -> None:
            budgets.append(self.config.minutes)
            self.config = replace(self.config, minutes=None, steps=2)
            super().plan()

        def run(self) -> Progress:
            super().run()
            self.progress.seconds = taken
            return self.progress

    monkeypatch.setattr(training, "Trainer", Quick)
    train(task="summarize", minutes=1.0, rewarded=0.25)
    assert budgets == [pytest.approx(0.75), pytest.approx(left)]


def test_a_summarizer_in_haste_does_not(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.tasks.seq2seq.training.REWARDED_MINUTES", 100.0)
    train(task="summarize", minutes=0.02)
    assert not (tmp_path / "model" / "training" / "reward").exists()


def test_a_summary_repeats_no_row_that_summaries_hardly_repeat() -> None:
    def encoded(*rows: list[int]) -> Encoded:
        targets = [np.array([0, *row, 0]) for row in rows]
        return Encoded(targets, targets)

    plain, two, three = [1, 2, 1, 3, 1, 4], [1, 2, 3, 1, 2], [1, 2, 3, 4, 1, 2, 3]  # entries in a row that come twice
    assert training._rarely_repeated(encoded(*[plain] * 96, *[two] * 4)) == 2
    assert training._rarely_repeated(encoded(*[plain] * 90, *[two] * 6, *[three] * 4)) == 3
    assert training._rarely_repeated(encoded(three)) == 4
    assert training._rarely_repeated(encoded([1] * 100_000)) is None
    assert training._rarely_repeated(encoded([1])) == 2


def test_rewards_that_do_harm_leave_what_was_learned(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charrnn.tasks.seq2seq.training.REWARDED_RATE", 30.0)
    train("rewarded", steps=160, num_validations=8, rewarded=0.5)
    train("alone", steps=80, num_validations=8)
    ours, theirs = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("rewarded", "alone"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    lines = MetricsLog(tmp_path / "rewarded" / "training" / "reward" / METRICS).read()
    assert [line["step"] for line in lines if "val_loss" in line] == [20, 40, 60, 80]  # it is not given up early


def test_of_long_targets_the_beginning_is_learned_and_that_is_told(train: Train) -> None:
    notes = Stop()
    train(steps=1, max_target=2, report=notes)
    assert any("more than 2 entries (max_target)" in note for note in notes.notes)


def test_another_tasks_run_is_not_resumed(train: Train, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("parts", report=Stop(3))
    with pytest.raises(UsageError, match="trains no classifier"):
        charrnn.resume_classifier(tmp_path / "parts")


@pytest.mark.parametrize(
    ("from_writer", "members", "rewarded", "at"),
    [(False, 1, 0.0, 3), (True, 1, 0.0, 3), (False, 2, 0.0, 3), (False, 2, 0.5, 2), (False, 2, 0.5, 6)],
)
def test_a_run_that_was_stopped_and_resumed_is_the_run_undisturbed(
    from_writer: bool,
    members: int,
    rewarded: float,
    at: int,
    writer: LanguageModel,
    train: Train,
    use_threads: Callable[[int], None],
    tmp_path: Path,
) -> None:
    use_threads(members)  # so that an ensemble's networks run side by side
    settings = {"num_validations": 3, "steps": 16, "dropout": 0.2, "members": members, "rewarded": rewarded}
    settings |= {"init_from": tmp_path / "writer"} if from_writer else {}
    train("whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        train("parts", report=Stop(at), **settings)
    assert (tmp_path / "parts" / "training" / "reward").exists() == (at == 6)
    charrnn.resume_seq2seq(tmp_path / "parts")
    whole, parts = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert figures_of(tmp_path / "parts") == figures_of(tmp_path / "whole")
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_finished_run_is_not_run_again(trained: Path) -> None:
    notes = Stop()
    before = (trained / "model.safetensors").stat().st_mtime_ns
    assert charrnn.resume_seq2seq(trained, report=notes).task == "translate"
    assert notes.notes == ["this run has ended: nothing to resume"]
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "settings",
    [
        {"shared": True, "cell": "lstm", "epochs": 1.0},
        {"source_vocab": "subword", "target_vocab": "symbol", "vocab_size": 270},
        {"task": "summarize", "source_vocab": "subword", "target_vocab": "subword", "shared": True, "vocab_size": 270},
        {"minutes": 0.01, "cell": "gru", "label_smoothing": 0.0},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_every_kind_of_run_ends_with_a_model(settings: dict[str, Any], train: Train, tmp_path: Path) -> None:
    model = train(**settings)
    loaded = charrnn.load(tmp_path / "model", device="cpu")
    assert loaded.translate(["ab", "é"]) == model.translate(["ab", "é"])
    assert loaded.search == model.search
    assert loaded.search.no_repeat_ngram == (2 if "task" in settings else None)
    assert not {"bleu", "rouge_1"} & figures_of(tmp_path / "model")["validation"].keys()  # of single words


def test_of_many_validation_sources_some_are_drawn_with_all_their_targets(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "WATCHED_PAIRS", 14)
    rows = [f"{letter}{i}\t{letter}{answer}" for letter in "abc" for i in range(5) for answer in "xyz"]
    (val := tmp_path / "val.tsv").write_text("\n".join(["source\ttarget", *rows]))
    train(val=val, steps=1)
    part = figures_of(tmp_path / "model")["validation"]
    assert (part["sources"], part["pairs"]) == (4, 12)


def test_two_files_are_trained_on_as_a_table_is(train: Train, pairs: Path, tmp_path: Path) -> None:
    rows = [line.split("\t") for line in pairs.read_text().splitlines()[1:]]
    files = [tmp_path / "a.src", tmp_path / "a.tgt"]
    for i, file in enumerate(files):
        file.write_text("".join(f"{row[i]}\n" for row in rows))
    one, two = train("one", steps=2), train("two", files, steps=2, val=None)
    assert one.translate("abc") == two.translate("abc")
    train("three", steps=2, val=files)
    assert json.loads((tmp_path / "three" / "config.json").read_text())["training"]["split"] == "given"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bptt_len": 64}, "max_source"),
        ({"compile": True}, "compile"),
        ({"widht": 16}, "unknown setting"),
        ({"hiden_size": 16}, "did you mean 'hidden_size'"),
        ({"copy": True}, "copy needs a vocabulary"),
        ({"target_column": "tagret"}, "did you mean 'target'"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"beam": 0}, "beam"),
        ({"val": "missing.tsv"}, "missing.tsv"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    settings: dict[str, Any], words: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        train(**settings)
    assert not (tmp_path / "model").exists()


def test_runs_of_other_kinds_are_told_apart(trained: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds"):
        charrnn.train_seq2seq(pairs, trained)
    with pytest.raises(UsageError, match="no run to resume"):
        charrnn.resume_seq2seq(tmp_path / "nothing")
    with pytest.raises(UsageError, match="classifier"):
        charrnn.resume_classifier(trained)


def joint_settings(folder: Path) -> tuple[bool, float]:
    """Whether a joint-sequence model was saved, and its weight."""
    search = json.loads((folder / "generation_config.json").read_text())
    return (folder / "joint.safetensors").exists(), search["joint_weight"]


def test_a_joint_model_is_kept_where_it_helps(trained: Path, model: Seq2Seq) -> None:
    saved, weight = joint_settings(trained)
    assert saved
    assert weight > 0
    assert f"weight {weight:g}" in (trained / "README.md").read_text()
    words = ["".join(letters) for letters in itertools.product("abcé", repeat=3)]
    alone, both = (
        sum(found.text == word.upper() for word, found in zip(words, model.translate(words, **search), strict=True))
        for search in ({"joint_weight": 0.0}, {})
    )
    assert both > alone


def test_a_joint_model_is_given_or_left_out_as_asked(tmp_path: Path, train: Train) -> None:
    model = train("without", joint_weight=0.0)
    assert joint_settings(tmp_path / "without") == (False, 0.0)
    assert "joint" not in (tmp_path / "without" / "README.md").read_text()
    with pytest.raises(UsageError, match="no joint-sequence model"):
        model.translate("abc", joint_weight=0.5)
    train("with", joint_weight=0.125)
    assert joint_settings(tmp_path / "with") == (True, 0.125)
    with pytest.raises(UsageError, match="entry by entry"):
        train("subwords", joint_weight=0.5, source_vocab="subword")
    assert not (tmp_path / "subwords").exists()


def test_a_network_without_mistakes_gets_no_joint_model(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(self: Seq2Seq, sources: list[Any], config: SearchConfig, num_best: int) -> list[list[Hypothesis]]:
        said = [self.sides.target.encode([self.sides.source.decode(ids[1:-1]).upper()])[0] for ids in sources]
        return [[Hypothesis(tuple(ids[1:-1].tolist()), 0.0, 0.0)] for ids in said]

    monkeypatch.setattr(Seq2Seq, "hypotheses", find)
    train("right")
    assert joint_settings(tmp_path / "right") == (False, 0.0)
