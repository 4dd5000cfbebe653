"""`charrnn corpus`: the text sets that can be had by name."""

from collections.abc import Sequence
from pathlib import Path

import click


@click.group()
def corpus() -> None:
    """List and get well-known texts to train on."""


@corpus.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print every field, as JSON.")
def list_corpora(as_json: bool) -> None:
    """Show the texts there are, with their sizes (about) and licences."""
    import dataclasses
    import json

    from charrnn.text import corpora

    entries = corpora.catalogue().values()
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    rows = [("NAME", "TEXT", "DOWNLOAD", "LANGUAGE", "LICENCE", "WHAT FOR")]
    for entry in entries:
        travels = f"{entry.download_mb:g} MB" if entry.url else "none"
        rows.append((entry.name, f"{entry.text_mb:g} MB", travels, entry.language, entry.licence, entry.description))
    click.echo(_table(rows))


@corpus.command("get")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Also copy the text to this file, or into this folder.",
)
def get_corpus(name: str, output: Path | None) -> None:
    """Print the path of NAME as a text file, made or downloaded if it isn't there yet."""
    from charrnn.text import corpora

    if output is not None:
        _check_folder(output)
    path = corpora.get(name, report=lambda message: click.echo(message, err=True))
    if output is not None:
        path = _copy(path, output)
    click.echo(path)


def _check_folder(output: Path) -> None:
    """Before a long download, not after it."""
    from charrnn.storage import require_replaceable

    if not output.is_dir():
        require_replaceable(output)


def _copy(path: Path, output: Path) -> Path:
    import shutil

    from charrnn import storage
    from charrnn.errors import CharrnnError

    target = output / path.name if output.is_dir() else output
    try:
        with storage.atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    except OSError as error:
        raise CharrnnError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
