"""`charrnn corpus list` and `charrnn corpus get`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from charrnn.cli.corpus import corpus
from charrnn.errors import UsageError
from charrnn.text import corpora


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(corpus, [str(argument) for argument in arguments])


def test_list_shows_a_line_for_each() -> None:
    result = run("list")
    assert result.exit_code == 0
    head, *lines = result.stdout.splitlines()
    assert head.split()[:5] == ["NAME", "TEXT", "DOWNLOAD", "LANGUAGE", "LICENCE"]
    assert [line.split()[0] for line in lines] == list(corpora.catalogue())
    assert all(entry.description in result.stdout for entry in corpora.catalogue().values())


def test_list_as_json_has_every_field() -> None:
    entries = json.loads(run("list", "--json").stdout)
    assert [corpora.Corpus(**entry) for entry in entries] == list(corpora.catalogue().values())


def test_get_prints_the_path_and_nothing_else() -> None:
    result = run("get", "python-docs")
    assert result.exit_code == 0
    path = Path(result.stdout.removesuffix("\n"))
    assert path == corpora.get("python-docs")


def test_get_keeps_notes_off_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(name: str, **options: object) -> Path:
        options["report"]("a note")  # type: ignore[operator]
        return tmp_path / name

    monkeypatch.setattr(corpora, "get", get)
    result = run("get", "anything")
    assert result.stdout == f"{tmp_path / 'anything'}\n"
    assert result.stderr == "a note\n"


def test_output_is_a_file_or_a_folder(tmp_path: Path) -> None:
    made = corpora.get("python-docs")
    for output, path in [(tmp_path / "my.txt", tmp_path / "my.txt"), (tmp_path, tmp_path / made.name)]:
        assert run("get", "python-docs", "-o", output).stdout == f"{path}\n"
        assert path.read_bytes() == made.read_bytes()


def test_output_into_a_missing_folder_is_refused_before_anything_is_made(tmp_path: Path, cache: Path) -> None:
    result = run("get", "python-docs", "-o", tmp_path / "missing" / "my.txt")
    assert isinstance(result.exception, UsageError)
    assert not cache.exists()


def test_an_unknown_name_is_a_usage_error() -> None:
    result = run("get", "python-doc")
    assert isinstance(result.exception, UsageError)
    assert "python-docs" in str(result.exception)
