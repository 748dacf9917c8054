"""Rules of style: names, comments, units, enums, and the messages of calls.

| rule | asks for |
|---|---|
| `message-name`, `enum-name`, `service-name`, `rpc-name` | UpperCamelCase |
| `field-name`, `oneof-name` | lower_snake_case |
| `enum-value-name` | the enum's name in UPPER_SNAKE_CASE as prefix |
| `enum-zero` | value 0 is `<PREFIX>_UNSPECIFIED` |
| `comment` | a comment above every message, field, oneof, enum, enum value, service and rpc |
| `comment-form` | it starts with a capital letter (or `inline code`) and ends with a full stop |
| `unit` | a number that is a quantity says its unit, in the end of its name or in its comment |
| `rpc-messages` | rpc `Do` takes `DoRequest` and returns `DoResponse`, and no other rpc does |
| `package` | the package is the folder |
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)

from protos.descriptors import Finding, Place, places

WIRE_STANDARD = {
    "penstock/oip/v2/inference.proto": "names and numbers are the Open Inference Protocol's",
    "penstock/oip/v2/model_config.proto": "names and numbers are Triton's",
    "penstock/oip/v2/health.proto": "names and numbers are gRPC's health protocol's",
}
"""Files whose names are given by a standard, and which: rules about names cannot be met there."""

NAME_RULES = frozenset({"enum-value-name", "enum-zero", "rpc-messages", "field-name"})
"""Rules that files of WIRE_STANDARD need not keep."""

UNITS = (
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "bytes",
    "rows",
    "requests",
    "tokens",
    "basis_points",
    "percent",
    "epoch",
)
"""Words that say a unit."""

QUANTITIES = (
    "age",
    "budget",
    "capacity",
    "cost",
    "deadline",
    "delay",
    "duration",
    "idle",
    "interval",
    "latency",
    "length",
    "limit",
    "memory",
    "offset",
    "period",
    "size",
    "threshold",
    "time",
    "timeout",
    "ttl",
    "wait",
    "weight",
)
"""Words of a field's name that make its number a quantity."""

COUNTS = ("how many", "how often", "number of", "buffers")
"""Words of a comment that make a number a count, whose unit is what is counted."""

_CAMEL = re.compile(r"[A-Z][A-Za-z0-9]*")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NUMERIC = frozenset(range(1, 19)) - {
    FieldDescriptorProto.TYPE_BOOL,
    FieldDescriptorProto.TYPE_STRING,
    FieldDescriptorProto.TYPE_GROUP,
    FieldDescriptorProto.TYPE_MESSAGE,
    FieldDescriptorProto.TYPE_BYTES,
    FieldDescriptorProto.TYPE_ENUM,
}
_FILE_MESSAGE, _FILE_ENUM, _FILE_SERVICE, _FILE_PACKAGE = 4, 5, 6, 2
_MESSAGE_FIELD, _MESSAGE_NESTED, _MESSAGE_ENUM, _MESSAGE_ONEOF = 2, 3, 4, 8
_ENUM_VALUE = _SERVICE_METHOD = 2

Path = tuple[int, ...]


def check(file: FileDescriptorProto) -> Iterator[Finding]:
    """Yield everything in a file that breaks a rule of style."""
    exempt = NAME_RULES if file.name in WIRE_STANDARD else frozenset[str]()
    yield from (finding for finding in _Check(file).findings() if finding.rule not in exempt)


