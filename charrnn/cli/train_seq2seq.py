"""`scripts/train_translator.py` and `scripts/train_summarizer.py`: one call, two tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.cli import Command

if TYPE_CHECKING:
    from charrnn.tasks.seq2seq.model import Task

# Options that are settings of the same name, so that a TOML file and --set can hold them too.
SETTINGS = ("minutes", "steps", "epochs", "device", "seed", "source_column", "target_column", "cell")


def _command(task: Task, what: str) -> click.Command:
    """The command that trains a network for this task."""

    @click.command(
        cls=Command,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=f"""Train a network that {what}, on pairs of texts, and report how good it is.

        FILES is a CSV or TSV file or JSON lines with columns of source and target, or two files of as many lines,
        source and target; - is standard input. The report goes to standard output, and with the model into its
        directory.""",
    )
    @click.argument("files", nargs=-1, metavar="FILE | SRC TGT")
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Model directory to make.")
    @click.option("--val", multiple=True, metavar="FILE", help="Pairs for validation; twice for SRC and TGT.")
    @click.option("--test", multiple=True, metavar="FILE", help="Pairs for the report; twice for SRC and TGT.")
    @click.option("--source-column", metavar="NAME", help="Column of the sources: its name, or its number from 1.")
    @click.option("--target-column", metavar="NAME", help="Column of the targets.")
    @click.option("--init-from", metavar="MODEL", help="A language model to start from, of the same cell and width.")
    @click.option("--minutes", type=float, help="Time to train (default 10).")
    @click.option("--steps", type=int, help="Or: number of steps.")
    @click.option("--epochs", type=float, help="Or: passes over the pairs; with --minutes, whichever is less.")
    @click.option("--cell", help="mingru (the default), lstm, gru or elman.")
    @click.option("--encoding", default="utf-8", show_default=True, help="Encoding of the files.")
    @click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
    @click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="One setting, such as lr=0.002.")
    @click.option("--plot", is_flag=True, help="Draw where a validation pair's target looks to attention.png.")
    @click.option("--resume", is_flag=True, help="Go on with the interrupted run in the model directory.")
    @click.option("--device", help="auto, cuda, mps or cpu (default auto).")
    @click.option("--seed", type=int, help="Of everything drawn at random (default 0).")
    @click.option("-q", "--quiet", is_flag=True, help="No progress bar or notes.")
    def train(files: tuple[str, ...], output: Path, **options: Any) -> None:
        _train(task, files, output, **options)

    return train


def _train(
    task: Task,
    files: tuple[str, ...],
    output: Path,
    val: tuple[str, ...],
    test: tuple[str, ...],
    init_from: str | None,
    encoding: str,
    config: Path | None,
    pairs: tuple[str, ...],
    plot: bool,
    resume: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from charrnn.errors import UsageError
    from charrnn.settings import parse_pair, read_toml

    settings = read_toml(config) if config else {}
    settings |= dict(map(parse_pair, pairs))
    settings |= {name: options[name] for name in SETTINGS if options[name] is not None}
    if plot:
        from charrnn.cli.plot import require_matplotlib

        require_matplotlib()
    given = {"FILE": files, "val": val, "test": test, "init-from": init_from}
    if resume and (settings or any(given.values())):
        names = [*(name for name, value in given.items() if value), *settings]
        raise UsageError(f"--resume goes on with the texts and settings of the run: leave {', '.join(names)} out")
    if not resume and not files:
        raise UsageError("FILE is missing: a table of pairs, or two files of as many lines")

    from charrnn import api
    from charrnn.cli.lines import write
    from charrnn.cli.progress import Terminal
    from charrnn.tasks.seq2seq.training import REPORT_JSON, REPORT_TEXT, configs
    from charrnn.training.trainer import Report

    report = Report() if quiet else Terminal()
    try:
        if resume:
            model = api.resume_seq2seq(output, report=report)
        else:
            configs(task, settings)  # refuses the names of the function's other arguments
            model = api.train_seq2seq(
                files,
                output,
                task=task,
                val=val or None,
                test=test or None,
                init_from=init_from,
                encoding=encoding,
                report=report,
                **settings,
            )
    except KeyboardInterrupt:
        if any((output / "training").rglob("state.safetensors")):
            click.echo(f"saved; go on with: -o {output} --resume", err=True)
        raise
    write([(output / REPORT_TEXT).read_text(encoding="utf-8")])
    if plot:
        from charrnn.cli.plot import plot_alignment

        sample = json.loads((output / REPORT_JSON).read_text(encoding="utf-8"))["validation"]["samples"][0]
        try:
            click.echo(
                f"attention: {plot_alignment(model.align(sample['source']), output / 'attention.png')}", err=True
            )
        except UsageError as error:  # the run is good without a picture
            click.echo(f"no attention.png: {error}", err=True)
    if not quiet:
        click.echo(f'model: {output}\n{model.task} with it: charrnn {model.task} {output} "a text"', err=True)


train_translator = _command("translate", "translates")
train_summarizer = _command("summarize", "summarizes")
