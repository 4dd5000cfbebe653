"""Labelled texts: reading them from what people have, looking at them as a careful person would, splitting them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import UsageError
from charrnn.text.reading import Source, find_text, read_chunks
from charrnn.text.tables import Table, cell_text, parse_table, table_format, without_suffixes

# The names of columns that are recognised, the likelier first.
TEXT_NAMES = (
    *("text", "sentence", "utterance", "question", "query", "message", "document", "review", "content", "body"),
    *("tweet", "comment", "description", "title", "input", "src", "phrase", "word", "name"),
)
LABEL_NAMES = (
    *("label", "labels", "intent", "target", "class", "category", "categories", "tags", "tag", "topic", "sentiment"),
    *("polarity", "language", "lang", "nationality", "emotion", "output", "tgt", "y"),
)
FASTTEXT = "__label__"
FASTTEXT_LABEL = re.compile(rf"(?<!\S){FASTTEXT}(\S+)[^\S\n]?")
MANY_LABELS = 0.5  # share of texts with a label of their own from which on the labels are probably none
VAL_FRACTION, VAL_TEXTS = 0.1, 2000  # of the training texts for validation: this share, at most about so many
SHOWN = 3  # examples named in a warning

Note = Callable[[str], None]


@dataclass(frozen=True)
class DataConfig:
    """Where text and labels stand, and what is kept for validation."""

    text_column: str | None = None  # a name, or a number from 1; None: a recognised name
    label_column: str | None = None
    label_separator: str | None = None  # between several labels in one cell; None: a cell is one label
    multi_label: bool = False  # a text has any number of labels
    val_fraction: float | None = None  # of the training texts, unless validation texts are given; None: a tenth, or
    # less where fewer texts tell enough

    def __post_init__(self) -> None:
        if self.val_fraction is not None and not 0 < self.val_fraction < 1:
            raise UsageError(f"val_fraction must lie between 0 and 1, not {self.val_fraction}")
        if self.label_separator is not None and not self.multi_label:
            raise UsageError("label_separator is for texts with several labels: give multi_label too")


@dataclass(frozen=True)
class Example:
    """A text and its labels: one, or with multi-label any number."""

    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """What a classifier is trained, validated and tested on."""

    labels: tuple[str, ...]  # of the training texts, in order
    train: list[Example]
    val: list[Example]
    test: list[Example]  # none if no test was asked for
    val_was_given: bool
    multi_label: bool


def read_examples(path: str, config: DataConfig, encoding: str, note: Note) -> list[Example]:
    """The labelled texts in a file, a folder, a glob, or `-`, standard input.

    A file is CSV, TSV or JSON lines with columns, or has fastText's lines `__label__x text`. A folder holds either
    one file a label, with a text a line, or one folder a label, with a text a file. All may be compressed.

    Raises UsageError for what is none of these, or not text in this encoding.
    """
    sources = find_text([path], encoding).sources
    if Path(path).is_dir():
        examples = list(_read_folder(Path(path), sources, encoding, note))
    else:
        examples = [example for source in sources for example in _read_file(source, config, encoding, note)]
    if not config.multi_label and any(len(example.labels) > 1 for example in examples):
        several = sum(len(example.labels) > 1 for example in examples)
        raise UsageError(f"{path}: {_texts(several, 'has', 'have')} several labels: add --multi-label")
    return examples


def prepare(
    train: list[Example],
    val: list[Example] | None,
    test: list[Example] | None,
    config: DataConfig,
    seed: int,
    note: Note,
) -> Splits:
    """Look for what could spoil training or make its figures untrue, and split off a validation part if there is none.

    What can be put right is, with a note; what may be meant is only noted.
    Raises UsageError if no classifier can be made of it.
    """
    train = _without_gaps(train, config, "training", note)
    counts = Counter(label for example in train for label in example.labels)
    labels = tuple(sorted(counts))
    if not labels or (len(labels) == 1 and not config.multi_label):
        found = f"only one label, {labels[0]!r}" if labels else "no labelled text"
        raise UsageError(f"the training texts have {found}: a classifier needs at least two")
    if len(labels) > MANY_LABELS * len(train) and len(train) > 2 * SHOWN:
        note(f"warning: {len(labels):,} labels for {_texts(len(train))}: is that the right column?")
    _note_look_alikes(labels, note)
    _note_conflicts(train, note)
    val_was_given = val is not None
    single = [label for label in labels if counts[label] == 1]
    if single:
        note(
            f"warning: only one text has label {_some(single)}: "
            + ("little to learn from" if val_was_given else "it stays in training and is not validated")
        )
    if val is None:
        fraction = config.val_fraction or min(VAL_FRACTION, VAL_TEXTS / len(train))
        train, val = stratified_split(train, counts, fraction, seed)
        if not val:
            raise UsageError(f"{_texts(len(train))} are too few to split: give validation texts with --val")
    else:
        val = _without_gaps(val, config, "validation", note)
        _note_straddling(train, val, "validation", note)
        val = _known_only(val, labels, note)
        if not val:
            raise UsageError("no validation text has a label of training")
    if test is not None:
        test = _without_gaps(test, config, "test", note)
        if not test:
            raise UsageError("there is no labelled test text")
        _note_straddling([*train, *val], test, "test", note)
        unknown = Counter(label for example in test for label in example.labels if label not in counts)
        if unknown:
            number = sum(any(label in unknown for label in example.labels) for example in test)
            note(
                f"warning: {_texts(number, 'has', 'have')} a label in the test part that training never saw "
                f"({_some(list(unknown))}): counted as mistakes"
            )
    return Splits(labels, train, val, test or [], val_was_given, config.multi_label)


def stratified_split(
    examples: list[Example], counts: Counter[str], fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Training and validation parts in which every label has nearly the same share.

    The same text is never in both. A label with a single example stays in training. A text with several labels goes
    by its rarest.
    """
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[_key(example.text)].append(example)
    strata: dict[str, list[list[Example]]] = defaultdict(list)
    for group in groups.values():
        labels = [label for example in group for label in example.labels]
        strata[min(labels, key=lambda label: (counts[label], label), default="")].append(group)
    draw = np.random.default_rng(seed)
    kept: list[Example] = []
    split_off: list[Example] = []
    owed = 0.0  # to validation: what rounding has kept from it, so that the whole has the right size
    for label in sorted(strata):
        stratum = strata[label]
        share = fraction * len(stratum) + owed
        number = min(round(share), len(stratum) - 1)
        owed = min(share - number, 0.5)
        order = draw.permutation(len(stratum)).tolist()
        split_off += [example for i in order[:number] for example in stratum[i]]
        kept += [example for i in order[number:] for example in stratum[i]]
    return kept, split_off


