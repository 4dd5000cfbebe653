"""Pairs of texts: reading them from what people have, looking at them as a careful person would, splitting them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charrnn.errors import UsageError
from charrnn.text.reading import Source, find_text, read_chunks
from charrnn.text.tables import Table, cell_text, parse_table

# The names of columns that are recognised, source and target, the likelier first.
NAMES = (
    *(("source", "target"), ("src", "tgt"), ("text", "summary"), ("document", "summary"), ("article", "summary")),
    *(("article", "highlights"), ("dialogue", "summary"), ("description", "synopsis"), ("word", "phonemes")),
    *(("input", "output"), ("question", "answer"), ("text", "target"), ("sentence1", "sentence2")),
)
LANGUAGE_CODE = re.compile(r"(?!id$)[a-z]{2,3}([-_][A-Za-z]{2,4})?")  # "id" is Indonesian, but mostly a number
MOST_VALIDATED = 2000  # sources that are split off, at most

Note = Callable[[str], None]


@dataclass(frozen=True)
class DataConfig:
    """Where source and target stand, and what is kept for validation."""

    source_column: str | None = None  # a name, or a number from 1; None: a recognised name
    target_column: str | None = None
    val_fraction: float = 0.05  # of the training pairs, unless validation pairs are given

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise UsageError(f"val_fraction must lie between 0 and 1, not {self.val_fraction}")


@dataclass(frozen=True)
class Pair:
    """A text and what is to be made of it, each on one line."""

    source: str
    target: str


@dataclass(frozen=True)
class Splits:
    """What a network is trained, validated and tested on."""

    train: list[Pair]
    val: list[Pair]
    test: list[Pair]  # none if no test was asked for
    val_was_given: bool


def read_pairs(paths: Sequence[str], config: DataConfig, encoding: str, note: Note) -> list[Pair]:
    """The pairs in one table, CSV, TSV or JSON lines, or in two files of as many lines. They may be compressed.

    White space is folded: a text stands on one line.

    Raises UsageError for what is neither, or not text in this encoding.
    """
    if len(paths) == 2:
        return _read_aligned(paths, config, encoding)
    if len(paths) != 1:
        raise UsageError(f"pairs come in one table or in two files of as many lines, not in {len(paths)} files")
    return [
        pair for source in find_text(paths, encoding).sources for pair in _read_table(source, config, encoding, note)
    ]


def prepare(
    train: list[Pair], val: list[Pair] | None, test: list[Pair] | None, config: DataConfig, seed: int, note: Note
) -> Splits:
    """Look for what could spoil training or make its figures untrue, and split off a validation part if there is none.

    Raises UsageError if nothing can be learned from it.
    """
    train = _without_gaps(train, "training", note)
    if not train:
        raise UsageError("there is no pair to train on: every pair needs a source and a target")
    repeated = len(train) - len(set(train))
    if repeated:
        note(f"{_pairs(repeated, 'repeats', 'repeat')} another in the training part")
    same = sum(pair.source == pair.target for pair in train)
    if 2 * same > len(train):
        note(f"warning: {_pairs(same, 'has', 'have')} a target that is its source: are these the right columns?")
    val_was_given = val is not None
    if val is None:
        train, val = split(train, config.val_fraction, seed)
        if not val:
            raise UsageError("pairs with one source only cannot be split: give validation pairs with --val")
    else:
        val = _without_gaps(val, "validation", note)
        _note_straddling(train, val, "validation", note)
        if not val:
            raise UsageError("there is no validation pair: every pair needs a source and a target")
    if test is not None:
        test = _without_gaps(test, "test", note)
        if not test:
            raise UsageError("there is no test pair: every pair needs a source and a target")
        _note_straddling([*train, *val], test, "test", note)
    return Splits(train, val, test or [], val_was_given)


def split(pairs: list[Pair], fraction: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and validation parts. All pairs of one source are in one of them."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[pair.source].append(pair)
    sources = list(groups)
    number = min(max(round(fraction * len(sources)), 1), len(sources) - 1, MOST_VALIDATED)
    held = {sources[i] for i in np.random.default_rng(seed).permutation(len(sources))[:number]}
    return [pair for pair in pairs if pair.source not in held], [pair for pair in pairs if pair.source in held]


def answers(pairs: Iterable[Pair]) -> dict[str, list[str]]:
    """The sources in order, each with all its valid targets."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        targets = found.setdefault(pair.source, [])
        if pair.target not in targets:
            targets.append(pair.target)
    return found


