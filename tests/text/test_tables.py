"""Tables give the cells that were written, in every format, and say where they are broken."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.text.tables import parse_table

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\t\0"), max_size=12)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8)


def cells(name: str, text: str) -> list[tuple[object, ...]]:
    table = parse_table(name, text, {"text", "label"})
    assert table.columns == ("text", "label")
    return [tuple(row.values()) for row in table.rows]


@given(ROWS)
def test_csv_gives_what_was_written(rows: list[tuple[str, str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *((f"{a}\nx", b) for a, b in rows)])
    assert cells("a.csv", file.getvalue().replace("\r\n", "\n")) == [(f"{a}\nx", b) for a, b in rows]


@given(ROWS)
def test_json_lines_give_what_was_written(rows: list[tuple[str, str]]) -> None:
    text = "".join(json.dumps({"text": a, "label": [b, 3]}) + "\n" for a, b in rows)
    assert cells("a.jsonl", text) == [(a, [b, 3]) for a, b in rows]


@given(ROWS)
def test_tsv_is_read_as_it_stands(rows: list[tuple[str, str]]) -> None:
    rows = [*rows, ('"odd', "b")]
    text = "text\tlabel\n" + "".join(f"{a}\t{b}\n" for a, b in rows)
    assert cells("a.tsv", text) == rows


def test_quotes_of_a_tsv_file_are_taken_off_where_all_are_quotes() -> None:
    assert cells("a.tsv", 'text\tlabel\n"he said ""no"""\tx\nplain\ty\n') == [('he said "no"', "x"), ("plain", "y")]
    assert cells("a.tsv", 'text\tlabel\n"no" he said\tx\n"yes"\ty\n') == [('"no" he said', "x"), ('"yes"', "y")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "text\tlabel\na,b\tx\n"),
        ("a", 'text,label\n"a,b",x\n'),
        ("a.csv", "text;label\na,b;x\n"),
        ("a.csv.gz", 'text,label\n"a,b",x\n\n'),
        ("standard input", '{"text": "a,b", "label": "x"}\n\n'),
        ("a.TSV", "Text \t label\na,b\tx"),
    ],
)
def test_formats_are_told_apart_by_name_or_first_line(name: str, text: str) -> None:
    table = parse_table(name, text, {"text", "label"})
    assert [tuple(row.values()) for row in table.rows] == [("a,b", "x")]


def test_a_file_without_a_heading_has_numbered_columns() -> None:
    table = parse_table("a.tsv", "good\tone\nbad\ttwo\ngood\tthree\n", {"text", "label"})
    assert table.columns == ("1", "2")
    assert len(table.rows) == 3
    assert parse_table("a.tsv", "mood\tline\nbad\ttwo\n", {"text"}).columns == ("mood", "line")
    assert parse_table("a.tsv", "label\ttext\nx\ttext\n", {"text"}).columns == ("label", "text")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.tsv", "text\tlabel\na\tb\na\n", "line 3 has 1 columns, the first has 2"),
        ("a.csv", "text,label\na,b\na,b,c\n", "line 3 has 3 columns"),
        ("a.csv", 'text,label\n"a,b\n', "not CSV"),
        ("a.jsonl", '{"text": 1}\n{"text"\n', "line 2 is not JSON"),
        ("a.json", '[{"text": 1}]', "line 1 is not a JSON object"),
        ("a.txt", "one column\nonly\n", "not a table"),
        ("a.csv", " \n", "is empty"),
        ("a.csv", "text,text\na,b\n", "several columns are called 'text'"),
    ],
)
def test_what_is_no_table_is_said_with_its_line(name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        parse_table(name, text, {"text", "label"})
    assert str(error.value).startswith(name)
    assert "\n" not in str(error.value)
