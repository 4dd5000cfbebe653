"""`charrnn train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

# Options that are settings of the same name, so that a TOML file and --set can hold them too.
SETTINGS = ("minutes", "steps", "epochs", "vocab", "vocab_size", "cell", "size", "device", "seed")


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Model directory to make.")
@click.option("--minutes", type=float, help="Time to train (default 3).")
@click.option("--steps", type=int, help="Or: number of steps.")
@click.option("--epochs", type=float, help="Or: passes over the text; with --minutes, whichever is less.")
@click.option("--vocab", type=click.Choice(["char", "byte", "subword"]), help="What the network reads (default char).")
@click.option("--vocab-size", type=int, help="Most entries of the vocabulary (char 4096, subword 2048).")
@click.option("--cell", type=click.Choice(["lstm", "mingru", "gru", "elman"]), help="Recurrent cell (default lstm).")
@click.option(
    "--size",
    type=click.Choice(["tiny", "small", "base", "large"]),
    help="Size of the network (default: what suits the budget).",
)
@click.option("--val", multiple=True, metavar="FILE", help="Validation text (default: the last 10 % of the text).")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the text.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting, such as lr=0.002.")
@click.option("--init-from", type=click.Path(path_type=Path), metavar="MODEL", help="Start from this model.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in the model directory.")
@click.option("--device", help="auto, cuda, mps or cpu (default auto).")
@click.option("--seed", type=int, help="Of everything drawn at random (default 0).")
@click.option("--plot", is_flag=True, help="Draw the loss curve to loss.png (needs matplotlib).")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, notes or samples.")
def train(
    files: tuple[str, ...],
    output: Path,
    val: tuple[str, ...],
    encoding: str,
    config: Path | None,
    pairs: tuple[str, ...],
    init_from: Path | None,
    resume: bool,
    plot: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a model on the text in FILEs: files, folders, globs, or - for standard input.

    With no FILE it trains on python-docs, a text that comes with Python. The best weights are kept; Ctrl-C saves
    the run, and --resume goes on with it.
    """
    from charrnn.settings import distribute, parse_pair, read_toml

    settings = read_toml(config) if config else {}
    settings |= dict(map(parse_pair, pairs))
    settings |= {name: options[name] for name in SETTINGS if options[name] is not None}
    if plot:
        from charrnn.cli.plot import require_matplotlib

        require_matplotlib()

    if resume and (settings or val or init_from):
        from charrnn.errors import UsageError

        names = [*settings, *(["val"] if val else []), *(["init_from"] if init_from else [])]
        raise UsageError(f"--resume goes on with the settings of the run: leave {', '.join(names)} out")

    from charrnn import api
    from charrnn.cli.progress import Terminal
    from charrnn.training.trainer import Report

    report = Report() if quiet else Terminal()
    try:
        if resume:
            api.resume(output, files, encoding=encoding, report=report)
        else:
            distribute(settings, *api.SETTINGS)  # refuses the names of train's other arguments
            api.train(files, output, val=val, encoding=encoding, init_from=init_from, report=report, **settings)
    except KeyboardInterrupt:
        if (output / "training" / "state.safetensors").exists():
            click.echo(f"saved; go on with: charrnn train -o {output} --resume", err=True)
        raise
    if plot:
        from charrnn.cli.plot import plot_run

        click.echo(f"loss curve: {plot_run(output)}", err=True)
    if not quiet:
        click.echo(f'model: {output}\nwrite with it: charrnn generate {output} -p "Once"', err=True)
