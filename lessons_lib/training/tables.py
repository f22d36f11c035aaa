"""Frozen dataclasses from the tables of a TOML file, with errors that say what to mend and where.

A field's annotation says what it takes: a number, a text, one of some texts (``Literal``), a list,
a table of anything (``dict``), or a table that another dataclass describes.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from lessons_lib.data import unknown

Settings = TypeVar("Settings")


class ConfigError(ValueError):
    """A config file that cannot be read, or that says something impossible."""


@contextmanager
def told(place: object) -> Iterator[None]:
    """Errors from within say where: ``place: what is wrong``."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def from_table(kind: type[Settings], table: dict[str, Any], **given: Any) -> Settings:
    """A dataclass from a table of its fields, and of theirs if they are dataclasses themselves.

    Args:
        kind: the dataclass; what the table leaves out keeps its default.
        table: as TOML has it.
        given: fields that are not for the table to say.

    Raises:
        ConfigError: an unknown key (says the nearest), or an impossible value.
    """
    known = {item.name: item.type for item in fields(kind) if item.name not in given}  # type: ignore[arg-type]
    values = dict(table)
    for key, value in table.items():
        if key not in known:
            raise ConfigError(unknown("key", key, known))
        inner = known[key]
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, dict):
            with told(key):
                values[key] = from_table(inner, value)
    return kind(**values, **given)


def check_types(settings: Any) -> None:
    """Whether each field holds what its annotation says; whole numbers may stand for any.

    Raises:
        ConfigError: if one does not.
    """
    for item in fields(settings):
        value, wanted = getattr(settings, item.name), item.type
        if get_origin(wanted) is Literal:
            if value not in get_args(wanted):
                raise ConfigError(unknown(item.name, str(value), get_args(wanted)))
            continue
        wanted = get_origin(wanted) or wanted
        if wanted is float and type(value) is int:
            object.__setattr__(settings, item.name, float(value))
        elif isinstance(wanted, type) and type(value) is not wanted:
            name = "table" if wanted is dict or is_dataclass(wanted) else wanted.__name__
            raise ConfigError(f"{item.name} = {value!r} should be of type {name}")


def check_positive(settings: Any, *names: str) -> None:
    """Whether some fields hold finite numbers above 0.

    Raises:
        ConfigError: if one does not.
    """
    for name in names:
        value = getattr(settings, name)
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} must be positive, not {value}")


def check_not_negative(settings: Any, *names: str) -> None:
    """Whether some fields hold finite numbers, 0 or above.

    Raises:
        ConfigError: if one does not.
    """
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name} must not be negative, but is {value}")
