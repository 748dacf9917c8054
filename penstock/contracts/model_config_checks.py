"""Checks that settings of a model configuration share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import cast

from penstock.contracts.errors import InvalidInput

_LARGEST = 1e300
"""Numbers beyond it are refused before they overflow."""


def require(holds: bool, where: str, message: str) -> None:  # noqa: FBT001 - reads as an assertion
    """Refuse a setting.

    Raises:
        InvalidInput: `holds` is false; its field is `where`.
    """
    if not holds:
        raise invalid(where, message)


def invalid(where: str, message: str) -> InvalidInput:
    """Return the refusal of a setting; its field is the setting's path."""
    return InvalidInput(f"model configuration: {where}: {message}", reason="BAD_VALUE", field=where)


def check_file(name: str | None, where: str) -> None:
    """Refuse file names that lead out of the folder they are in."""
    if name is None:
        return
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and name.isprintable()
    require(inside, where, f"{name[:80]!r} must be a relative path inside the folder")


def unknown_key(path: str, known: Iterable[str]) -> InvalidInput:
    """Return the refusal of a key that does not exist, with the nearest one that does."""
    near = get_close_matches(path.rpartition(".")[2], sorted(known), n=1)
    advice = f"did you mean {near[0]!r}?" if near else "known here: " + ", ".join(sorted(known)[:30])
    return InvalidInput(f"model configuration: unknown key {path!r}; {advice}", reason="BAD_VALUE", field=path)


class Table:
    """Reads one table of settings: every key is taken once with its type, and `close` refuses what is left over."""

    def __init__(self, content: object, path: str) -> None:
        """Refuse what is no table."""
        require(isinstance(content, Mapping), path, f"must be a table, got {_shown(content)}")
        self._content = dict(cast("Mapping[str, object]", content))
        self._path = path
        self._known: set[str] = set()

    def flag(self, key: str, default: bool) -> bool:  # noqa: FBT001 - the type of the value is the point
        """Take true or false."""
        value = self._take(key, default)
        require(isinstance(value, bool), self._at(key), f"must be true or false, got {_shown(value)}")
        return bool(value)

    def whole(self, key: str, default: int) -> int:
        """Take a whole number."""
        value = self._take(key, default)
        require(isinstance(value, int) and not isinstance(value, bool), self._at(key), f"must be a whole number, got {_shown(value)}")
        return cast("int", value)

    def whole_or_none(self, key: str) -> int | None:
        """Take a whole number when it is given."""
        return self.whole(key, 0) if self.has(key) else None

    def number(self, key: str, default: float) -> float:
        """Take a finite number."""
        value = self._take(key, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
        require(is_number, self._at(key), f"must be a number, got {_shown(value)}")
        return float(cast("float", value))

    def number_or_none(self, key: str) -> float | None:
        """Take a finite number when it is given."""
        return self.number(key, 0.0) if self.has(key) else None

    def text(self, key: str, default: str) -> str:
        """Take text that is not empty."""
        value = self._take(key, default)
        require(isinstance(value, str) and bool(value), self._at(key), f"must be text, got {_shown(value)}")
        return cast("str", value)

    def plain(self, key: str, *, default: float | bool | str) -> float | bool | str:
        """Take a number, text, true or false."""
        value = self._take(key, default)
        require(isinstance(value, float | int | str), self._at(key), f"must be a number, text, true or false, got {_shown(value)}")
        return cast("float | bool | str", value)

    def anything(self, key: str) -> object:
        """Take a value of any kind; None when it is not given."""
        return self._take(key, None)

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts, empty when it is not given; numbers count as their digits."""
        value = self._take(key, ())
        require(isinstance(value, list | tuple), self._at(key), f"must be a list, got {_shown(value)}")
        entries = cast("list[object]", value)
        for entry in entries:
            good = (isinstance(entry, str) and bool(entry)) or (isinstance(entry, int) and not isinstance(entry, bool))
            require(good, self._at(key), f"must hold texts, got {_shown(entry)}")
        return tuple(str(entry) for entry in entries)

    def table(self, key: str) -> Table:
        """Take a table, empty when it is not given."""
        return Table(self._take(key, {}), self._at(key))

    def names(self, key: str) -> dict[str, object]:
        """Take a table whose keys are names of the caller's own, empty when it is not given."""
        value = self._take(key, {})
        require(isinstance(value, Mapping), self._at(key), f"must be a table, got {_shown(value)}")
        return dict(cast("Mapping[str, object]", value))

    def tables(self, key: str) -> tuple[Table, ...]:
        """Take a list of tables, empty when it is not given."""
        value = self._take(key, ())
        require(isinstance(value, list | tuple), self._at(key), f"must be a list of tables, got {_shown(value)}")
        return tuple(Table(entry, f"{self._at(key)}[{index}]") for index, entry in enumerate(cast("list[object]", value)))

    def has(self, key: str) -> bool:
        """Whether the key is given."""
        self._known.add(key)
        return key in self._content

    def close(self) -> None:
        """Refuse keys that nobody took.

        Raises:
            InvalidInput: with the key's path and the nearest key that exists.
        """
        for key in self._content:
            raise unknown_key(self._at(key), self._known)

    def _take(self, key: str, default: object) -> object:
        self._known.add(key)
        return self._content.pop(key, default)

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"
