"""`charrnn translate`, `charrnn summarize`, and the scripts that make their models: what they print and refuse."""

import io
import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import charrnn
from charrnn.cli import plot, run
from charrnn.cli.train_seq2seq import train_summarizer, train_translator
from charrnn.tasks.seq2seq.model import Alignment, Seq2Seq

TINY = {"hidden_size": 32, "encoder_layers": 2, "decoder_layers": 1, "num_heads": 2, "dropout": 0.0}
TINY |= {"batch_size": 32, "num_validations": 2}
OPTIONS = [f"--set={name}={value}" for name, value in TINY.items()]
OPTIONS += ["--set=precision=fp32", "--device=cpu", "--steps=10"]
SCRIPTS = Path(charrnn.__file__).parent.parent / "scripts"

Cli = Callable[..., Any]


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    words = ["".join(draw.choice("abcd") for _ in range(draw.randrange(1, 5))) for _ in range(300)]
    path = tmp_path_factory.mktemp("pairs") / "train.tsv"
    path.write_text("src\ttgt\n" + "".join(f"{word}\t{word.upper()}\n" for word in words))
    return path


@pytest.fixture(scope="session")
def translator(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_CACHE", str(folder / "cache"))
        charrnn.train_seq2seq(pairs, folder / "model", **TINY, steps=60, precision="fp32", device="cpu")
    return folder / "model"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`script(files, "-o", model, …)`: what the script gives."""

    def call(*arguments: str | Path, stdin: bytes = b"", command: click.Command = train_translator) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["train", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            capfd.readouterr()
            with pytest.raises(SystemExit) as caught:
                run(command, "train")
        out, err = capfd.readouterr()
        return type("Result", (), {"code": caught.value.code or 0, "out": out, "err": err})

    return call


# Translating


def test_a_text_gives_a_line(cli: Cli, translator: Path) -> None:
    result = cli("translate", translator, "ab", "cad")
    assert (result.code, result.err) == (0, "")
    expected = charrnn.load(translator, device="cpu").translate(["ab", "cad"])
    assert result.out == "".join(f"{found.text}\n" for found in expected)
    assert cli("summarize", translator, "ab", "cad").out == result.out


def test_the_best_with_scores_and_as_json(cli: Cli, translator: Path) -> None:
    search = ("--beam", "4", "--length-penalty", "0", "--num-best", "3")
    lines = [line.split("\t") for line in cli("translate", translator, "ab", *search, "--scores").out.splitlines()]
    scores = [float(score) for score, _ in lines]
    assert len(lines) == 3
    assert scores == sorted(scores, reverse=True)
    record = json.loads(cli("translate", translator, "ab", *search, "--json").out)
    assert (record["source"], record["text"]) == ("ab", lines[0][1])
    assert [candidate["text"] for candidate in record["candidates"]] == [text for _, text in lines]
    assert [candidate["score"] for candidate in record["candidates"]] == pytest.approx(scores, abs=1e-3)
    assert all(candidate["nats"] > 0 for candidate in record["candidates"])


def test_every_line_of_standard_input_is_answered_in_order(cli: Cli, translator: Path) -> None:
    lines = ["abc", "", "d\r", "\x85 ab \u2028", "日", "cab"]
    result = cli("translate", translator, "-", "--beam", "1", stdin="\ufeff" + "\n".join(lines))
    assert (result.code, result.err) == (0, "")
    assert result.out == cli("translate", translator, *lines, "--beam", "1").out
    assert cli("translate", translator, "-", stdin="").out == ""


def test_what_is_no_text_and_what_is_too_long_are_told(cli: Cli, translator: Path) -> None:
    result = cli("translate", translator, "-", stdin=b"ab\nJun\xe9\n" + 900 * b"ab" + b"\nba\n")
    assert result.out.count("\n") == 4
    bytes_note, cut_note = result.err.splitlines()
    assert bytes_note == "warning: lines with bytes that are not utf-8: 1"
    assert cut_note == "warning: texts longer than the model reads (400 entries), middles left out: 1"


def test_a_line_is_answered_before_the_next_one_comes(translator: Path, cli: Cli) -> None:
    expected = cli("translate", translator, "ab", "dc").out.encode().splitlines(keepends=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "translate", str(translator), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        for text, answer in zip((b"ab\n", b"dc\n"), expected, strict=True):
            process.stdin.write(text)
            process.stdin.flush()
            assert process.stdout.readline() == answer
        process.stdin.close()
        assert process.wait() == 0
    finally:
        watchdog.cancel()
        process.stdout.close()


def test_plot_draws_where_the_answer_looks(cli: Cli, translator: Path, tmp_path: Path) -> None:
    result = cli("translate", translator, "ab", "--plot", tmp_path / "new.png")
    assert result.code == 0, result.err
    assert result.out == cli("translate", translator, "ab").out
    assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_drawn_is_what_was_printed(
    cli: Cli, translator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Alignment] = []
    monkeypatch.setattr(plot, "plot_alignment", lambda alignment, path: drawn.append(alignment))
    monkeypatch.setattr(Seq2Seq, "translate", lambda *_: pytest.fail("it was searched for anew, with other options"))
    result = cli("translate", translator, "ab", "--beam", "1", "--plot", tmp_path / "new.png")
    assert "".join(drawn[0].target) == result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["translate", "missing", "x"], "missing"),
        (["translate", "MODEL"], "nothing to translate"),
        (["summarize", "MODEL"], "nothing to summarize"),
        (["translate", "MODEL", "x", "-"], "not both"),
        (["translate", "MODEL", "x", "--num-best", "11"], "beam"),
        (["translate", "MODEL", "x", "--beam", "0"], "beam"),
        (["translate", "MODEL", "x", "--length-penalty", "-1"], "length_penalty"),
        (["translate", "MODEL", "x", "--json", "--scores"], "--scores"),
        (["translate", "MODEL", "x", "y", "--plot", "new.png"], "--plot"),
        (["translate", "MODEL", "-", "--encoding", "klingon"], "klingon"),
        (["translate", "WRITER", "x"], "holds a language model, not a seq2seq"),
        (["generate", "MODEL"], "holds a seq2seq, not a language model"),
        (["classify", "MODEL", "x"], "holds a seq2seq, not a classifier"),
        (["train", "PAIRS", "-o", "MODEL"], "already holds"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], words: str, cli: Cli, translator: Path, trained: Path, pairs: Path
) -> None:
    paths = {"MODEL": str(translator), "WRITER": str(trained), "PAIRS": str(pairs)}
    result = cli(*(paths.get(argument, argument) for argument in arguments))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err


# Training


def test_a_script_trains_and_reports(script: Cli, pairs: Path, tmp_path: Path, cli: Cli) -> None:
    model = tmp_path / "model"
    result = script(pairs, "-o", model, "--test", pairs, *OPTIONS, "--plot")
    assert result.code == 0, result.err
    assert result.out == (model / "report.txt").read_text()
    assert (model / "attention.png").read_bytes().startswith(b"\x89PNG")
    assert "source that is also in training" in result.err
    assert f"charrnn translate {model}" in result.err
    assert cli("translate", model, "ab").code == 0


def test_what_points_nowhere_is_trained_without_a_picture(script: Cli, pairs: Path, tmp_path: Path, cli: Cli) -> None:
    model = tmp_path / "model"
    result = script(pairs, "-o", model, *OPTIONS, "--set=lexicon=0", "--plot")
    assert result.code == 0, result.err
    assert "no attention.png" in result.err
    assert cli("translate", model, "ab").code == 0
    assert cli("translate", model, "ab", "--plot", tmp_path / "new.png").code == 2


def test_pairs_come_from_standard_input_or_two_files(script: Cli, pairs: Path, tmp_path: Path) -> None:
    result = script("-", "-o", tmp_path / "one", *OPTIONS, "-q", stdin=pairs.read_bytes(), command=train_summarizer)
    assert (result.code, result.err) == (0, "")
    assert charrnn.load(tmp_path / "one").task == "summarize"
    rows = [line.split("\t") for line in pairs.read_text().splitlines()[1:]]
    files = [tmp_path / "a.src", tmp_path / "a.tgt"]
    for i, file in enumerate(files):
        file.write_text("".join(f"{row[i]}\n" for row in rows))
    both = [option for file in files for option in ("--val", file)]
    result = script(*files, *both, "-o", tmp_path / "two", *OPTIONS, "-q")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("PAIRS", "--output"),
        ("-o new", "FILE is missing"),
        ("missing.tsv -o new", "missing.tsv"),
        ("PAIRS PAIRS PAIRS -o new", "not in 3 files"),
        ("PAIRS -o new --target-column tgd", "did you mean 'tgt'"),
        ("PAIRS -o new --minutes 1 --steps 2", "one budget"),
        ("PAIRS -o new --set layers=3", "unknown setting 'layers'"),
        ("PAIRS -o new --set task=summarize", "unknown setting 'task'"),
        ("PAIRS -o new --set init_from=x", "unknown setting 'init_from'"),
        ("PAIRS -o new --cell transformer", "unknown cell"),
        ("PAIRS -o MODEL", "already holds"),
        ("-o new --resume", "no run to resume"),
        ("PAIRS -o MODEL --resume", "leave FILE out"),
        ("-o MODEL --resume --steps 5 --test x", "leave test, steps out"),
    ],
)
def test_a_wrong_call_of_a_script_is_one_line_and_writes_nothing(
    arguments: str, words: str, script: Cli, translator: Path, pairs: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"MODEL": str(translator), "PAIRS": str(pairs)}
    result = script("-q", *(paths.get(argument, argument) for argument in arguments.split()))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err
    assert not (tmp_path / "new").exists()


def test_a_report_is_told_whatever_the_encoding_of_the_terminal(pairs: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, str(SCRIPTS / "train_translator.py"), str(pairs), "-o", str(tmp_path / "model"), "-q"]
    done = subprocess.run([*command, *OPTIONS], capture_output=True, check=True, env=environment)
    assert done.stdout == (tmp_path / "model" / "report.txt").read_bytes()
    assert "→" in done.stdout.decode()


@pytest.mark.parametrize("name", ["train_translator.py", "train_summarizer.py"])
def test_a_script_is_a_program_of_its_own(name: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, str(SCRIPTS / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(f"Usage: {name}")
    assert shutil.which(str(SCRIPTS / name))
