"""`charrnn classify` and the script that makes its models: what they print, take from pipes, and refuse."""

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

import pytest

import charrnn
from charrnn.cli import run
from charrnn.cli.finetune_classifier import finetune_classifier
from charrnn.cli.plot import plot_confusion
from charrnn.errors import UsageError

TINY = {
    "num_readers": 1,
    "char_width": 16,
    "char_layers": 1,
    "subword_width": 16,
    "subword_layers": 1,
    "subword_vocab_size": 300,
}
TINY |= {"batch_size": 16, "bptt_len": 64, "num_validations": 2}
OPTIONS = [f"--set={name}={value}" for name, value in TINY.items()]
OPTIONS += ["--set=precision=fp32", "--device=cpu", "--steps=20"]
WORDS = {"day": ["Monday", "Tuesday", "Sunday 日"], "month": ["April", "June", "October 😀"]}
SCRIPT = Path(charrnn.__file__).parent.parent / "scripts" / "finetune_classifier.py"

Cli = Callable[..., Any]


def rows(number: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    labels = [draw.choice(list(WORDS)) for _ in range(number)]
    return [(label, f"see you in {draw.choice(WORDS[label])} {draw.randrange(99)}") for label in labels]


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labelled") / "train.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in [("label", "text"), *rows(120)]), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def classifier(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHARRNN_CACHE", str(folder / "cache"))
        charrnn.train_classifier(labelled, folder / "model", **TINY, steps=20, precision="fp32", device="cpu")
    return folder / "model"


@pytest.fixture
def script(cli: Cli, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """`script(train, "-o", model, …)`: what the script gives."""

    def call(*arguments: str | Path, stdin: bytes = b"") -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["finetune_classifier.py", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            capfd.readouterr()
            with pytest.raises(SystemExit) as caught:
                run(finetune_classifier, "finetune_classifier.py")
        out, err = capfd.readouterr()
        return type("Result", (), {"code": caught.value.code or 0, "out": out, "err": err})

    return call


# Labelling


def test_a_text_gives_a_line_of_label_and_probability(cli: Cli, classifier: Path) -> None:
    result = cli("classify", classifier, "see you in June", "on Monday 日")
    assert (result.code, result.err) == (0, "")
    labels, probabilities = zip(*(line.split("\t") for line in result.out.splitlines()), strict=True)
    assert labels == ("month", "day")
    assert all(0.5 <= float(probability) <= 1 for probability in probabilities)


def test_the_likeliest_labels_and_json(cli: Cli, classifier: Path) -> None:
    line = cli("classify", classifier, "June", "--top", "5").out.rstrip("\n").split("\t")
    assert (line[0], line[2], len(line)) == ("month", "day", 4)
    record = json.loads(cli("classify", classifier, "June", "--json", "--top", "2").out)
    assert record["label"] == "month"
    assert record["ranking"][0] == ["month", record["probability"]]
    assert sum(probability for _, probability in record["ranking"]) == pytest.approx(1)


def test_every_line_of_standard_input_is_answered(cli: Cli, classifier: Path) -> None:
    lines = ["June", "", "Monday\r", "x" * 5000, "\x85 April \u2028", "日"]
    result = cli("classify", classifier, "-", stdin="\ufeff" + "\n".join(lines))
    assert (result.code, result.err) == (0, "")
    expected = cli("classify", classifier, *lines).out.splitlines()
    assert [line.split("\t")[0] for line in result.out.splitlines()] == [line.split("\t")[0] for line in expected]
    assert cli("classify", classifier, "-", stdin="").out == ""
    assert cli("classify", classifier, "-", stdin="June\n").out.count("\n") == 1


def test_bytes_that_are_no_text_are_told_and_harm_no_other_line(cli: Cli, classifier: Path) -> None:
    result = cli("classify", classifier, "-", stdin=b"June\nmeet you in Jun\xe9\nMonday\n")
    assert [line.split("\t")[0] for line in result.out.splitlines()][::2] == ["month", "day"]
    assert result.err == "warning: lines with bytes that are not utf-8: 1\n"
    assert cli("classify", classifier, "-", "--encoding", "latin-1", stdin=b"Jun\xe9\n").err == ""


def test_a_line_is_answered_before_the_next_one_comes(classifier: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "charrnn", "classify", str(classifier), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    try:
        for text, label in (("June", b"month"), ("on Monday", b"day")):
            process.stdin.write(f"{text}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().split(b"\t")[0] == label
        process.stdin.close()
        assert process.wait() == 0
    finally:
        watchdog.cancel()
        process.stdout.close()


def test_a_line_of_any_length_is_gathered_from_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    import codecs

    from charrnn.cli import lines as reading

    monkeypatch.setattr(reading, "READ_BYTES", 7)
    lines = ["日本" * 50, "", "short", "é" * 33, "last"]
    decoder = codecs.getincrementaldecoder("utf-8")()
    groups = list(reading.read_lines(io.BytesIO("\n".join(lines).encode()), decoder))
    assert [line for group in groups for line in group] == lines


def test_what_no_replacement_mends_is_one_line(cli: Cli, classifier: Path) -> None:
    result = cli("classify", classifier, "-", "--encoding", "utf-16", stdin="no byte order mark\n".encode("utf-16-le"))
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1), result.err
    assert "BOM" in result.err


@pytest.mark.slow
def test_a_long_line_and_many_lines_take_bounded_memory(classifier: Path, tmp_path: Path) -> None:
    measure = (
        "import resource, sys; from charrnn.cli import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)"
    )
    megabytes, answers = [], []
    texts = {"short": "June\n", "long": "see you in June " * 65_000 + "\n", "many": "see you in June\n" * 60_000}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with (tmp_path / name).open("rb") as stdin:
            command = [sys.executable, "-c", measure, "classify", str(classifier), "-"]
            done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=True)
        megabytes.append(int(done.stderr))
        answers.append(done.stdout.splitlines())
    assert list(map(len, answers)) == [1, 1, 60_000]
    assert all(answer.startswith("month\t") for lines in answers for answer in lines)
    assert max(megabytes) < megabytes[0] + 400


def test_reasons_are_shown(cli: Cli, classifier: Path) -> None:
    result = cli("classify", classifier, "see you in October 3", "--explain")
    label, text, reasons = result.out.splitlines()
    assert label.startswith("month\t")
    assert text.strip() == "see you in October 3"
    assert any(word in reasons for word in ("Oct", "cto", "tober"))
    record = json.loads(cli("classify", classifier, "June", "--explain", "--json").out)
    assert "".join(piece for piece, _ in record["pieces"]) == "June"
    assert cli("classify", classifier, "", "--explain").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["classify", "missing", "x"], "missing"),
        (["classify", "MODEL"], "nothing to classify"),
        (["classify", "MODEL", "x", "-"], "not both"),
        (["classify", "MODEL", "x", "--top", "0"], "top"),
        (["classify", "MODEL", "x", "--top", "2", "--explain"], "--top"),
        (["classify", "MODEL", "-", "--encoding", "klingon"], "klingon"),
        (["classify", "MODEL", "-", "--encoding", "hex"], "hex"),
        (["classify", "WRITER", "x"], "holds a language model, not a classifier"),
        (["generate", "MODEL"], "holds a classifier, not a language model"),
        (["evaluate", "MODEL", "TRAIN"], "holds a classifier, not a language model"),
        (["inspect", "MODEL", "TRAIN", "-o", "new.html"], "holds a classifier, not a language model"),
        (["train", "TRAIN", "-o", "MODEL"], "already holds"),
        (["train", "-o", "MODEL", "--resume"], "classifier"),
        (["train", "TRAIN", "-o", "new", "--init-from", "MODEL"], "holds a classifier, not a language model"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line(
    arguments: list[str], words: str, cli: Cli, classifier: Path, trained: Path, labelled: Path
) -> None:
    paths = {"MODEL": str(classifier), "WRITER": str(trained), "TRAIN": str(labelled)}
    result = cli(*(paths.get(argument, argument) for argument in arguments))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err


# Training


def test_the_script_trains_reports_and_draws(script: Cli, labelled: Path, tmp_path: Path, cli: Cli) -> None:
    model = tmp_path / "model"
    result = script(labelled, "-o", model, "--test", labelled, *OPTIONS, "--plot")
    assert result.code == 0, result.err
    assert result.out == (model / "report.txt").read_text()
    assert "120 texts are also in training" in result.err
    assert (model / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert cli("classify", model, "June").out.startswith("month\t")


def test_a_report_without_a_confusion_matrix_is_not_drawn(tmp_path: Path) -> None:
    """That of a run with several labels a text, which --resume may have gone on with."""
    (tmp_path / "report.json").write_text('{"validation": {"per_label": []}}')
    with pytest.raises(UsageError, match="no confusion matrix"):
        plot_confusion(tmp_path / "report.json")


def test_texts_come_from_standard_input_and_quiet_says_nothing(script: Cli, labelled: Path, tmp_path: Path) -> None:
    result = script("-", "-o", tmp_path / "model", *OPTIONS, "-q", stdin=labelled.read_bytes())
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("validation: 12 texts")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("TRAIN", "--output"),
        ("-o new", "TRAIN is missing"),
        ("missing.tsv -o new", "missing.tsv"),
        ("TRAIN -o new --label-column lable", "did you mean 'label'"),
        ("TRAIN -o new --minutes 1 --steps 2", "one budget"),
        ("TRAIN -o new --set chars=3", "unknown setting 'chars'"),
        ("TRAIN -o new --set size=large", "unknown setting 'size'"),
        ("TRAIN -o new --set val=x.tsv", "unknown setting 'val'"),
        ("TRAIN -o new --set output=other", "unknown setting 'output'"),
        ("TRAIN -o new --multi-label --plot", "--plot"),
        ("TRAIN -o new --set multi_label=true --plot", "--plot"),
        ("TRAIN -o new --label-separator ;", "multi_label"),
        ("TRAIN -o new --model missing", "missing"),
        ("TRAIN -o new --val missing.tsv", "missing.tsv"),
        ("TRAIN -o new --unlabelled missing.txt", "missing.txt"),
        ("TRAIN -o MODEL", "already holds"),
        ("-o new --resume", "no run to resume"),
        ("TRAIN -o MODEL --resume", "leave TRAIN out"),
        ("-o MODEL --resume --steps 5", "leave steps out"),
        ("-o MODEL --resume --test x", "leave test out"),
        ("-o MODEL --resume --unlabelled x", "leave unlabelled out"),
    ],
)
def test_a_wrong_call_of_the_script_is_one_line_and_writes_nothing(
    arguments: str, words: str, script: Cli, classifier: Path, labelled: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"MODEL": str(classifier), "TRAIN": str(labelled)}
    result = script("-q", *(paths.get(argument, argument) for argument in arguments.split()))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert words in result.err
    assert not (tmp_path / "new").exists()


def test_a_reader_that_leaves_the_script_ends_it_quietly(labelled: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), str(labelled), "-o", str(tmp_path / "model"), *OPTIONS, "-q"]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
    assert (tmp_path / "model" / "report.txt").exists()


def test_the_script_is_a_program_of_its_own(labelled: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent.parent)}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("Usage: finetune_classifier.py")
    assert shutil.which(str(SCRIPT))
