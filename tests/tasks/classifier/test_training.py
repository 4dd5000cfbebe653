"""Training runs from labelled texts to a model directory: what they leave, and going on after a stop."""

import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import charrnn
from charrnn.checkpoint import load_tensors, network_tensors
from charrnn.errors import UsageError
from charrnn.tasks.classifier import beside_training, training
from charrnn.tasks.classifier.data import Example
from charrnn.tasks.classifier.inputs import logits_of
from charrnn.tasks.classifier.model import Classifier
from charrnn.training.trainer import Progress, Report

Train = Callable[..., Classifier]
StopAt = Callable[..., Any]


def files_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def figures_of(directory: Path) -> dict[str, Any]:
    report = json.loads((directory / "report.json").read_text())
    del report["seconds"]
    return report  # type: ignore[no-any-return]


def test_a_directory_has_all_its_files_and_the_report_its_figures(trained: Path, classifier: Classifier) -> None:
    assert files_of(trained) == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_subword.json", "README.md"),
        *("report.json", "report.txt", "training/run.json", "training/state.safetensors", "training/metrics.jsonl"),
        *(f"training/pretraining/{name}" for name in ("state.safetensors", "metrics.jsonl", "encoders.safetensors")),
    }
    config = json.loads((trained / "config.json").read_text())
    assert (config["model_type"], config["labels"]) == ("classifier", ["animal", "food", "tool"])
    report = json.loads((trained / "report.json").read_text())
    assert report["test"]["texts"] == 40
    assert config["training"]["test"]["accuracy"] == report["test"]["accuracy"]
    text, card = (trained / "report.txt").read_text(), (trained / "README.md").read_text()
    for part in ("validation", "test"):
        assert f"{100 * report[part]['accuracy']:.2f} %" in text
        assert f"accuracy {100 * report[part]['accuracy']:.1f} %" in card


def test_both_vocabularies_are_readable_by_others(trained: Path, classifier: Classifier) -> None:
    from tokenizers import Tokenizer

    for name, file in (("char", "tokenizer.json"), ("subword", "tokenizer_subword.json")):
        ids = Tokenizer.from_file(str(trained / file)).encode("naïve owl").ids
        assert ids == classifier.vocabs[name].encode("naïve owl").tolist()


