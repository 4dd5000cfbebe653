"""Pairs of texts in the forms that people have them, and what a careful person would say of them."""

import csv
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.tasks.seq2seq.data import DataConfig, Pair, Splits, answers, prepare, read_pairs, split

PAIRS = [Pair("it's “good”, she said", "c'est bon"), Pair('"bad" or so', "日本 😀"), Pair("a", "b")]
Write = Callable[[Path], list[Path]]


def read(*paths: Path, encoding: str = "utf-8", **config: Any) -> list[Pair]:
    return read_pairs(list(map(str, paths)), DataConfig(**config), encoding, lambda note: None)


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def as_csv(*columns: str) -> Write:
    def write(folder: Path) -> list[Path]:
        with (folder / "a.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([columns, *((pair.source, pair.target) for pair in PAIRS)])
        return [folder / "a.csv"]

    return write


def as_json(*columns: str, nested: bool = False) -> Write:
    def write(folder: Path) -> list[Path]:
        rows = [dict(zip(columns, (pair.source, pair.target), strict=True)) for pair in PAIRS]
        lines = [json.dumps({"id": 3, "translation": row} if nested else row) for row in rows]
        return [put(folder / "a.jsonl", "\n".join(lines))]

    return write


def as_two_files(folder: Path) -> list[Path]:
    return [
        put(folder / "a.en", "".join(f"{pair.source}\n" for pair in PAIRS)),
        put(folder / "a.fr", "\n".join(pair.target for pair in PAIRS)),
    ]


def as_gzip(folder: Path) -> list[Path]:
    (folder / "a.tsv.gz").write_bytes(
        gzip.compress("".join(f"{a}\t{b}\n" for a, b in [("src", "tgt"), *map(both, PAIRS)]).encode())
    )
    return [folder / "a.tsv.gz"]


def both(pair: Pair) -> tuple[str, str]:
    return pair.source, pair.target


@pytest.mark.parametrize(
    "write",
    [
        *(as_csv("source", "target"), as_csv("Text", "Summary"), as_csv("en", "pt-BR"), as_csv("what", "else")),
        *(as_json("document", "summary"), as_json("en", "fr", nested=True), as_two_files, as_gzip),
    ],
)
def test_the_same_pairs_are_read_from_every_form(write: Write, tmp_path: Path) -> None:
    assert read(*write(tmp_path)) == PAIRS


def test_columns_are_chosen_by_name_or_number_and_recognised_in_pairs(tmp_path: Path) -> None:
    path = put(tmp_path / "a.csv", "source,kind,description,synopsis\nx,y,long text,short\n")
    assert read(path) == [Pair("long text", "short")]
    assert read(path, source_column="source", target_column="4") == [Pair("x", "short")]
    path = put(tmp_path / "b.csv", "en,de\none,eins\n")
    assert read(path, source_column="de") == read(path, target_column="en") == [Pair("eins", "one")]


def test_a_list_of_targets_is_several_valid_ones(tmp_path: Path) -> None:
    rows = [{"source": "a", "target": ["x", "y"]}, {"source": "b", "target": []}, {"source": "c", "target": "z"}]
    path = put(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert read(path) == [Pair("a", "x"), Pair("a", "y"), Pair("b", ""), Pair("c", "z")]


def test_a_column_asked_for_by_number_is_no_heading(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", "1\tone\n2\ttwo\n1\tuno\n")
    assert read(path, source_column="1", target_column="2") == [Pair("1", "one"), Pair("2", "two"), Pair("1", "uno")]


def test_other_encodings_are_read_and_white_space_is_folded(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.tsv", "src\ttgt\n a  b\té \n", "utf-16"), encoding="utf-16") == [Pair("a b", "é")]
    assert read(put(tmp_path / "a.jsonl", '{"src": "a\\n\\tb", "tgt": 1}')) == [Pair("a b", "1")]


@pytest.mark.parametrize(
    ("files", "config", "words"),
    [
        ({"a": "1\n2\n", "b": "1\n"}, {}, "a has 2 lines, .*b has 1: line by line"),
        ({"a": "1\n", "b": "1\n"}, {"source_column": "x"}, "two files have no columns"),
        ({"a": "1\n", "b": "1\n", "c": "1\n"}, {}, "not in 3 files"),
        ({"a.csv": "x,y,z\n1,2,3\n"}, {}, "Give --source-column and --target-column, of: x, y, z"),
        ({"a.csv": "x,y,z\n1,2,3\n"}, {"source_column": "x"}, "Give --target-column, of: y, z"),
        ({"a.csv": "source,target\n1,2\n"}, {"source_column": "sorce"}, "did you mean 'source'"),
        ({"a.csv": "source,target\n1,2\n"}, {"source_column": "1", "target_column": "1"}, "both source and target"),
        ({"a.jsonl": '{"source": "x"}'}, {}, "one column only"),
        ({"a.txt": "no table\n"}, {}, "not a table"),
        ({"a.csv": ""}, {}, "is empty"),
        ({"a.jsonl": '{"source": ["x"], "target": "y"}'}, {}, "a.jsonl: a cell holds a list"),
        ({"a.jsonl": '{"source": "x", "target": [{"y": 1}]}'}, {}, "a cell holds an object"),
        ({"a.jsonl": '{"source": ' + 100_000 * "[" + "\n"}, {}, "line 1 is not JSON"),
    ],
)
def test_what_cannot_be_read_says_the_fix(
    files: dict[str, str], config: dict[str, str], words: str, tmp_path: Path
) -> None:
    paths = [put(tmp_path / name, text) for name, text in files.items()]
    with pytest.raises(UsageError, match=words):
        read(*paths, **config)
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "missing.tsv")


# Checks


def check(
    train: list[Pair], val: list[Pair] | None = None, test: list[Pair] | None = None, **config: Any
) -> tuple[Splits, str]:
    notes: list[str] = []
    splits = prepare(train, val, test, DataConfig(**config), 0, notes.append)
    assert all("\n" not in note for note in notes)
    return splits, "\n".join(notes)


SOME = [Pair(f"s{i}", f"t{i}") for i in range(30)]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": [*SOME, Pair("", "x"), Pair("x", "")]}, "2 pairs have an empty side in the training part"),
        ({"train": [*SOME, SOME[0]]}, "1 pair repeats another"),
        ({"train": [Pair(f"s{i}", f"s{i}") for i in range(9)]}, "right columns"),
        ({"train": SOME, "val": [SOME[0]]}, "1 pair has a source that is also in training, of 1 in the validation"),
        ({"train": SOME, "test": [SOME[0], Pair("", "")]}, "also in training, of 1 in the test part"),
    ],
)
def test_what_could_spoil_a_run_is_told(parts: dict[str, list[Pair]], words: str) -> None:
    _, notes = check(**parts)  # type: ignore[arg-type]
    assert re.search(words, notes), notes


def test_clean_pairs_are_taken_as_they_are_without_a_word() -> None:
    val, test = [Pair("x", "y")], [Pair("z", "w")]
    assert check(SOME, val, test) == (Splits(SOME, val, test, True), "")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"train": []}, "no pair to train on"),
        ({"train": [Pair("a", ""), Pair("", "b")]}, "no pair to train on"),
        ({"train": [Pair("a", "x"), Pair("a", "y")]}, "--val"),
        ({"train": SOME, "val": [Pair("", "y")]}, "no validation pair"),
        ({"train": SOME, "test": [Pair("", "y")]}, "no test pair"),
    ],
)
def test_nothing_can_be_learned_from_it(parts: dict[str, list[Pair]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check(**parts)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60), st.floats(0.05, 0.5), st.integers(0, 5))
def test_a_split_keeps_every_pair_and_never_parts_a_source(sources: list[str], fraction: float, seed: int) -> None:
    pairs = [Pair(source, str(i)) for i, source in enumerate(sources)]
    train, val = split(pairs, fraction, seed)
    assert sorted(map(both, train + val)) == sorted(map(both, pairs))
    assert not {pair.source for pair in train} & {pair.source for pair in val}
    assert train
    assert bool(val) == (len(set(sources)) > 1)
    assert (train, val) == split(pairs, fraction, seed)


def test_a_source_has_all_its_answers_in_order() -> None:
    pairs = [Pair("b", "1"), Pair("a", "2"), Pair("b", "3"), Pair("b", "1")]
    assert list(answers(pairs).items()) == [("b", ["1", "3"]), ("a", ["2"])]