def fold(text: str) -> str:
    """The text on one line, with single spaces."""
    return " ".join(text.split())


# Files


def _read_aligned(paths: Sequence[str], config: DataConfig, encoding: str) -> list[Pair]:
    if config.source_column is not None or config.target_column is not None:
        raise UsageError("two files have no columns: leave --source-column and --target-column out")
    sides = []
    for path in paths:
        lines = "".join(
            chunk for source in find_text([path], encoding).sources for chunk in read_chunks(source, encoding)
        ).split("\n")
        sides.append(lines[:-1] if not lines[-1] else lines)
    if len(sides[0]) != len(sides[1]):
        raise UsageError(
            f"{paths[0]} has {len(sides[0]):,} lines, {paths[1]} has {len(sides[1]):,}: line by line they must belong "
            "together"
        )
    return [Pair(fold(source), fold(target)) for source, target in zip(*sides, strict=True)]


def _read_table(source: Source, config: DataConfig, encoding: str, note: Note) -> Iterator[Pair]:
    asked = {name.lower() for name in (config.source_column, config.target_column) if name and not name.isdecimal()}
    names = {name for pair in NAMES for name in pair} | asked
    table = _unnested(parse_table(source.name, "".join(read_chunks(source, encoding)), names))
    source_column, target_column = _choose_columns(table, config)
    note(f"{table.name}: source is column {source_column!r}, target is column {target_column!r}")
    for row in table.rows:
        targets = row.get(target_column)
        for target in (targets or [""]) if isinstance(targets, list) else [targets]:  # all of a list are valid
            source_text, target_text = (cell_text(value, table.name) for value in (row.get(source_column), target))
            yield Pair(fold(source_text), fold(target_text))


def _unnested(table: Table) -> Table:
    """The table with the fields of objects, as of {"translation": {"en": …, "de": …}}, as columns of their own."""
    columns: dict[str, None] = {}
    rows = []
    for row in table.rows:
        flat: dict[str, Any] = {}
        for column, value in row.items():
            flat |= value if isinstance(value, dict) else {column: value}
        columns |= dict.fromkeys(flat)
        rows.append(flat)
    return Table(table.name, tuple(columns) or table.columns, rows)


def _choose_columns(table: Table, config: DataConfig) -> tuple[str, str]:
    """The columns asked for, those with recognised names, those called after two languages, or the only two."""
    source, target = table.column(config.source_column, "source"), table.column(config.target_column, "target")
    if len(table.columns) == 1:
        raise UsageError(f"{table.name}: has one column only: a source needs a target beside it")
    lower = {column.lower(): column for column in table.columns}
    codes = [column for column in table.columns if LANGUAGE_CODE.fullmatch(column)]
    candidates = [(lower[a], lower[b]) for a, b in NAMES if a in lower and b in lower]
    candidates += [(codes[0], codes[1]), (codes[1], codes[0])] if len(codes) == 2 else []
    candidates += [table.columns, table.columns[::-1]] if len(table.columns) == 2 else []
    for a, b in candidates:
        if source in (None, a) and target in (None, b):
            return a, b
    if source is None or target is None:
        left = [column for column in table.columns if column not in (source, target)]
        options = [
            option for option, column in (("--source-column", source), ("--target-column", target)) if column is None
        ]
        raise UsageError(f"{table.name}: which columns? Give {' and '.join(options)}, of: {', '.join(left)}")
    if source == target:
        raise UsageError(f"{table.name}: {source!r} cannot be both source and target")
    return source, target


# Checks


def _without_gaps(pairs: list[Pair], part: str, note: Note) -> list[Pair]:
    whole = [pair for pair in pairs if pair.source and pair.target]
    if len(whole) < len(pairs):
        number = _pairs(len(pairs) - len(whole), "has", "have")
        note(f"warning: {number} an empty side in the {part} part, and left out")
    return whole


def _note_straddling(train: list[Pair], other: list[Pair], part: str, note: Note) -> None:
    known = {pair.source for pair in train}
    number = sum(pair.source in known for pair in other)
    if number:
        note(
            f"warning: {_pairs(number, 'has', 'have')} a source that is also in training, of {len(other):,} in the "
            f"{part} part: its figures flatter"
        )


def _pairs(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {'pair' if number == 1 else 'pairs'} {singular if number == 1 else plural}"
