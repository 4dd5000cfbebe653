"""`charrnn evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

DYNAMIC_FIGURES = ("nats", "nats_per_char", "bits_per_char", "bits_per_byte")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--per-line", is_flag=True, help="Score each line on its own; one JSON object a line.")
@click.option("--dynamic", is_flag=True, help="Score also while a copy of the model learns from the text as it reads.")
@click.option("--dynamic-lr", type=float, help="Learning rate of --dynamic (default 0.0003).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text.")
@click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
def evaluate(
    model: Path,
    files: tuple[str, ...],
    per_line: bool,
    dynamic: bool,
    dynamic_lr: float | None,
    as_json: bool,
    encoding: str,
    device: str,
) -> None:
    """Score the text in FILEs (files, folders, globs, or -) under MODEL.

    Every character is scored once, after all that comes before it. Bits per byte compare models of any vocabulary.
    With --dynamic the text is scored a second time beside the first, by a copy that learns from each stretch of it
    once that is scored.
    """
    from charrnn.errors import UsageError
    from charrnn.text.reading import find_text

    if dynamic and per_line:
        raise UsageError("--dynamic reads one text from its beginning to its end: leave --per-line out")
    if dynamic_lr is not None and not dynamic:
        raise UsageError("--dynamic-lr is a setting of --dynamic: give both")
    text = find_text(files, encoding)

    from charrnn.network.dynamic import DynamicConfig
    from charrnn.tasks.language_model.model import LanguageModel

    config = DynamicConfig() if dynamic_lr is None else DynamicConfig(lr=dynamic_lr)
    loaded = LanguageModel.load(model, device)
    if per_line:
        for number, line_score in enumerate(loaded.score_lines(text.lines()), start=1):
            click.echo(json.dumps({"line": number} | line_score.as_dict()))
        return
    if dynamic:
        score, adapted = loaded.score_dynamic(text.chunks(), config)
    else:
        score, adapted = loaded.score(text.chunks()), None
    if as_json:
        figures: dict[str, Any] = score.as_dict()
        if adapted:
            adapted_figures = adapted.as_dict()
            figures["dynamic"] = {name: adapted_figures[name] for name in DYNAMIC_FIGURES} | asdict(config)
        click.echo(json.dumps(figures))
        return
    if score.chars == 0:
        raise UsageError("the text is empty: nothing to score")
    click.echo(f"bits per char  {score.bits_per_char:.4f}   ({score.nats_per_char:.4f} nats)")
    click.echo(f"bits per byte  {score.bits_per_byte:.4f}")
    click.echo(f"perplexity     {score.perplexity:.4f}   per token")
    click.echo(f"total          {score.nats:,.1f} nats")
    click.echo(f"scored         {score.chars:,} characters, {score.bytes:,} bytes, {score.tokens:,} tokens")
    if adapted:
        click.echo(
            f"dynamic        {adapted.bits_per_char:.4f} bits per char ({adapted.nats_per_char:.4f} nats), "
            f"{adapted.bits_per_byte:.4f} bits per byte, at lr {config.lr:g}"
        )