@pytest.mark.parametrize("stops", [(2,), (6,), (2, 6)], ids=["while reading", "while labelling", "in both"])
def test_a_run_that_was_stopped_and_resumed_is_the_run_undisturbed(
    stops: tuple[int, ...], train: Train, tmp_path: Path, stop_at: StopAt
) -> None:
    settings = {"num_validations": 3, "steps": 16, "pretraining": 0.5, "reading": 0.5}
    train("whole", **settings)
    stop = stop_at(*stops)
    with pytest.raises(KeyboardInterrupt):
        train("parts", report=stop, **settings)
    for _ in stops[1:]:
        with pytest.raises(KeyboardInterrupt):
            charrnn.resume_classifier(tmp_path / "parts", report=stop)
    charrnn.resume_classifier(tmp_path / "parts")
    whole, parts = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    assert figures_of(tmp_path / "parts") == figures_of(tmp_path / "whole")
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_unknown_words_are_read_as_known_ones_where_it_helps(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    """With words that must be known as a whole it does; where the last letter tells all, and the known words that are
    nearest have another, it does not."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcd", k=7)) for _ in range(150)]
    names = [f"{one}{two}{draw.choice('ao')}" for one, two in itertools.product("bcdfghjklm", "npqrstvwxz")]
    strangers = [name[:2] + ("o" if name[2] == "a" else "a") for name in names]
    rows = {
        True: [f"{'odd' if i % 2 else 'even'}\t{word} {k}" for k in range(3) for i, word in enumerate(words)],
        False: 4 * [f"{name[2]}\t{name}" for name in names],
    }
    val = tmp_path / "strangers.tsv"
    val.write_text("\n".join(["label\ttext", *(f"{name[2]}\t{name}" for name in strangers)]))
    for helps, lines in rows.items():
        texts, notes = tmp_path / f"{helps}.tsv", stop_at()
        texts.write_text("\n".join(["label\ttext", *lines]))
        model = train(f"model {helps}", texts, val=None if helps else val, report=notes)
        (note,) = (note for note in notes.notes if note.startswith("unknown words"))
        with_it, without = map(float, re.findall(r"\d+\.\d+", note))
        assert (with_it < without) == helps
        assert (model.beside.linear.spelling is not None) == helps
        loaded = charrnn.load(tmp_path / f"model {helps}", device="cpu")
        spoiled = [words[0][1:], "xpa"]
        assert torch.equal(loaded.probabilities(spoiled), model.probabilities(spoiled))
    network = train("subwords", tmp_path / "True.tsv", views="subword")
    (spoiled_logits, logits), _ = network.scores([words[0][1:], words[0]])[:2]
    alone = logits_of(network.network, [words[0][1:]], network.vocabs, "fp32")[0]
    assert torch.allclose(spoiled_logits, (alone + 2 * logits) / 3, atol=1e-5)  # the network reads it so too
    with pytest.raises(KeyboardInterrupt):
        train("parts", tmp_path / "True.tsv", report=stop_at(2))
    charrnn.resume_classifier(tmp_path / "parts")
    whole, parts = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("model True", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    notes = stop_at()
    assert train("without", tmp_path / "True.tsv", spelling=False, report=notes).beside.linear.spelling is None
    assert not [note for note in notes.notes if note.startswith("unknown words")]


def test_while_labels_are_learned_texts_are_read_on(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    for name, settings, weight in (("usual", {}, 0.5), ("without", {"reading": 0}, 0), ("asked", {"reading": 2}, 2)):
        stop = stop_at()
        train(name, report=stop, **settings)
        run = json.loads((tmp_path / name / "training" / "run.json").read_text())
        assert run["objective"]["reading"] == weight
        assert (f"learning the labels, and to read, at weight {weight:g} in the loss" in stop.notes) == (weight > 0)


def test_classes_have_models_of_their_own_unless_they_are_many(
    train: Train, tmp_path: Path, trained: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    ngrams = classifier.beside.ngrams
    assert ngrams is not None
    assert len(ngrams.models) == len(classifier.labels)
    assert "n-grams of each class" in (trained / "report.txt").read_text()
    assert "n-gram model of each label" in (trained / "README.md").read_text()
    assert train("asked", class_chars=0).beside.ngrams is None
    monkeypatch.setattr(beside_training, "MOST_CLASSES", len(classifier.labels) - 1)
    assert train("many").beside.ngrams is None
    for name in ("asked", "many"):
        assert "n-gram model of each" not in (tmp_path / name / "README.md").read_text()
        alone = json.loads((tmp_path / name / "report.json").read_text())["alone"]
        assert alone.keys() == {"network", "linear"}
        assert charrnn.load(tmp_path / name).probabilities(["owl"]).shape == (1, len(classifier.labels))


def test_openings_are_used_where_they_help(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    """The first word turns the meaning of the last, far from it; or the last word alone tells all."""
    draw = random.Random(0)
    fillers = ["north", "south", "west", "east", "up", "down"]
    texts = [(first, draw.sample(fillers, 5), last) for first in ("is", "not") for last in ("hot", "cold") * 40]
    rows = {
        True: [
            f"{(first == 'is') == (last == 'hot')}\t{first} {' '.join(between)} {last}"
            for first, between, last in texts
        ],
        False: [f"{last == 'hot'}\t{first} {' '.join(between)} {last}" for first, between, last in texts],
    }
    for helps, lines in rows.items():
        draw.shuffle(lines)
        path, notes = tmp_path / f"{helps}.tsv", stop_at()
        path.write_text("\n".join(["label\ttext", *lines]))
        model = train(f"model {helps}", path, spelling=False, report=notes)
        (note,) = (note for note in notes.notes if note.startswith("pairs with the first words"))
        with_it, without = map(float, re.findall(r"\d+\.\d+", note))
        assert (with_it < without) == helps
        assert model.beside.linear.config.openings == helps
        loaded = charrnn.load(tmp_path / f"model {helps}", device="cpu")
        assert torch.equal(loaded.probabilities(["is north hot"]), model.probabilities(["is north hot"]))
    assert not train("without", tmp_path / "True.tsv", openings=False).beside.linear.config.openings


def test_copies_with_mistakes_go_with_spelling_and_are_bounded(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, bool]] = []
    fit = beside_training.LinearModel.fit

    def watch(points: Any, starts: Any, belongs: Any, *arguments: Any, **options: Any) -> Any:
        calls.append((len(belongs), len(starts) - 1 - len(belongs), options["spelling"] is not None))
        return fit(points, starts, belongs, *arguments, **options)

    monkeypatch.setattr(beside_training.LinearModel, "fit", watch)
    monkeypatch.setattr(beside_training, "NOISY_TEXTS", 500)
    learn = beside_training.BesideTraining._spelling
    monkeypatch.setattr(
        beside_training.BesideTraining, "_spelling_that_helps", lambda training, _: learn(training, training.texts)
    )
    train("usual", openings=False)
    train("two", openings=False, noisy_copies=2)
    train("none", openings=False, noisy_copies=0)
    train("to the letter", openings=False, spelling=False)
    monkeypatch.setattr(beside_training, "NOISY_TEXTS", 10)
    train("many", openings=False)
    copies = [(noisy / texts, spelled) for texts, noisy, spelled in calls]
    plain = (0.0, False)
    assert copies == [
        *(plain, (3.0, True), (3.0, True)),  # of 144 texts and, at the end, of 160
        *(plain, (2.0, True), (2.0, True)),
        *(plain, (0.0, True), (0.0, True)),
        *(plain, plain),
        *(plain, (1.0, True), (1.0, True)),
    ]


def test_by_default_a_run_takes_what_its_texts_are_worth_and_is_left() -> None:
    assert training.default_minutes(1, 0) == 1
    assert training.default_minutes(1080, 0) == training.default_minutes(1080, 4) == 3
    assert training.default_minutes(10**6, 0.5) == 7
    assert training.default_minutes(10**6, 5) == 2.5
    assert training.default_minutes(10**6, 60) == training.default_minutes(10, 60) == 1


def test_by_default_few_texts_are_read_more_often_but_not_more_in_all() -> None:
    assert [training.default_epochs(number) for number in (100, 3000, 10**6)] == [900, 30, 30]


def test_a_run_without_a_budget_has_the_minutes_that_are_left_also_after_a_stop(
    train: Train, tmp_path: Path, stop_at: StopAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: list[float] = []

    def least(num_texts: int, minutes: float) -> float:
        spent.append(minutes)
        return 0.02

    monkeypatch.setattr(training, "default_minutes", least)
    with pytest.raises(KeyboardInterrupt):
        train("parts", steps=None, pretraining=0.5, report=stop_at(2))
    charrnn.resume_classifier(tmp_path / "parts")
    assert len(spent) == 1
    assert 0 < spent[0] < 10
    run = json.loads((tmp_path / "parts" / "training" / "run.json").read_text())
    assert (run["training"]["minutes"], run["training"]["epochs"]) == (0.02, training.default_epochs(144))
    assert not run["training"]["steps"]


def test_half_a_character_in_a_text_is_no_obstacle(train: Train, tmp_path: Path) -> None:
    rows = [{"text": f"{kind} {i} \ud83d", "label": kind} for kind in ("a", "b\ud83d") for i in range(20)]
    (tmp_path / "cut.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert train("cut", tmp_path / "cut.jsonl").classify("a 3 \ud83d")[0].label in ("a", "b?")


def test_a_finished_run_is_not_run_again(trained: Path, stop_at: StopAt) -> None:
    notes = stop_at()
    before = (trained / "model.safetensors").stat().st_mtime_ns
    model = charrnn.resume_classifier(trained, report=notes)
    assert model.labels == ("animal", "food", "tool")
    assert notes.notes == ["this run has ended: nothing to resume"]
    assert (trained / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "settings",
    [
        {"views": "char", "pretraining": 0.3, "num_readers": 2},
        {"views": "subword", "cell": "lstm", "balanced": True},
        {"epochs": 2.0, "refit": False, "noisy_copies": 2},
        {"minutes": 0.02},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_every_kind_of_run_ends_with_a_classifier(settings: dict[str, Any], train: Train, tmp_path: Path) -> None:
    model = train(**settings)
    loaded = charrnn.load(tmp_path / "model", device="cpu")
    assert torch.equal(loaded.probabilities(["a cat", "soup"]), model.probabilities(["a cat", "soup"]))
    assert figures_of(tmp_path / "model")["validation"]["accuracy"] > 0.5


def test_any_number_of_labels_is_learned(train: Train, tmp_path: Path) -> None:
    lines = []
    for i in range(200):
        labels = [name for name, bit in (("red", 1), ("big", 2), ("old", 4)) if i & bit]
        lines.append(json.dumps({"text": f"thing {i % 13} {' '.join(labels)}", "labels": labels}))
    path = tmp_path / "things.jsonl"
    path.write_text("\n".join(lines))
    model = train(texts=path, multi_label=True, steps=20)
    assert model.beside.ngrams is None
    found = model.classify(["thing 3 red old", "thing 4 big", "thing 5"])
    assert [{label for label, _ in each.ranking} for each in found] == [{"red", "old"}, {"big"}, set()]
    assert (found[2].label, found[2].probability) == (None, None)
    assert [len(each.ranking) for each in model.classify(["thing 5"], top=2)] == [2]
    report = figures_of(tmp_path / "model")["validation"]
    assert report["accuracy"] > 0.9
    assert report["micro_f1"] > 0.9
    assert "confusion" not in report
    assert model.explain("thing 7 red").label == "red"


@pytest.mark.parametrize(("vocab", "view"), [("char", "char"), ("subword", "subword")])
def test_a_language_model_is_where_its_view_starts(
    vocab: str, view: str, train: Train, labelled: Path, tmp_path: Path
) -> None:
    tiny = {"hidden_size": 16, "num_layers": 2, "batch_size": 4, "bptt_len": 16, "steps": 5, "device": "cpu"}
    base = charrnn.train(str(labelled), tmp_path / "base", vocab=vocab, precision="fp32", **tiny)
    taken: dict[str, torch.Tensor] = {}

    class Look(Report):
        def start(self, progress: Progress, units: Any) -> None:
            if not taken:
                state = load_tensors(tmp_path / "model" / "training" / "pretraining" / "state.safetensors")[0]
                taken.update(state)

    layers = {f"{view}_layers": 2}
    model = train(model=tmp_path / "base", report=Look(), steps=4, **layers)
    assert model.vocabs[view].definition == base.vocab.definition  # type: ignore[index]
    assert (base.network.ngrams is None) == (vocab == "subword")
    for name, weight in network_tensors(base.network).items():
        place = ("char", "subword").index(view)
        if name == "head.weight" and view == "subword":
            continue  # they are predicted by their embeddings
        own_head = name.startswith("head.")
        ours = f"model.heads.{place}.0.{name[5:]}" if own_head else f"model.views.{place}.forwards.{name}"
        assert torch.equal(taken[ours], weight), name
    assert not [name for name in taken if "backwards.ngrams" in name]  # they would show what is to be predicted
    with pytest.raises(UsageError, match="n-grams are those of a language model"):
        train("other", **{f"{view}_ngrams": 5})
    with pytest.raises(UsageError, match=f"leave {view}_width out"):
        train("other", model=tmp_path / "base", **{f"{view}_width": 24})
    for name, usual in (("cell", "mingru"), (f"{view}_layers", 1)):  # what there is without a model
        with pytest.raises(UsageError, match=f"leave {name} out"):
            train("other", model=tmp_path / "base", **{name: usual})
    with pytest.raises(UsageError, match="views must be"):
        train("other", model=tmp_path / "base", views="char" if view == "subword" else "subword", **layers)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bptt_len": 5000}, "bptt_len must be at most"),
        ({"compile": True}, "compile"),
        ({"view": "char"}, "did you mean 'views'"),
        ({"views": "words"}, "both"),
        ({"noise": 2.0}, "noise"),
        ({"min_chars": 9}, "min_chars"),
        ({"noisy_copies": -1}, "noisy_copies"),
        ({"self_training": float("inf")}, "self_training must be a number from 0 on, not inf"),
        ({"reading": -0.5}, "reading"),
        ({"reading": float("inf")}, "reading"),
        ({"label_column": "lable"}, "did you mean 'label'"),
        ({"model": "missing"}, "missing"),
        ({"unlabelled": "missing"}, "missing: no such file"),
        ({"label_separator": ","}, "multi_label"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(
    settings: dict[str, Any], words: str, train: Train, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=words):
        train(**settings)
    assert not (tmp_path / "model").exists()


def test_runs_of_other_kinds_are_told_apart(train: Train, trained: Path, labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already holds"):
        charrnn.train_classifier(labelled, trained)
    with pytest.raises(UsageError, match="no run to resume"):
        charrnn.resume_classifier(tmp_path / "nothing")
    with pytest.raises(UsageError, match="classifier"):
        charrnn.resume(trained)


def test_validation_texts_of_their_own_are_used(
    train: Train, tmp_path: Path, some_examples: Callable[..., list[Example]]
) -> None:
    val = tmp_path / "val.tsv"
    rows = [f"{example.labels[0]}\t{example.text}" for example in some_examples(30, seed=5)]
    val.write_text("\n".join(["label\ttext", *rows]))
    train(val=val, steps=4)
    assert figures_of(tmp_path / "model")["validation"]["texts"] == 30
    assert json.loads((tmp_path / "model" / "config.json").read_text())["training"]["split"] == "given"


@pytest.mark.slow
def test_a_thousand_labels_are_learned_and_said(train: Train, tmp_path: Path) -> None:
    labels = [f"intent{i}" for i in range(1000)]
    rows = [f"{label}\tplease do {label} number {copy}" for label in labels for copy in range(4)]
    (tmp_path / "many.tsv").write_text("\n".join(["label\ttext", *rows]))
    model = train("many", tmp_path / "many.tsv", steps=4)
    assert model.labels == tuple(sorted(labels))
    found = model.classify([f"do {label}" for label in labels])
    assert sum(each.label == label for each, label in zip(found, labels, strict=True)) > 900
