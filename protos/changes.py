"""Rules of change: what others already speak must go on working.

The baseline is what was last accepted, as JSON that a review can read. Compared with it, these break who speaks a contract:

| rule | change |
|---|---|
| `removed` | a file, message, enum, service or rpc is gone, or a field or enum value without its number being reserved |
| `renumbered` | a field or enum value has another number |
| `retyped` | a field, or a call's request or response, has another type |
| `relabelled` | a field became repeated or stopped being it, moved into or out of a oneof, or a call became or stopped being a stream |
| `renamed` | a number has another name, which changes its JSON |

Additions never break anything and need no acceptance: `--update-baseline` adds them when a contract is released.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

from protos.descriptors import Finding, places

Entry = dict[str, str]
Contracts = dict[str, Entry]
"""Facts of every declaration by its full name; `file` and `line` say where it stands and are not compared."""

_PLACE = frozenset({"file", "line", "reserved"})


def check(descriptors: FileDescriptorSet, baseline: Path) -> list[Finding]:
    """Return every change that breaks who speaks the baseline."""
    if not baseline.exists():
        text = "there is no baseline: run `python -m protos.lint --update-baseline` and commit it"
        return [Finding(file=baseline.name, line=1, rule="baseline", message=text)]
    accepted: Contracts = json.loads(baseline.read_text())
    now = contracts(descriptors)
    return [finding for name in sorted(accepted) for finding in _compared(name, accepted, now)]


def write_baseline(descriptors: FileDescriptorSet, baseline: Path) -> None:
    """Accept the contracts as they are now."""
    accepted = {
        name: {key: value for key, value in entry.items() if key not in ("line", "reserved")}
        for name, entry in contracts(descriptors).items()
    }
    baseline.parent.mkdir(parents=True, exist_ok=True)
    rows = (f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(accepted.items()))
    baseline.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def contracts(descriptors: FileDescriptorSet) -> Contracts:
    """Return the facts of every declaration that others depend on, by full name."""
    return {name: entry for file in descriptors.file for name, entry in _Reader(file).entries()}


def _compared(name: str, accepted: Contracts, now: Contracts) -> Iterator[Finding]:
    old, new = accepted[name], now.get(name)
    if new is None:
        yield from _gone(name, accepted, now)
        return
    for fact, was in old.items():
        if fact not in _PLACE and new.get(fact) != was:
            rule = {"number": "renumbered", "type": "retyped"}.get(fact, "relabelled")
            yield _finding(new, rule, f"{name}: {fact} was {was}, is {new.get(fact, 'none')}")


def _gone(name: str, accepted: Contracts, now: Contracts) -> Iterator[Finding]:
    old, scope = accepted[name], name.rpartition(".")[0]
    if scope in accepted and scope not in now:
        return  # that its message, enum or service is gone says it all
    parent, number = now.get(scope, {**old, "line": "1"}), old.get("number")
    heir = next((other for other, one in now.items() if number and _are_siblings(other, name) and one.get("number") == number), None)
    if heir is not None and heir not in accepted:
        yield _finding(now[heir], "renamed", f"{old['kind']} {name} is now {heir}")
    elif number is None:
        yield _finding(parent, "removed", f"{old['kind']} {name} is gone")
    elif number not in parent["reserved"].split(","):
        yield _finding(parent, "removed", f"{old['kind']} {name} is gone: reserve its number {number}, or bring it back")


def _finding(place: Entry, rule: str, message: str) -> Finding:
    return Finding(file=place["file"], line=int(place["line"]), rule=rule, message=message)


def _are_siblings(name: str, other: str) -> bool:
    return name.rpartition(".")[0] == other.rpartition(".")[0]


class _Reader:
    """Walks one file."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._places = places(file)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield the facts of every declaration."""
        for index, message in enumerate(self._file.message_type):
            yield from self._message(message, self._file.package, (4, index))
        for index, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, self._file.package, (5, index))
        for index, service in enumerate(self._file.service):
            yield from self._service(service, (6, index))

    def _message(self, message: DescriptorProto, scope: str, path: tuple[int, ...]) -> Iterator[tuple[str, Entry]]:
        name = f"{scope}.{message.name}"
        numbers = [str(number) for one in message.reserved_range for number in range(one.start, min(one.end, one.start + 1000))]
        yield name, self._entry("message", path, reserved=",".join(numbers))
        for index, field in enumerate(message.field):
            facts = {"number": str(field.number), "type": _type(field), "label": _label(message, field)}
            yield f"{name}.{field.name}", self._entry("field", (*path, 2, index), **facts)
        for index, nested in enumerate(message.nested_type):
            yield from self._message(nested, name, (*path, 3, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, name, (*path, 4, index))

    def _enum(self, enum: EnumDescriptorProto, scope: str, path: tuple[int, ...]) -> Iterator[tuple[str, Entry]]:
        name = f"{scope}.{enum.name}"
        numbers = [str(number) for one in enum.reserved_range for number in range(one.start, min(one.end, one.start + 1000) + 1)]
        yield name, self._entry("enum", path, reserved=",".join(numbers))
        for index, value in enumerate(enum.value):
            yield f"{name}.{value.name}", self._entry("value", (*path, 2, index), number=str(value.number))

    def _service(self, service: ServiceDescriptorProto, path: tuple[int, ...]) -> Iterator[tuple[str, Entry]]:
        name = f"{self._file.package}.{service.name}"
        yield name, self._entry("service", path)
        for index, method in enumerate(service.method):
            streams = f"{'stream' if method.client_streaming else 'one'} to {'stream' if method.server_streaming else 'one'}"
            facts = {"type": f"{method.input_type} -> {method.output_type}", "label": streams}
            yield f"{name}.{method.name}", self._entry("rpc", (*path, 2, index), **facts)

    def _entry(self, kind: str, path: tuple[int, ...], **facts: str) -> Entry:
        line = self._places[path].line if path in self._places else 1
        return {"kind": kind, "file": self._file.name, "line": str(line), **facts}


def _type(field: FieldDescriptorProto) -> str:
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{kind} {field.type_name}".strip()


def _label(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "repeated"
    if field.proto3_optional:
        return "optional"
    return f"oneof {message.oneof_decl[field.oneof_index].name}" if field.HasField("oneof_index") else "single"
