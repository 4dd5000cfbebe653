"""Training runs that are given text without labels: what they learn from it where it helps, also after a stop."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import charrnn
from charrnn.checkpoint import load_tensors
from charrnn.errors import UsageError
from charrnn.tasks.classifier import beside_training, training
from charrnn.tasks.classifier.model import Classifier

Train = Callable[..., Classifier]
StopAt = Callable[..., Any]


def test_words_of_text_without_labels_are_known_also_after_a_stop(
    train: Train, tmp_path: Path, stop_at: StopAt
) -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcd", k=7)) for _ in range(160)]
    rows = [f"{'odd' if i % 2 else 'even'}\t{word} {k}" for k in range(3) for i, word in enumerate(words[:150])]
    (tmp_path / "texts.tsv").write_text("\n".join(["label\ttext", *rows]))
    text = tmp_path / "text.txt"
    text.write_text("\n".join(words[150:]))
    train("whole", tmp_path / "texts.tsv", unlabelled=text)
    with pytest.raises(KeyboardInterrupt):
        train("parts", tmp_path / "texts.tsv", unlabelled=text, report=stop_at(2))
    text.unlink()
    spelling = charrnn.resume_classifier(tmp_path / "parts").beside.linear.spelling
    assert spelling is not None
    assert set(spelling.counts.words).issuperset(words)
    assert not (tmp_path / "parts" / "training" / "known_words.safetensors").exists()
    whole, parts = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_what_words_mean_is_used_where_it_helps(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    """No letter tells one kind from the other, but what stands around them elsewhere does; also after a stop."""
    nouns = ["".join(letters) for letters in itertools.product("bdgk", "aeiou", "lmnr", "aeiou")]
    random.Random(0).shuffle(nouns)
    kinds = {"animal": (nouns[:60], "the {} eats and sleeps"), "tool": (nouns[60:120], "use one {} on wood")}
    labelled, text = tmp_path / "nouns.tsv", tmp_path / "text.txt"
    labelled.write_text(
        "\n".join(["label\ttext", *(f"{label}\t{noun}" for label, (own, _) in kinds.items() for noun in own)])
    )
    text.write_text("\n".join(3 * [frame.format(noun) for own, frame in kinds.values() for noun in own]))
    train("whole", labelled, unlabelled=text)
    stop = stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        train("parts", labelled, unlabelled=text, report=stop)
    text.unlink()
    parts = charrnn.resume_classifier(tmp_path / "parts")
    assert parts.beside.linear.words is not None
    assert sum(note.startswith("what words mean: ") for note in stop.notes) == 1
    assert "the meaning of" in (tmp_path / "parts" / "README.md").read_text()
    assert not (tmp_path / "parts" / "training" / "words.safetensors").exists()
    whole, resumed = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == resumed.keys()
    assert not [name for name, tensor in whole.items() if not torch.equal(tensor, resumed[name])]
    loaded = charrnn.load(tmp_path / "parts", device="cpu")
    assert torch.equal(loaded.probabilities(nouns), parts.probabilities(nouns))


def write_mixed_words(folder: Path) -> dict[str, Path]:
    """Two languages of two dialects each: labelled words are of the first dialects, validation words of the second, and
    text without labels has both, each language in lines of its own."""
    draw = random.Random(0)
    syllables = {"south": ("ka ko ta to", "zu zo bu bo"), "north": ("mi me li le", "wi we fi fe")}

    def word(of: str) -> str:
        return "".join(draw.choices(of.split(), k=3))

    parts = {
        "train": [f"{label}\t{word(first)}" for _ in range(60) for label, (first, _) in syllables.items()],
        "val": [f"{label}\t{word(second)}" for _ in range(30) for label, (_, second) in syllables.items()],
    }
    lines = [f"{word(of)}, {word(other)} {word(of)}" for _ in range(99) for own in syllables.values()
             for of, other in (own, own[::-1])]  # fmt: skip
    paths = {name: folder / f"{name}.tsv" for name in (*parts, "text")}
    for name, rows in parts.items():
        paths[name].write_text("\n".join(["label\ttext", *dict.fromkeys(rows)]))
    paths["text"].write_text("\n".join(lines))
    return paths


@pytest.mark.parametrize("order", [3, 0])
def test_texts_without_labels_are_learned_from_where_it_helps(
    order: int, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: StopAt
) -> None:
    """Words of a kind that no labelled word shows are known by their company; also after a stop."""
    paths = write_mixed_words(tmp_path)
    monkeypatch.setattr(training, "MOST_MEANT", 0)
    settings = {"val": paths["val"], "unlabelled": paths["text"], "class_chars": order}
    train("whole", paths["train"], **settings)
    stop = stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        train("parts", paths["train"], report=stop, **settings)
    for path in paths.values():
        path.unlink()
    parts = charrnn.resume_classifier(tmp_path / "parts")
    helped = [note for note in stop.notes if "validation text with them" in note]
    assert len(helped) == (2 if order else 1)
    assert not (tmp_path / "parts" / "training" / "unlabelled.json").exists()
    assert "without labels" in (tmp_path / "parts" / "README.md").read_text()
    whole, resumed = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("whole", "parts"))
    assert whole.keys() == resumed.keys()
    assert not [name for name, tensor in whole.items() if not torch.equal(tensor, resumed[name])]
    right = [row.argmax().item() for scores in parts.beside.scores(["zubozo", "wifewe"]) for row in scores]
    assert right == [parts.labels.index(label) for label in ("south", "north")] * (len(right) // 2)


def test_texts_without_labels_are_left_where_they_do_not_help(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: StopAt
) -> None:
    """What their company says of validation words is wrong: the models are those without such text."""
    paths = write_mixed_words(tmp_path)
    monkeypatch.setattr(training, "MOST_MEANT", 0)
    swapped = paths["val"].read_text().replace("south", "x").replace("north", "south").replace("x", "north")
    known = paths["train"].read_text().splitlines()
    paths["train"].write_text("\n".join(known[:-40]))
    paths["val"].write_text("\n".join([swapped, *known[-40:]]))
    stop = stop_at()
    settings = {"val": paths["val"], "spelling": False}  # whose known words are not in question here
    misled = train("misled", paths["train"], unlabelled=paths["text"], report=stop, **settings)
    assert len([note for note in stop.notes if "validation text with them" in note]) == 2
    assert not [note for note in stop.notes if note.startswith("text without labels: 0 ")]
    assert "without labels" not in (tmp_path / "misled" / "README.md").read_text()
    plain = train("plain", paths["train"], **settings)
    words = ["katoko", "zubozo", "wifewe", "limele"]
    for with_text, without in zip(misled.beside.scores(words), plain.beside.scores(words), strict=True):
        assert torch.equal(with_text, without)


def test_the_last_fit_hears_the_same_texts_without_labels(train: Train, tmp_path: Path) -> None:
    paths = write_mixed_words(tmp_path)
    rows = paths["train"].read_text() + "\n" + "\n".join(paths["val"].read_text().splitlines()[1:])
    paths["train"].write_text(rows)
    heard: list[int] = []
    fit = beside_training.LinearModel.fit

    def watch(points: Any, starts: Any, belongs: Any, *arguments: Any, **options: Any) -> Any:
        heard.append(len(belongs))
        return fit(points, starts, belongs, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside_training.LinearModel, "fit", watch)
        patch.setattr(beside_training.BesideTraining, "_is_likelier", lambda *_: True)
        train("both", paths["train"], unlabelled=paths["text"], spelling=False)
    alone, with_meaning, with_sure, at_the_end = heard
    assert alone == with_meaning < with_sure < at_the_end


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"self_training": 0}, 0), ({"multi_label": True}, 0), ({}, 1)],
)
def test_texts_without_labels_may_be_left_out(
    settings: dict[str, Any], words: int, train: Train, tmp_path: Path, stop_at: StopAt
) -> None:
    paths = write_mixed_words(tmp_path)
    stop = stop_at(2)
    with pytest.raises(KeyboardInterrupt):
        train("left", paths["train"], unlabelled=paths["text"], report=stop, **settings)
    assert len([note for note in stop.notes if note.startswith("text without labels")]) == words
    kept = json.loads((tmp_path / "left" / "training" / "unlabelled.json").read_text())
    assert bool(kept) == bool(words)


def test_words_that_never_come_again_are_no_obstacle(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    paths = write_mixed_words(tmp_path)
    paths["text"].write_text("".join(f"{chr(0x4E00 + i)}\n" for i in range(50)))
    stop = stop_at()
    train("list", paths["train"], unlabelled=paths["text"], report=stop)
    assert [note for note in stop.notes if note.startswith("what words mean is not learned: too little text")]


def test_of_very_many_texts_and_labels_what_words_mean_is_not_asked(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: StopAt
) -> None:
    paths = write_mixed_words(tmp_path)
    monkeypatch.setattr(training, "MOST_MEANT", 100)
    stop = stop_at()
    model = train("many", paths["train"], val=paths["val"], unlabelled=paths["text"], report=stop)
    assert model.beside.linear.words is None
    assert [note for note in stop.notes if note.startswith("text without labels")]
    assert not [note for note in stop.notes if "words mean" in note]


def test_a_run_that_never_began_leaves_nothing_to_the_next(train: Train, tmp_path: Path, stop_at: StopAt) -> None:
    def interrupt(training: beside_training.BesideTraining) -> None:
        raise KeyboardInterrupt

    (tmp_path / "text.txt").write_text("my cat and my dog\n" * 9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beside_training.BesideTraining, "fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train("parts", unlabelled=tmp_path / "text.txt")
    with pytest.raises(KeyboardInterrupt):
        train("parts", report=stop_at(2))
    stop = stop_at()
    charrnn.resume_classifier(tmp_path / "parts", report=stop)
    assert not [note for note in stop.notes if note.startswith("what words mean")]


def test_an_empty_text_without_labels_is_told(train: Train, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(" \n\n")
    with pytest.raises(UsageError, match="without labels is empty"):
        train(unlabelled=tmp_path / "text.txt")
    assert not (tmp_path / "model").exists()
