"""Labelled texts in the forms that people have them, and what a careful person would say of them."""

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.tasks.classifier.data import DataConfig, Example, Splits, prepare, read_examples, stratified_split

A, B = Example("it's “good”, she said", ("pos",)), Example('"bad" \x85 or so', ("neg",))


def read(path: Path, encoding: str = "utf-8", **config: Any) -> list[Example]:
    return read_examples(str(path), DataConfig(**config), encoding, lambda note: None)


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def as_csv(*columns: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *((each.text, each.labels[0]) for each in (A, B))])
        return folder / "a.csv"

    return write


def as_folder_of_folders(folder: Path) -> Path:
    for i, each in enumerate((A, B)):
        put(folder / "all" / each.labels[0] / f"{i}.txt", f"\n{each.text}\n")
    return folder / "all"


def as_folder_of_files(folder: Path) -> Path:
    for each in (A, B):
        put(folder / "all" / f"{each.labels[0]}.txt", f"{each.text}\n\n")
    return folder / "all"


def as_gzip(folder: Path) -> Path:
    path = folder / "a.tsv.gz"
    path.write_bytes(gzip.compress("".join(f"{e.labels[0]}\t{e.text}\n" for e in (A, B, A, B)).encode()))
    return path


@pytest.mark.parametrize(
    "write",
    [
        as_csv("text", "label"),
        as_csv("Sentence", "Target"),
        as_csv("utterance", "mood"),
        as_csv("what was said", "intent"),
        lambda folder: put(folder / "a.tsv", f"sentiment\tline\npos\t{A.text}\nneg\t{B.text}\n"),
        lambda folder: put(folder / "a.txt", f"__label__pos {A.text}\n__label__neg {B.text}"),
        lambda folder: put(folder / "a.jsonl", "".join(json.dumps(vars(e)) + "\n" for e in (A, B))),
        as_folder_of_folders,
        as_folder_of_files,
    ],
)
def test_the_same_texts_are_read_from_every_form(write: Callable[[Path], Path], tmp_path: Path) -> None:
    assert sorted(map(repr, read(write(tmp_path)))) == sorted(map(repr, (A, B)))


def test_a_compressed_table_without_a_heading_is_read(tmp_path: Path) -> None:
    assert read(as_gzip(tmp_path)) == [A, B, A, B]


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252"])
def test_other_encodings_are_read(encoding: str, tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", f"label\ttext\npos\t{A.text}\n", encoding)
    assert read(path, encoding) == [A]


def test_columns_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "coarse,fine,text\nx,x:1,one\ny,y:1,two\n")
    assert [example.labels[0] for example in read(path, label_column="fine")] == ["x:1", "y:1"]
    assert [example.labels[0] for example in read(path, label_column="1")] == ["x", "y"]
    assert [example.text for example in read(path, label_column="1", text_column="2")] == ["x:1", "y:1"]


def test_a_column_asked_for_by_number_is_no_heading(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", "1\tgood\n0\tbad\n1\tfine\n")
    assert [example.text for example in read(path, label_column="1", text_column="2")] == ["good", "bad", "fine"]


def test_labels_of_json_are_numbers_words_and_lists(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": True}, {"text": "c"}, {"text": "d", "label": "x\ny"}]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert [example.labels for example in read(path)] == [("1",), ("true",), (), ("x y",)]


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("a.jsonl", '{"text": "t", "labels": ["x", "y", "x"]}\n{"text": "u", "labels": []}\n', None),
        ("a.txt", "__label__x __label__y t\n__label__x u __label__y\n", None),
        ("a.csv", 'text,labels\nt,"x, y"\nu,\n', ","),
    ],
)
def test_several_labels_are_read_when_they_are_meant(
    name: str, text: str, separator: str | None, tmp_path: Path
) -> None:
    path = put(tmp_path / name, text)
    examples = read(path, multi_label=True, label_separator=separator)
    assert examples[0] == Example("t", ("x", "y"))
    assert examples[1].text == "u"
    if separator is None:
        with pytest.raises(UsageError, match="--multi-label"):
            read(path)