# Files


def _read_file(source: Source, config: DataConfig, encoding: str, note: Note) -> Iterator[Example]:
    text = "".join(read_chunks(source, encoding))
    if text.lstrip().startswith(FASTTEXT) and table_format(source.name, "") is None:
        for line in text.split("\n"):
            if line.strip():
                yield Example(
                    FASTTEXT_LABEL.sub("", line).strip(), _labels(FASTTEXT_LABEL.findall(line), config, source.name)
                )
        return
    table = parse_table(source.name, text, {*TEXT_NAMES, *LABEL_NAMES, *_asked(config)})
    text_column, label_column = _choose_columns(table, config)
    note(f"{source.name}: text is in column {text_column!r}, labels are in {label_column!r}")
    for row in table.rows:
        text = cell_text(row.get(text_column), table.name).strip()
        yield Example(text, _labels(row.get(label_column), config, table.name))


def _read_folder(folder: Path, sources: Sequence[Source], encoding: str, note: Note) -> Iterator[Example]:
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    number = sum(not any(part.startswith(".") for part in file.parts) for file in files)
    if number > len(sources):
        note(f"warning: {folder}: {number - len(sources):,} of {number:,} files are no {encoding} text: left out")
    places = [source.path.relative_to(folder.absolute()).parts for source in sources]
    folders = {parts[0] for parts in places if len(parts) > 1}
    whole = len(folders) > 1 or all(len(parts) > 1 for parts in places)  # a folder a label, a file a text
    others = [parts[0] for parts in places if (len(parts) > 1) != whole]
    if others:
        kind = "folder" if whole else "file"
        shown = _some(sorted(set(others)))
        note(f"warning: {folder}: each {kind} in it is a label, {_texts(len(others))} left out ({shown})")
    for source, parts in zip(sources, places, strict=True):
        if (len(parts) > 1) == whole:
            text = "".join(read_chunks(source, encoding))
            if whole:
                yield Example(text.strip(), (_clean(parts[0]),))
            else:
                label = (_clean(without_suffixes(parts[0])),)
                yield from (Example(line.strip(), label) for line in text.split("\n") if line.strip())


