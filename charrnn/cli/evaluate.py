"""`charrnn evaluate`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import click


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--per-line", is_flag=True, help="Score each line on its own; one JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text.")
@click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
def evaluate(model: Path, files: tuple[str, ...], per_line: bool, as_json: bool, encoding: str, device: str) -> None:
    """Score the text in FILEs (files, folders, globs, or -) under MODEL.

    Every character is scored once, after all that comes before it. Bits per byte compare models of any vocabulary.
    """
    from charrnn.text.reading import find_text

    text = find_text(files, encoding)

    from charrnn import api

    loaded = api.load(model, device)
    if per_line:
        for number, line_score in enumerate(loaded.score_lines(_lines(text.chunks())), start=1):
            click.echo(json.dumps({"line": number} | line_score.as_dict()))
        return
    score = loaded.score(text.chunks())
    if as_json:
        click.echo(json.dumps(score.as_dict()))
        return
    if score.chars == 0:
        from charrnn.errors import UsageError

        raise UsageError("the text is empty: nothing to score")
    click.echo(f"bits per char  {score.bits_per_char:.4f}   ({score.nats_per_char:.4f} nats)")
    click.echo(f"bits per byte  {score.bits_per_byte:.4f}")
    click.echo(f"perplexity     {score.perplexity:.4f}   per token")
    click.echo(f"total          {score.nats:,.1f} nats")
    click.echo(f"scored         {score.chars:,} characters, {score.bytes:,} bytes, {score.tokens:,} tokens")


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from lines
    if rest:
        yield rest
