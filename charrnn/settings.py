"""Filling frozen dataclasses from `key=value` pairs, TOML files and JSON: one meaning of a name everywhere."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from charrnn.errors import UsageError

Config = TypeVar("Config")


def from_mapping(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """A `kind` with these values, strings converted to the field's type.

    Raises UsageError for an unknown name (with the nearest right one) or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise UsageError(f"unknown setting {name!r}{nearest(name, hints)}")
    return kind(**{name: _convert(name, value, hints[name]) for name, value in values.items()})


def distribute(values: Mapping[str, Any], *kinds: type) -> list[dict[str, Any]]:
    """Sort flat settings into one mapping a dataclass, by field name. Raises UsageError for an unknown name."""
    fields = [set(get_type_hints(kind)) for kind in kinds]
    known = set().union(*fields)
    for name in values:
        if name not in known:
            raise UsageError(f"unknown setting {name!r}{nearest(name, known)}")
    return [{name: values[name] for name in values if name in own} for own in fields]


def read_toml(path: Path) -> dict[str, Any]:
    """The flat settings of a TOML file. Raises UsageError if it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}") from None


def parse_pair(pair: str) -> tuple[str, str]:
    """`key=value` as a pair. Raises UsageError if there is no `=`."""
    name, equals, value = pair.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set takes key=value, not {pair!r}")
    return name.strip(), value.strip()


def nearest(name: str, known: Iterable[str]) -> str:
    """`: did you mean …?`, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def _convert(name: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value is None or value == "none":
            return None
        hint = next(choice for choice in get_args(hint) if choice is not type(None))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            choices = ", ".join(map(str, get_args(hint)))
            raise UsageError(f"unknown {name} {value!r}: choose from {choices}")
        return value
    if hint is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    try:
        if isinstance(value, str) and hint in (int, float):
            return hint(value)
    except ValueError:
        pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UsageError(f"{name} must be {_A[hint]}, not {value!r}")
    return value


_A = {int: "a whole number", float: "a number", bool: "true or false", str: "text", dict: "a table"}


def changed(config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
