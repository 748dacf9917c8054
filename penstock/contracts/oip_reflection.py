"""Descriptors of the standard services under their standard names, for gRPC reflection.

Our generated code declares them in packages of its own, because one Python process has one default pool and a client library that
brings `inference.*` would collide there. Reflection has to show clients the names that are on the wire. So this module builds a
private pool whose files are copies of ours, renamed; no message class is ever made from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from penstock.oip.v2 import health_pb2, inference_pb2, model_config_pb2
from penstock.oip.v2.services import HEALTH_SERVICE, INFERENCE_SERVICE, WIRE_FILES

REFLECTED_SERVICES = (INFERENCE_SERVICE, HEALTH_SERVICE)
"""Full names of the services that the pool describes."""

_FILES: tuple[FileDescriptor, ...] = (model_config_pb2.DESCRIPTOR, inference_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)


class MethodFinder:
    """A pool in which methods are symbols too, as reflection wants it and protobuf's own pool does not (`grpcurl describe`)."""

    def __init__(self, pool: DescriptorPool) -> None:
        """Store the pool that answers everything else."""
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        """Return what the pool itself has."""
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file that declares a message, field, service or method.

        Raises:
            KeyError: no file does.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._pool.FindServiceByName(service)
            if method not in found.methods_by_name:
                raise
            return found.file


def reflection_pool(also: Iterable[FileDescriptor] = ()) -> DescriptorPool:
    """Build a pool in which the services have the names they have on the wire.

    Args:
        also: files to be described under their own names, each after the files it imports; a server passes the reflection service's.
    """
    pool = DescriptorPool()
    for file in _FILES:
        pool.Add(_renamed(file))
    for file in also:
        pool.Add(_copy(file))
    return pool


def _copy(file: FileDescriptor) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _renamed(file: FileDescriptor) -> FileDescriptorProto:
    proto = _copy(file)
    old = proto.package
    proto.name, proto.package = WIRE_FILES[file.name]
    proto.dependency[:] = [WIRE_FILES[name][0] for name in proto.dependency]
    for message in proto.message_type:
        _rename_message(message, old, proto.package)
    for service in proto.service:
        for method in service.method:
            method.input_type = _rename(method.input_type, old, proto.package)
            method.output_type = _rename(method.output_type, old, proto.package)
    return proto


def _rename_message(message: DescriptorProto, old: str, new: str) -> None:
    for field in message.field:
        if field.type_name:  # assigning even "" would turn a number into a field of a named type
            field.type_name = _rename(field.type_name, old, new)
    for nested in message.nested_type:
        _rename_message(nested, old, new)


def _rename(type_name: str, old: str, new: str) -> str:
    return type_name.replace(f".{old}.", f".{new}.", 1) if type_name.startswith(f".{old}.") else type_name