@pytest.mark.parametrize(
    ("name", "text", "config", "words"),
    [
        ("a.csv", "text,label\na,b\n", {"label_column": "lable"}, "no label column 'lable': did you mean 'label'"),
        ("a.csv", "text,label\na,b\n", {"text_column": "zzz"}, "it has text, label"),
        ("a.csv", "text,coarse,fine\na,b,c\n", {}, "--label-column, one of: coarse, fine"),
        ("a.csv", "one,two,three\na,b,c\n", {}, "--text-column, one of: one, two, three"),
        ("a.csv", "text,label\na,b\n", {"text_column": "label", "label_column": "label"}, "both"),
        ("a.jsonl", '{"text": "a"}\n', {}, "one column only"),
        ("a.csv", "", {}, "is empty"),
        ("a.jsonl", '{"text": ["a", "b"], "label": "x"}\n', {}, "a.jsonl: a cell holds a list"),
        ("missing.csv", None, {}, "no such file"),
    ],
)
def test_what_cannot_be_read_says_the_fix(
    name: str, text: str | None, config: dict[str, str], words: str, tmp_path: Path
) -> None:
    if text is not None:
        put(tmp_path / name, text)
    with pytest.raises(UsageError, match=words):
        read(tmp_path / name, **config)


def test_a_file_of_mixed_encodings_is_refused(tmp_path: Path) -> None:
    lines = [f"pos\tcafé number {i}\n".encode() for i in range(9)] + ["neg\tnaïve\nneg\tplain\n".encode("latin-1")]
    (tmp_path / "a.tsv").write_bytes(b"".join(lines))
    with pytest.raises(UsageError, match="mixes encodings"):
        read(tmp_path / "a.tsv")


def test_files_of_a_folder_that_are_no_text_are_told(tmp_path: Path) -> None:
    folder = as_folder_of_folders(tmp_path)
    (folder / "pos" / "latin.txt").write_bytes("café".encode("latin-1") * 20)
    notes: list[str] = []
    read_examples(str(folder), DataConfig(), "utf-8", notes.append)
    assert "1 of 3 files are no utf-8 text" in "\n".join(notes)


def test_files_beside_folders_of_labels_are_left_out_and_told(tmp_path: Path) -> None:
    folder = as_folder_of_folders(tmp_path)
    put(folder / "urls.txt", "one\ntwo\n")
    put(folder / ".git" / "config.txt", "hidden")
    notes: list[str] = []
    assert sorted(map(repr, read_examples(str(folder), DataConfig(), "utf-8", notes.append))) == sorted(
        map(repr, (A, B))
    )
    assert [note for note in notes if "each folder" in note and "urls.txt" in note] == notes
    (files := tmp_path / "files").mkdir()
    for name in ("asp.net.txt", "asp.classic.txt", "old/one.txt", "c.txt.gz"):
        text = f"{name}\n".encode()
        (files / name).parent.mkdir(exist_ok=True)
        (files / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    notes.clear()
    found = read_examples(str(files), DataConfig(), "utf-8", notes.append)
    assert {(each.text, *each.labels) for each in found} == {
        ("asp.net.txt", "asp.net"),
        ("asp.classic.txt", "asp.classic"),
        ("c.txt.gz", "c"),
    }
    assert [note for note in notes if "each file" in note and "old" in note] == notes


# Checks


def check(
    train: list[Example],
    val: list[Example] | None = None,
    test: list[Example] | None = None,
    **config: Any,
) -> tuple[Splits, str]:
    notes: list[str] = []
    splits = prepare(train, val, test, DataConfig(**config), 0, notes.append)
    assert all("\n" not in note for note in notes)
    return splits, "\n".join(notes)


def several(number: int, *labels: str) -> list[Example]:
    return [Example(f"text {i} of {label}", (label,)) for label in labels for i in range(number)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": [Example("", ("a",))]}, "1 text is empty in the training part"),
        ({"train": [Example("x", ())]}, "1 text has no label in the training part"),
        ({"train": [Example("once", ("rare",))]}, "only one text has label 'rare'"),
        ({"train": several(20, "A")}, "differ only in case"),
        ({"train": [Example("text 3 of a", ("b",))]}, "1 text has different labels in different places: 'text 3 of a'"),
        ({"train": [Example(" text 3  of a", ("a",))]}, "1 text repeats another"),
        ({"test": several(3, "a")}, "3 texts are also in training, of 3 in the test part"),
        ({"test": [Example("x", ("new",))]}, "1 text has a label in the test part that training never saw .'new'."),
        ({"test": [Example("", ("a",)), Example("x", ("a",))]}, "1 text is empty in the test part"),
        ({"train": [Example("once", ("rare",))], "val": [Example("x", ("a",))]}, "only one text has label 'rare'"),
        ({"val": several(3, "a")}, "3 texts are also in training, of 3 in the validation part"),
        ({"val": [Example("x", ("new",)), Example("y", ("a",))]}, "validation part that training never saw"),
        ({"train": several(1, *map(str, range(90)))}, "is that the right column"),
    ],
)
def test_what_could_spoil_a_run_is_told(change: dict[str, list[Example]], words: str) -> None:
    train = several(20, "a", "b") + change.pop("train", [])
    _, notes = check(train, **change)
    assert re.search(words, notes), notes


