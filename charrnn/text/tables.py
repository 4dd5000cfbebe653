"""Tables of text: CSV, TSV and JSON lines, told apart by their names or by their first lines."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from charrnn.errors import UsageError
from charrnn.settings import nearest

Format = Literal["csv", "tsv", "json"]
SUFFIXES: dict[str, Format] = {
    **{".csv": "csv", ".tsv": "tsv", ".tab": "tsv"},
    **{".jsonl": "json", ".ndjson": "json", ".json": "json"},
}
COMPRESSED = {".gz", ".xz", ".bz2", ".zst"}
LONGEST_CELL = 1 << 28
QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True)
class Table:
    """Rows of named cells. The cells of JSON lines are JSON values, all others text."""

    name: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]

    def column(self, asked: str | None, what: str) -> str | None:
        """The column of this name, or of this number from 1; None if none is asked for.

        Raises UsageError, which says that there is no `what` column, if there is none.
        """
        if asked is None or asked in self.columns:
            return asked
        if asked.isdecimal() and 1 <= int(asked) <= len(self.columns):
            return self.columns[int(asked) - 1]
        there = ", ".join(self.columns)
        raise UsageError(
            f"{self.name}: no {what} column {asked!r}{nearest(asked, self.columns) or f': it has {there}'}"
        )

    def recognised(self, names: Sequence[str], other: str | None = None) -> str | None:
        """The first column with one of these names, in small letters; not `other`."""
        columns = {column.lower(): column for column in self.columns if column != other}
        return next((columns[name] for name in names if name in columns), None)


def cell_text(value: Any, name: str) -> str:
    """A cell of table `name` as text; nothing where there is none. Raises UsageError for a list or an object."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        kind = "a list" if isinstance(value, list) else "an object"
        raise UsageError(f"{name}: a cell holds {kind}, no text: {str(value)[:80]}")
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_table(name: str, text: str, names: Collection[str]) -> Table:
    """The table in the text of a file, `name` what its user calls it.

    `names` are the column names to expect, in lower case. If a first row holds none of them, and one of its cells
    comes again in its column, it is no heading: the columns are then called 1, 2, …

    In a TSV file quotes are part of the text, unless every cell that begins with one is quoted as a whole.

    Raises UsageError for what is no such table, with the number of the line.
    """
    if not text.strip():
        raise UsageError(f"{name}: is empty")
    form = table_format(name, text)
    if form is None:
        raise UsageError(f"{name}: not a table: a CSV or TSV file with columns, or JSON lines")
    if form == "json":
        return _json_table(name, text)
    rows = list(_csv_rows(name, text) if form == "csv" else _tsv_rows(text))
    return _table(name, rows, names)


def without_suffixes(name: str) -> str:
    """A file's name without what says how it is compressed, and without its ending."""
    path = Path(name)
    return Path(path.stem if path.suffix.lower() in COMPRESSED else name).stem


def table_format(name: str, text: str) -> Format | None:
    """The format of a file, by its name, or else by its first line; None if it is no table."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() not in COMPRESSED]
    if suffixes and suffixes[-1] in SUFFIXES:
        return SUFFIXES[suffixes[-1]]
    first_line = text.lstrip("\n").partition("\n")[0]
    if first_line.startswith("{"):
        return "json"
    if "\t" in first_line:
        return "tsv"
    return "csv" if _delimiter(first_line) else None


def _table(name: str, rows: list[tuple[int, list[str]]], names: Collection[str]) -> Table:
    first = rows[0][1]
    for number, cells in rows:
        if len(cells) != len(first):
            raise UsageError(f"{name}: line {number} has {len(cells)} columns, the first has {len(first)}")
    body = rows[1:]
    if not any(cell.strip().lower() in names for cell in first) and any(
        first[i] and any(cells[i] == first[i] for _, cells in body) for i in range(len(first))
    ):
        columns, body = tuple(str(i + 1) for i in range(len(first))), rows
    else:
        columns = tuple(cell.strip() for cell in first)
        repeated = [column for column, count in Counter(columns).items() if count > 1]
        if repeated:
            raise UsageError(f"{name}: several columns are called {repeated[0]!r}")
    return Table(name, columns, [dict(zip(columns, cells, strict=True)) for _, cells in body])


def _csv_rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    delimiter = _delimiter(text.lstrip("\n").partition("\n")[0]) or ","
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except csv.Error as error:
        raise UsageError(f"{name}: line {reader.line_num}: not CSV: {error}") from None


def _delimiter(first_line: str) -> str | None:
    """What stands between the cells of a CSV file: a comma, or in many countries a semicolon."""
    count, delimiter = max((first_line.count(character), character) for character in ";,")
    return delimiter if count else None


def _tsv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    # Only "\n" ends a line: `splitlines` would also cut at characters that a text may well hold.
    rows = [(number, line.split("\t")) for number, line in enumerate(text.split("\n"), start=1) if line]
    quoted = [cell for _, cells in rows for cell in cells if cell.startswith('"')]
    if all(map(QUOTED.fullmatch, quoted)):
        rows = [(number, list(map(_unquote, cells))) for number, cells in rows]
    return iter(rows)


def _unquote(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if cell.startswith('"') else cell


def _json_table(name: str, text: str) -> Table:
    columns: dict[str, None] = {}
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}: line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise UsageError(f"{name}: line {number} is not a JSON object: write one object a line")
        columns.update(dict.fromkeys(row))
        rows.append(row)
    return Table(name, tuple(columns), rows)
