"""The command line: arguments to one call each, and the only place that prints.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 a run that failed, 2 a call that can't work,
130 on Ctrl-C, 141 where the reader has gone. A command's module is imported only when that command is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from charrnn import __version__
from charrnn.errors import CharrnnError

COMMANDS = {
    "train": "Train a model on text.",
    "generate": "Write text with a model.",
    "evaluate": "Score a text under a model.",
    "classify": "Label texts with a classifier.",
    "translate": "Translate texts.",
    "summarize": "Summarize texts.",
    "inspect": "Show how a model reads a text, as a web page.",
    "corpus": "List and get named corpora.",
}

OUT_OF_MEMORY = "out of memory: a smaller network, a smaller batch or a shorter text needs less"


class Command(click.Command):
    """A command that ends as other programs do when its reader has gone."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make it exit code 1
            _reader_gone()


class Commands(Command, click.Group):
    """A group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"charrnn.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from charrnn.settings import nearest

            ctx.fail(f"no command {args[0]!r}{nearest(args[0], COMMANDS) or ': see charrnn --help'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="charrnn")
def charrnn() -> None:
    """Train recurrent networks on text; write, score, classify, translate and summarize with them.

    \b
    charrnn train book.txt -o model      a few minutes, on the GPU if there is one
    charrnn generate model -p "Once"     writes
    charrnn evaluate model other.txt     scores
    charrnn classify model "a text"      labels, with a model that finetune_classifier made
    charrnn translate model "a text"     with a model that train_translator made; summarize is alike
    charrnn inspect model other.txt -o page.html
    """


def main() -> NoReturn:
    """Run the command line."""
    run(charrnn, "charrnn")


def run(command: click.Command, name: str) -> NoReturn:
    """Run a command; every error a user can meet is one line."""
    # Threads that wait for each other spin before they sleep. By GNU OpenMP's default they spin so long that one
    # other busy program makes training twenty times slower; this short, waiting is as quick, and fair. It must be
    # set before torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, stream) is None:  # closed by the caller
            setattr(sys, stream, open(os.devnull, mode))  # noqa: SIM115
    try:
        command.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(0)
    except CharrnnError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            error.show()
            sys.exit(2)
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", 130)
    except BrokenPipeError:
        _reader_gone()
    except MemoryError:
        _fail(OUT_OF_MEMORY, 1)
    except RuntimeError as error:  # which is what torch makes of it
        if "allocate memory" not in str(error) and type(error).__name__ != "OutOfMemoryError":
            raise
        _fail(OUT_OF_MEMORY, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or error}", 1)


def _reader_gone() -> NoReturn:
    """The reader has gone (`| head`): nothing is left to say, and nowhere to say it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _fail(message: str, code: int) -> NoReturn:
    first_line = " ".join(message.split())
    print(f"charrnn: {first_line}", file=sys.stderr)
    sys.exit(code)