def test_clean_texts_are_taken_as_they_are_without_a_word() -> None:
    train, val, test = several(20, "a", "b"), [Example("x", ("a",))], [Example("y", ("b",))]
    assert check(train, val, test) == (Splits(("a", "b"), train, val, test, True, False), "")


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [
        ([], None, "no labelled text"),
        (several(20, "a"), None, "only one label, 'a'"),
        ([Example("", ("a",)), Example("x", ("b",))], None, "only one label, 'b'"),
        (several(1, "a", "b"), None, "too few to split"),
        (several(20, "a", "b"), several(3, "c"), "no validation text has a label of training"),
    ],
)
def test_no_classifier_can_be_made_of_it(train: list[Example], val: list[Example] | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(train, val)


def test_a_test_part_without_texts_is_refused() -> None:
    for test in ([], [Example("", ("a",))]):
        with pytest.raises(UsageError, match="no labelled test text"):
            check(several(20, "a", "b"), test=test)


# Splitting


@given(st.lists(st.sampled_from("aaaaabbbc"), min_size=30, max_size=200), st.floats(0.05, 0.5), st.integers(0, 5))
def test_every_label_has_nearly_the_same_share_of_validation(labels: str, fraction: float, seed: int) -> None:
    examples = [Example(f"text {i}", (label,)) for i, label in enumerate(labels)]
    counts = Counter(labels)
    train, val = stratified_split(examples, counts, fraction, seed)
    assert sorted(map(repr, train + val)) == sorted(map(repr, examples))
    found = Counter(example.labels[0] for example in val)
    for label, count in counts.items():
        assert abs(found[label] - fraction * count) <= 1.5
        assert found[label] < count
    assert abs(len(val) - fraction * len(examples)) <= 2


def test_the_same_text_is_never_on_both_sides() -> None:
    examples = [Example(f"text {i // 3}", ("ab"[i % 2],)) for i in range(300)]
    train, val = stratified_split(examples, Counter("ab" * 150), 0.2, 0)
    assert val
    assert not {example.text for example in train} & {example.text for example in val}


@pytest.mark.parametrize(
    ("texts", "val_fraction", "expected"), [(1000, None, 100), (30_000, None, 2000), (30_000, 0.1, 3000)]
)
def test_a_tenth_is_for_validation_and_of_many_texts_less(
    texts: int, val_fraction: float | None, expected: int
) -> None:
    examples = several(texts // 2, "a", "b")
    splits = prepare(examples, None, None, DataConfig(val_fraction=val_fraction), 0, lambda note: None)
    assert len(splits.val) == pytest.approx(expected, abs=2)
    assert len(splits.train) + len(splits.val) == texts


def test_a_seed_decides_the_split() -> None:
    examples = several(50, "a", "b")
    splits = [stratified_split(examples, Counter(a=50, b=50), 0.2, seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_with_several_labels_a_text_goes_by_its_rarest() -> None:
    examples = [Example(f"text {i}", ("common", "rare") if i < 20 else ("common",)) for i in range(200)]
    _, val = stratified_split(examples, Counter(common=200, rare=20), 0.1, 0)
    assert sum("rare" in example.labels for example in val) == 2
