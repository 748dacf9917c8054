"""Settings of a service: one frozen tree, read once, all problems reported together.

Precedence: `--set name=value` over environment (`PENSTOCK_<SERVICE>__NAME`, deeper levels by `__`) over the file of `--config` (TOML by its
name, else JSON) over defaults. What is unknown anywhere is a problem, because a misspelt limit would otherwise be no limit.

A secret may stand in a file: `PENSTOCK_<SERVICE>__NAME_FILE` names the file whose text, without the line's end, is the setting NAME; a
file without any is a problem, for the secret would be none.
A `SecretStr` may stand nowhere else than there and in the environment.

    class RouterSettings(Settings, env_prefix="PENSTOCK_ROUTER__"):
        http_port: int = 8000

A running service keeps a `ConfigFile`: SIGHUP or a change of the file reads everything again; invalid settings change nothing and are
logged as `config_rejected`.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import structlog
from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from services.chassis.clock import Clock
from services.chassis.process import CannotStart
from services.chassis.written_secrets import written_secrets

POLL_SECONDS = 1.0
"""Time between two looks at the file."""

Tree = dict[str, Any]

log = structlog.get_logger(__name__)


class InvalidConfig(CannotStart):
    """The settings cannot be used; `problems` names all that is wrong."""

    exit_code = 78  # EX_CONFIG of sysexits.h: starting again will not help

    def __init__(self, problems: list[str]) -> None:
        """Keep the problems, one line each."""
        super().__init__("invalid configuration:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = tuple(problems)


class Settings(BaseSettings):
    """Base of a service's settings."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_nested_delimiter="__", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic passes it
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` has merged, and nothing else."""
        return (init_settings,)


S = TypeVar("S", bound=Settings)


def load(
    kind: type[S], *, file: Path | None = None, overrides: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> S:
    """Read settings from all sources.

    Raises:
        InvalidConfig: naming every problem with its source.
    """
    problems: list[str] = []
    from_file = _file_tree(file, problems) if file is not None else {}
    from_environment = _environment_tree(kind, os.environ if environment is None else environment, problems)
    sources = {"--set": dict(overrides or {}), "environment": from_environment, str(file): from_file}
    for source in ("--set", str(file)):
        problems.extend(
            f"{name}: a secret comes by the environment alone (from {source})" for name in written_secrets(kind, sources[source])
        )
    try:
        settings = kind.model_validate(_merged(list(reversed(sources.values()))))
    except ValidationError as error:
        # Without the file, required settings would seem to be missing: only its own problem counts then.
        file_is_read = not any(problem.startswith(str(file)) for problem in problems)
        raise InvalidConfig(problems + (_described(error, sources) if file_is_read else [])) from None
    if problems:
        raise InvalidConfig(problems)
    return settings


class ConfigFile(Generic[S]):
    """The settings of a running service, and how they change."""

    def __init__(self, kind: type[S], *, path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> None:
        """Read the settings for the first time.

        Raises:
            InvalidConfig: naming every problem.
        """
        self._kind = kind
        self._path = path
        self._overrides = overrides
        self._stamp = self._look()
        self._listeners: list[Callable[[S], None]] = []
        self.current = load(kind, file=path, overrides=overrides)
        """The settings that hold."""
        self.rejected = 0
        """How often new settings were invalid."""

    def on_change(self, listener: Callable[[S], None]) -> None:
        """Call `listener` with the new settings after every change."""
        self._listeners.append(listener)

    def reload(self) -> bool:
        """Read again and say whether the settings changed; invalid ones change nothing."""
        self._stamp = self._look()
        try:
            settings = load(self._kind, file=self._path, overrides=self._overrides)
        except InvalidConfig as error:
            self.rejected += 1
            log.error("config_rejected", path=str(self._path), problems=error.problems)  # noqa: TRY400  a person's mistake, no trace
            return False
        if settings == self.current:
            return False
        changed = sorted(name for name in type(settings).model_fields if getattr(settings, name) != getattr(self.current, name))
        self.current = settings
        log.info("config_changed", path=str(self._path), names=changed)
        for listener in self._listeners:
            listener(settings)
        return True

    async def follow(self, clock: Clock) -> None:
        """Reload whenever the file changes, until cancelled."""
        while True:
            await clock.sleep(POLL_SECONDS)
            if self._look() != self._stamp:
                self.reload()

    def _look(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def override(text: str) -> tuple[str, Any]:
    """Read one `name=value` of the command line; the value is JSON, or else text. Deeper names are joined by dots.

    Raises:
        InvalidConfig: there is no `=`.
    """
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise InvalidConfig([f"--set {text}: write name=value"])
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def override_tree(texts: list[str]) -> Tree:
    """Read all `name=value` of the command line into one tree; the last of equal names holds."""
    tree: Tree = {}
    for text in texts:
        name, value = override(text)
        tree = _merged([tree, _nested(name.split("."), value)])
    return tree


def _file_tree(path: Path, problems: list[str]) -> Tree:
    try:
        text = path.read_text("utf-8")
        tree = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text, object_pairs_hook=_without_duplicates)
    except (OSError, ValueError) as error:
        problems.append(f"{path}: {error}")
        return {}
    if not isinstance(tree, dict):
        problems.append(f"{path}: holds no object of settings")
        return {}
    return cast("Tree", tree)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Tree:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice!r} is set twice")
    return tree


def _environment_tree(kind: type[Settings], environment: Mapping[str, str], problems: list[str]) -> Tree:
    prefix = kind.model_config.get("env_prefix", "")
    if not prefix:
        return {}
    named = {name.removeprefix(prefix): name for name in environment if name.startswith(prefix)}
    known = {field.upper() for field in kind.model_fields}
    files = {rest: name for rest, name in named.items() if _is_file_of(rest, kind)}
    environment = _with_files(environment, tuple(name for name in files.values() if environment[name]), problems)
    unknown = [name for rest, name in named.items() if rest not in files and rest.split("__")[0].upper() not in known]
    problems.extend(f"environment {name}: no such setting" for name in unknown)
    source = EnvSettingsSource(kind)
    source.env_vars = {name.lower(): value for name, value in environment.items() if value}
    try:
        return source()
    except SettingsError as error:
        problems.append(f"environment: {error}")
        return {}


def _is_file_of(rest: str, kind: type[BaseModel]) -> bool:
    return rest.endswith("_FILE") and not _is_setting(rest, kind) and _is_setting(rest.removesuffix("_FILE"), kind)


def _is_setting(rest: str, kind: type[BaseModel]) -> bool:
    """Whether a name of the environment is that of a setting, or of one within: `REDIS__PASSWORD`."""
    head, _, within = rest.partition("__")
    for name, field in kind.model_fields.items():
        if name.upper() == head:
            inner = field.annotation
            return not within or (isinstance(inner, type) and issubclass(inner, BaseModel) and _is_setting(within, inner))
    return False


def _with_files(environment: Mapping[str, str], files: tuple[str, ...], problems: list[str]) -> Mapping[str, str]:
    """Return the environment with what stands in files in place of their names."""
    read: dict[str, str] = {}
    for name in files:
        plain = name.removesuffix("_FILE")
        if environment.get(plain):
            problems.append(f"environment {name}: {plain} is set too; leave one of them out")
            continue
        try:
            read[plain] = Path(environment[name]).read_text("utf-8").rstrip("\r\n")
            if not read[plain]:
                problems.append(f"environment {name}: the file is empty: {environment[name]}")
        except (OSError, ValueError) as error:
            problems.append(f"environment {name}: {getattr(error, 'strerror', None) or 'the file is no UTF-8 text'}: {environment[name]}")
    return {**{name: value for name, value in environment.items() if name not in files}, **read}


def _merged(trees: list[Tree]) -> Tree:
    """Merge trees; the later one holds."""
    merged: Tree = {}
    for tree in trees:
        for name, value in tree.items():
            old = merged.get(name)
            both_nested = isinstance(old, dict) and isinstance(value, dict)
            merged[name] = _merged([cast("Tree", old), cast("Tree", value)]) if both_nested else value
    return merged


def _nested(path: list[str], value: Any) -> Tree:
    return {path[0]: value if len(path) == 1 else _nested(path[1:], value)}


def _described(error: ValidationError, sources: Mapping[str, Tree]) -> list[str]:
    return [f"{'.'.join(map(str, e['loc']))}: {e['msg']}{_origin(e['loc'], sources)}" for e in error.errors(include_url=False)]


def _origin(path: tuple[int | str, ...], sources: Mapping[str, Tree]) -> str:
    for name, tree in sources.items():
        if _holds(tree, path):
            return f" (from {name})"
    return ""


def _holds(tree: Any, path: tuple[int | str, ...]) -> bool:
    for part in path:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = cast("dict[int | str, Any]", tree)[part]
    return bool(path)
