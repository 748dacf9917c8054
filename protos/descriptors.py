"""Reads the contracts: runs the protocol compiler and hands out descriptors with their comments."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
"""The folder that imports in proto files start from."""

_WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


class CompileError(Exception):
    """The protocol compiler refused the files; it has written why to standard error."""


def sources(root: Path = ROOT) -> list[str]:
    """Return the proto files below a folder, relative to it, in a stable order."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.proto"))


def compile_protos(root: Path, *options: str) -> None:
    """Run the protocol compiler over every proto file below `root`.

    Raises:
        CompileError: the compiler refused.
    """
    arguments = ["protoc", f"-I{root}", f"-I{_WELL_KNOWN}", *options, *sources(root)]
    if protoc.main(arguments) != 0:
        raise CompileError("protoc failed: " + " ".join(options))


def read_descriptors(root: Path = ROOT) -> FileDescriptorSet:
    """Return the descriptors of every proto file below `root`, comments and positions included."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "set.binpb"
        compile_protos(root, "--include_source_info", f"--descriptor_set_out={target}")
        return FileDescriptorSet.FromString(target.read_bytes())


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Finding:
    """One thing that is wrong with a proto file."""

    file: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        """Return the line that people and editors read."""
        return f"{self.file}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a declaration stands and what its author wrote above it."""

    line: int
    comment: str


def places(file: FileDescriptorProto) -> dict[tuple[int, ...], Place]:
    """Return the places of a file's declarations by descriptor path (field numbers and indices, see descriptor.proto)."""
    return {
        tuple(location.path): Place(location.span[0] + 1, location.leading_comments.strip()) for location in file.source_code_info.location
    }


def fail(message: str) -> int:
    """Write a line to standard error and return the exit code of a failure."""
    sys.stderr.write(message + "\n")
    return 1
