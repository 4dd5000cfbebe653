"""Settings: one flat set of names, converted by the type of their field."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.network.config import NetworkConfig
from charrnn.settings import changed, distribute, from_mapping, parse_pair, read_toml
from charrnn.text.dataset import TextConfig
from charrnn.training.config import TrainingConfig

KINDS = (TextConfig, NetworkConfig, TrainingConfig)


@dataclass(frozen=True)
class Example:
    """A field of each type."""

    steps: int = 1
    lr: float = 0.5
    tied: bool = False
    device: str = "auto"
    cell: Literal["gru", "lstm"] = "gru"
    width: int | None = 7
    minutes: float | None = 3.0
    norm: Literal["rms", "layer"] | None = None


def complaint(values: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        from_mapping(Example, values)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("steps", "20", 20),
        ("steps", 20, 20),
        ("steps", "-3", -3),
        ("lr", "1e-3", 1e-3),
        ("lr", "2", 2.0),
        ("lr", 2, 2.0),
        ("tied", "true", True),
        ("tied", "False", False),
        ("tied", True, True),
        ("device", "cpu", "cpu"),
        ("device", "none", "none"),
        ("cell", "lstm", "lstm"),
        ("width", "256", 256),
        ("width", "none", None),
        ("width", None, None),
        ("minutes", "0.5", 0.5),
        ("minutes", 1, 1.0),
        ("minutes", "none", None),
        ("norm", "layer", "layer"),
        ("norm", "none", None),
    ],
)
def test_a_value_becomes_one_of_its_fields_type(name: str, given_value: object, value: object) -> None:
    converted = getattr(from_mapping(Example, {name: given_value}), name)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("steps", "1.5", "a whole number"),
        ("steps", 1.5, "a whole number"),
        ("steps", True, "a whole number"),
        ("steps", "many", "a whole number"),
        ("steps", None, "a whole number"),
        ("steps", "none", "a whole number"),
        ("steps", [1], "a whole number"),
        ("lr", "fast", "a number"),
        ("lr", False, "a number"),
        ("lr", "", "a number"),
        ("tied", "yes", "true or false"),
        ("tied", 1, "true or false"),
        ("device", 3, "text"),
        ("width", "wide", "a whole number"),
        ("width", 2.0, "a whole number"),
        ("minutes", "a\nb", "a number"),
        ("minutes", {}, "a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_is_wanted(name: str, value: object, wanted: str) -> None:
    assert complaint({name: value}) == f"{name} must be {wanted}, not {value!r}"


@pytest.mark.parametrize("value", ["rnn", "GRU", "", None, 1, []])
def test_a_value_that_is_no_choice_is_told_the_choices(value: object) -> None:
    assert complaint({"cell": value}) == f"unknown cell {value!r}: choose from gru, lstm"


def test_an_unknown_name_is_told_the_nearest() -> None:
    assert complaint({"step": 1}) == "unknown setting 'step': did you mean 'steps'?"
    assert complaint({"zzz": 1}) == "unknown setting 'zzz'"


def test_what_is_not_given_keeps_its_default() -> None:
    assert from_mapping(Example, {}) == Example()
    assert from_mapping(Example, {"steps": 9}) == Example(steps=9)


def test_only_what_differs_from_its_default_has_changed() -> None:
    assert changed(Example()) == {}
    assert changed(Example(steps=9, width=None, minutes=3)) == {"steps": 9, "width": None}


def test_names_of_settings_are_unique_over_a_whole_run() -> None:
    names = [field.name for kind in KINDS for field in fields(kind)]
    assert sorted(names) == sorted(set(names))


def test_every_default_survives_being_written_as_text() -> None:
    for kind in KINDS:
        values = {field.name: str(getattr(kind(), field.name)).replace("None", "none") for field in fields(kind)}
        assert from_mapping(kind, values) == kind()


def test_flat_settings_go_to_the_config_that_has_the_field() -> None:
    values = {"cell": "gru", "vocab": "byte", "batch_size": 8, "lr": 0.1}
    assert distribute(values, *KINDS) == [{"vocab": "byte"}, {"cell": "gru"}, {"batch_size": 8, "lr": 0.1}]


def test_a_name_that_no_config_has_is_told_the_nearest_of_all() -> None:
    with pytest.raises(UsageError, match=r"^unknown setting 'bach_size': did you mean 'batch_size'\?$"):
        distribute({"cell": "gru", "bach_size": 8}, *KINDS)


@pytest.mark.parametrize(
    ("pair", "parsed"),
    [("a=1", ("a", "1")), (" a = b = c ", ("a", "b = c")), ("a=", ("a", "")), ("a==", ("a", "="))],
)
def test_a_pair_is_cut_at_its_first_equals_sign(pair: str, parsed: tuple[str, str]) -> None:
    assert parse_pair(pair) == parsed


@pytest.mark.parametrize("pair", ["a", "", "=1", " = 1"])
def test_what_is_no_pair_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        parse_pair(pair)


def test_a_toml_file_gives_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('# a comment\nlr = 2\nvocab = "byte"\ntie_weights = true\n')
    assert read_toml(path) == {"lr": 2, "vocab": "byte", "tie_weights": True}


@settings(derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(), st.text('a="1[]{}\n\r\t\\#\x00\u2028é.', min_size=1).map(str.encode)))
@example(content=b"a = ")
@example(content=b'a = "unclosed\n')
@example(content=b"a = 1\na = 2\n")
@example(content=b"[a\nb]")
@example(content=b"\xff")
def test_a_file_that_is_not_toml_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    message = None
    try:
        assert isinstance(read_toml(path), dict)
    except UsageError as error:
        message = str(error)
    if message is not None:
        assert message.startswith(f"{path}: not a TOML file: ")
        assert len(message.splitlines()) == 1


def test_broken_toml_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text("lr: 1\n")
    with pytest.raises(UsageError, match=r"run\.toml: not a TOML file: .* line 1"):
        read_toml(path)


def test_a_toml_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "run.toml")
