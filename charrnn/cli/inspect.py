"""`charrnn inspect`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

BAR = "reading {l_bar}{bar}| {remaining} left"


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("file")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Page to make, such as page.html.")
@click.option(
    "--max-chars", type=int, default=20_000, show_default=True, help="Characters to show, from the beginning."
)
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text.")
@click.option("--device", default="auto", help="auto, cuda, mps or cpu.")
def inspect(model: Path, file: str, output: Path, max_chars: int, encoding: str, device: str) -> None:
    """Show how MODEL reads the text in FILE (a file, a folder, a glob, or -), as one HTML page.

    The page works by itself in any browser: the text coloured by surprise, the likeliest alternatives at every
    character, surprise along the text, and the units of the recurrent state, with a search for those that track a
    property of the text, such as the position in the line.
    """
    from charrnn.errors import CharrnnError, UsageError
    from charrnn.storage import atomic_write, require_replaceable
    from charrnn.text.reading import find_text

    if max_chars < 1:
        raise UsageError(f"--max-chars must be at least 1, not {max_chars}")
    require_replaceable(output)
    source = find_text([file], encoding)
    text = "".join(source.slice(0, max_chars + 1))
    if not text:
        raise UsageError("the text is empty: nothing to show")

    from tqdm import tqdm

    from charrnn.inspection import page, properties
    from charrnn.inspection.trace import trace
    from charrnn.tasks.language_model.model import LanguageModel

    loaded = LanguageModel.load(model, device)
    if is_cut := len(text) > max_chars:
        text = text[:max_chars]
        click.echo(f"the text is longer: showing its first {max_chars:,} characters (see --max-chars)", err=True)
    often = 0.5 if sys.stderr.isatty() else 30.0
    with tqdm(total=100, file=sys.stderr, delay=1, mininterval=often, leave=False, bar_format=BAR) as bar:
        found = trace(loaded, text, report=lambda done: bar.update(round(100 * done) - bar.n))
    network = loaded.network.config
    about = page.About(
        title="standard input" if file == "-" else Path(file).name,
        model=model.resolve().name,
        network=f"{network.cell}, {network.depth} layers of {network.width}",
        is_cut=is_cut,
    )
    made = page.render(found, properties.search(found), loaded.vocab, about)
    try:
        atomic_write(output, made)
    except OSError as error:
        raise CharrnnError(f"cannot write {output}: {error.strerror or error}") from error
    size = os.path.getsize(output) / 1e6
    click.echo(f"{output}: {len(text):,} characters, {found.bits_per_char:.3f} bits per char, {size:.1f} MB", err=True)