class _Check:
    """One file on its way through the rules."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._places = places(file)

    def findings(self) -> Iterator[Finding]:
        """Yield the findings of all rules."""
        folder = self._file.name.rpartition("/")[0].replace("/", ".")
        if self._file.package != folder:
            yield self._at((_FILE_PACKAGE,), "package", f"package {self._file.package!r} must be {folder!r}, the folder")
        for index, message in enumerate(self._file.message_type):
            yield from self._message(message, (_FILE_MESSAGE, index))
        for index, enum in enumerate(self._file.enum_type):
            yield from self._enum(enum, (_FILE_ENUM, index))
        for index, service in enumerate(self._file.service):
            yield from self._service(service, (_FILE_SERVICE, index))

    def _message(self, message: DescriptorProto, path: Path) -> Iterator[Finding]:
        yield from self._camel(message.name, path, "message")
        yield from self._comment(message.name, path)
        for index, field in enumerate(message.field):
            yield from self._field(message, field, (*path, _MESSAGE_FIELD, index))
        for index, oneof in enumerate(message.oneof_decl):
            here = (*path, _MESSAGE_ONEOF, index)
            if here in self._places:  # that of an optional field stands nowhere
                yield from self._snake(oneof.name, here, "oneof")
                yield from self._comment(oneof.name, here)
        for index, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message(nested, (*path, _MESSAGE_NESTED, index))
        for index, enum in enumerate(message.enum_type):
            yield from self._enum(enum, (*path, _MESSAGE_ENUM, index))

    def _field(self, message: DescriptorProto, field: FieldDescriptorProto, path: Path) -> Iterator[Finding]:
        yield from self._snake(field.name, path, "field")
        yield from self._comment(f"{message.name}.{field.name}", path)
        comment = self._place(path).comment.lower()
        if field.type in _NUMERIC and _is_quantity(field.name, comment) and not _has_unit(field.name, comment):
            text = f"{message.name}.{field.name} is a quantity: end its name with its unit ({', '.join(UNITS[:4])}, …), or say it above"
            yield self._at(path, "unit", text)

    def _enum(self, enum: EnumDescriptorProto, path: Path) -> Iterator[Finding]:
        yield from self._camel(enum.name, path, "enum")
        yield from self._comment(enum.name, path)
        prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"
        for index, value in enumerate(enum.value):
            here = (*path, _ENUM_VALUE, index)
            yield from self._comment(value.name, here)
            if not re.fullmatch(re.escape(prefix) + r"[A-Z0-9]+(_[A-Z0-9]+)*", value.name):
                yield self._at(here, "enum-value-name", f"{value.name} must start with {prefix} and be in UPPER_SNAKE_CASE")
            if value.number == 0 and value.name != f"{prefix}UNSPECIFIED":
                yield self._at(here, "enum-zero", f"the value 0 of {enum.name} must be {prefix}UNSPECIFIED, not {value.name}")

    def _service(self, service: ServiceDescriptorProto, path: Path) -> Iterator[Finding]:
        yield from self._camel(service.name, path, "service")
        yield from self._comment(service.name, path)
        for index, method in enumerate(service.method):
            here = (*path, _SERVICE_METHOD, index)
            yield from self._camel(method.name, here, "rpc")
            yield from self._comment(f"{service.name}.{method.name}", here)
            for given, suffix in ((method.input_type, "Request"), (method.output_type, "Response")):
                wanted = f".{self._file.package}.{method.name}{suffix}"
                if given != wanted:
                    yield self._at(here, "rpc-messages", f"{method.name} uses {given.rpartition('.')[2]}, not {method.name}{suffix}")

    def _camel(self, name: str, path: Path, what: str) -> Iterator[Finding]:
        if not _CAMEL.fullmatch(name):
            yield self._at(path, f"{what}-name", f"{what} {name} must be in UpperCamelCase")

    def _snake(self, name: str, path: Path, what: str) -> Iterator[Finding]:
        if not _SNAKE.fullmatch(name):
            yield self._at(path, f"{what}-name", f"{what} {name} must be in lower_snake_case")

    def _comment(self, name: str, path: Path) -> Iterator[Finding]:
        comment = self._place(path).comment
        if not comment:
            yield self._at(path, "comment", f"{name} has no comment above it")
        elif not (comment[0].isupper() or comment[0] in "`-0123456789") or not comment.endswith("."):
            yield self._at(path, "comment-form", f"the comment of {name} must be a sentence: capital letter, full stop")

    def _place(self, path: Path) -> Place:
        return self._places.get(path, Place(1, ""))

    def _at(self, path: Path, rule: str, message: str) -> Finding:
        return Finding(file=self._file.name, line=self._place(path).line, rule=rule, message=message)


def _is_quantity(name: str, comment: str) -> bool:
    words = name.split("_")
    return any(word in QUANTITIES for word in words) and not any(count in comment for count in COUNTS)


def _has_unit(name: str, comment: str) -> bool:
    words = re.split(r"[^a-z_]+", comment.replace("basis points", "basis_points"))
    return any(name.endswith(unit) for unit in UNITS) or any(unit in words for unit in UNITS)