def _labels(value: Any, config: DataConfig, name: str) -> tuple[str, ...]:
    """The labels in a cell of file `name`, each once."""
    if not isinstance(value, list):
        value = cell_text(value, name)
        value = value.split(config.label_separator) if config.label_separator else [value]
    cells = (_clean(cell_text(item, name)) for item in value)
    return tuple(dict.fromkeys(cell for cell in cells if cell))


def _clean(label: str) -> str:
    """In one line, and Unicode."""
    return " ".join(label.encode("utf-8", "replace").decode().split())


def _asked(config: DataConfig) -> set[str]:
    return {name.lower() for name in (config.text_column, config.label_column) if name and not name.isdecimal()}


def _choose_columns(table: Table, config: DataConfig) -> tuple[str, str]:
    """The columns of text and labels: those asked for, those with a recognised name, or what is left of two."""
    text = table.column(config.text_column, "text")
    label = table.column(config.label_column, "label")
    text = text or table.recognised(TEXT_NAMES, label)
    label = label or table.recognised(LABEL_NAMES, text)
    if len(table.columns) == 2 and text is None and label is None:
        # A label comes again and again.
        label = min(table.columns, key=lambda column: len({str(row.get(column)) for row in table.rows}))
    if len(table.columns) == 2:
        text = text or next(column for column in table.columns if column != label)
        label = label or next(column for column in table.columns if column != text)
    for option, column in (("--text-column", text), ("--label-column", label)):
        if column is None:
            left = [column for column in table.columns if column not in (text, label)]
            if not left:
                raise UsageError(f"{table.name}: has one column only: a text needs a label beside it")
            raise UsageError(f"{table.name}: which column? Give {option}, one of: {', '.join(left)}")
    assert text is not None
    assert label is not None
    if text == label:
        raise UsageError(f"{table.name}: {text!r} cannot be both the text and the label")
    return text, label


# Checks


def _without_gaps(examples: list[Example], config: DataConfig, part: str, note: Note) -> list[Example]:
    """The examples that have a text and, unless there may be none, a label."""
    texts = [example for example in examples if example.text]
    if len(texts) < len(examples):
        note(f"warning: {_texts(len(examples) - len(texts), 'is', 'are')} empty in the {part} part, and left out")
    if config.multi_label:
        return texts
    labelled = [example for example in texts if example.labels]
    if len(labelled) < len(texts):
        note(f"warning: {_texts(len(texts) - len(labelled), 'has', 'have')} no label in the {part} part, and left out")
    return labelled


def _known_only(val: list[Example], labels: Sequence[str], note: Note) -> list[Example]:
    known = set(labels)
    kept = [example for example in val if known.issuperset(example.labels)]
    if len(kept) < len(val):
        unknown = sorted({label for example in val for label in example.labels} - known)
        note(
            f"warning: {_texts(len(val) - len(kept), 'has', 'have')} a label in the validation part that training "
            f"never saw ({_some(unknown)}), and left out"
        )
    return kept


def _note_look_alikes(labels: Sequence[str], note: Note) -> None:
    alike = defaultdict(list)
    for label in labels:
        alike[label.casefold()].append(label)
    for same in alike.values():
        if len(same) > 1:
            note(f"warning: labels {' and '.join(map(repr, same))} differ only in case: they are kept apart")


def _note_conflicts(examples: list[Example], note: Note) -> None:
    labels = defaultdict(set)
    for example in examples:
        labels[_key(example.text)].add(frozenset(example.labels))
    if len(labels) < len(examples):
        note(f"{_texts(len(examples) - len(labels), 'repeats', 'repeat')} another in the training part")
    conflicts = [text for text, different in labels.items() if len(different) > 1]
    if conflicts:
        shown = _some([text[:60] for text in conflicts])
        note(f"warning: {_texts(len(conflicts), 'has', 'have')} different labels in different places: {shown}")


def _note_straddling(train: list[Example], other: list[Example], part: str, note: Note) -> None:
    known = {_key(example.text) for example in train}
    number = sum(_key(example.text) in known for example in other)
    if number:
        note(
            f"warning: {_texts(number, 'is', 'are')} also in training, of {len(other):,} in the {part} part: "
            "its figures flatter"
        )


def _key(text: str) -> str:
    """What makes two texts the same."""
    return " ".join(text.split())


def _texts(number: int, singular: str = "", plural: str = "") -> str:
    return f"{number:,} {'text' if number == 1 else 'texts'} {singular if number == 1 else plural}".rstrip()


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
